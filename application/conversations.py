"""Command handlers of the conversation, beside those of the chat process."""

from uuid import UUID

from application.chat.quotas import Quota
from application.ledger.ledger import Ledger, Transaction
from application.ledger.streams import CONVERSATION
from application.ports import Clock
from domain.conversations.commands import DeleteConversation, RenameConversation
from domain.conversations.decider import decide


class Conversations:
    """Renaming and deleting cost nothing, and their events are kept for ever, so each user has a
    quota of them."""

    def __init__(self, *, ledger: Ledger, clock: Clock, free_writes: Quota) -> None:
        self._ledger = ledger
        self._clock = clock
        self._free_writes = free_writes

    async def rename(self, *, conversation_id: UUID, user_id: UUID, title: str) -> int | None:
        """Returns the position. Raises ConversationNotFound, InvalidText, QuotaExhausted."""
        command = RenameConversation(user_id=user_id, title=title)
        return await self._carry_out(conversation_id, command)

    async def delete(self, *, conversation_id: UUID, user_id: UUID) -> int | None:
        """Returns the position. Raises ConversationNotFound, QuotaExhausted."""
        return await self._carry_out(conversation_id, DeleteConversation(user_id=user_id))

    async def _carry_out(
        self, conversation_id: UUID, command: RenameConversation | DeleteConversation
    ) -> int | None:
        def work(transaction: Transaction) -> None:
            state = transaction.load(CONVERSATION, conversation_id)
            transaction.add(CONVERSATION, *decide(command, state, self._clock.now()))

        self._free_writes.take(command.user_id)
        try:
            committed = await self._ledger.transact(work)
        except Exception:
            self._free_writes.add(command.user_id, -1)
            raise
        if committed.position is None:
            self._free_writes.add(command.user_id, -1)
        return committed.position
