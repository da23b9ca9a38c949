"""A message that gets no answer: its credits go back, its prompt is marked as failed, and its
idempotency key is free for another try."""

from datetime import datetime
from uuid import UUID

from application.ledger.ledger import Transaction
from application.ledger.streams import ACCOUNT, CONVERSATION, IDEMPOTENCY
from domain.accounts.commands import ExpireHold, ReleaseHold
from domain.accounts.decider import decide_folded
from domain.claims.idempotency import abandon
from domain.conversations.commands import RecordFailure
from domain.conversations.decider import decide as decide_conversation


def give_back(
    transaction: Transaction, command: ReleaseHold | ExpireHold, *, account_id: UUID, now: datetime
) -> UUID:
    """Returns the id of the message, which is its answer's. The hold tells what else belongs to
    it; where the conversation does not have the answer open, the credits go back alone.

    Raises HoldNotOpen, and HoldNotExpired for ExpireHold.
    """
    reason = "expired" if isinstance(command, ExpireHold) else command.reason
    account = transaction.load(ACCOUNT, account_id)
    events, after = decide_folded(command, account, now)
    transaction.add_folded(ACCOUNT, events, after)
    hold = None if account is None else account.hold(command.hold_id)
    assert hold is not None, "what was not open would have been refused"
    message_id = hold.message_id
    conversation = transaction.load(CONVERSATION, hold.conversation_id)
    exchange = None if conversation is None else conversation.open_exchange(message_id)
    if conversation is None or exchange is None:
        return message_id
    failure = RecordFailure(user_id=conversation.user_id, response_id=message_id, reason=reason)
    transaction.add(CONVERSATION, *decide_conversation(failure, conversation, now))
    if exchange.idempotency_claim_id is not None:
        claim = transaction.load(IDEMPOTENCY, exchange.idempotency_claim_id)
        if claim is not None and claim.running == message_id:
            transaction.add(IDEMPOTENCY, abandon(claim, reason=reason, now=now))
    return message_id
