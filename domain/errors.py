"""Every refusal a caller can expect, in one tree.

    Refusal
    ├── InvalidInput
    │   ├── InvalidAmount
    │   ├── InvalidText
    │   ├── InvalidUsername
    │   ├── InvalidEmail
    │   └── WeakPassword
    ├── NotFound
    │   ├── ConversationNotFound
    │   ├── MessageNotFound
    │   └── UserNotFound
    ├── NotPermitted
    │   ├── AccountIsFrozen
    │   └── UserIsSuspended
    ├── Unauthenticated
    │   ├── WrongCredentials
    │   ├── SessionEnded
    │   └── RefreshTokenReused
    ├── Conflict
    │   ├── UsernameTaken
    │   ├── EmailTaken
    │   ├── HoldNotOpen
    │   ├── HoldNotExpired
    │   ├── AlreadyRefunded
    │   └── CommandInProgress
    ├── IdempotencyKeyReused
    └── InsufficientCredits

The text of a refusal is written for the person who sent the command: it says what to change.
A broken invariant is no refusal but an AssertionError. Errors know nothing of HTTP.
"""


class Refusal(Exception):
    """code: stable, for programs."""

    code = "refused"


class InvalidInput(Refusal):
    code = "validation_error"
    field: str | None = None


class InvalidAmount(InvalidInput):
    code = "invalid_amount"
    field = "amount"


class InvalidText(InvalidInput):
    code = "invalid_text"


class InvalidUsername(InvalidInput):
    code = "invalid_username"
    field = "username"


class InvalidEmail(InvalidInput):
    code = "invalid_email"
    field = "email"


class WeakPassword(InvalidInput):
    code = "weak_password"
    field = "password"


class NotFound(Refusal):
    code = "not_found"


class ConversationNotFound(NotFound):
    code = "conversation_not_found"


class MessageNotFound(NotFound):
    code = "message_not_found"


class UserNotFound(NotFound):
    code = "user_not_found"


class NotPermitted(Refusal):
    code = "not_permitted"


class AccountIsFrozen(NotPermitted):
    code = "account_frozen"


class UserIsSuspended(NotPermitted):
    code = "user_suspended"


class Unauthenticated(Refusal):
    code = "unauthenticated"


class WrongCredentials(Unauthenticated):
    code = "wrong_credentials"


class SessionEnded(Unauthenticated):
    code = "session_ended"


class RefreshTokenReused(Unauthenticated):
    code = "refresh_token_reused"


class Conflict(Refusal):
    code = "conflict"


class UsernameTaken(Conflict):
    code = "username_taken"


class EmailTaken(Conflict):
    code = "email_taken"


class HoldNotOpen(Conflict):
    code = "hold_not_open"


class HoldNotExpired(Conflict):
    code = "hold_not_expired"


class AlreadyRefunded(Conflict):
    code = "already_refunded"


class CommandInProgress(Conflict):
    code = "command_in_progress"


class IdempotencyKeyReused(Refusal):
    code = "idempotency_key_reused"


class InsufficientCredits(Refusal):
    code = "insufficient_credits"

    def __init__(self, text: str, *, available_micro: int, required_micro: int) -> None:
        self.available_micro = available_micro
        self.required_micro = required_micro
        super().__init__(text)
