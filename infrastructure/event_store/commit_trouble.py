"""Why nothing can be stored."""

from dataclasses import dataclass


@dataclass
class CommitTrouble:
    """As far as the last transaction and the last attempt to connect tell; never because of what
    somebody wanted to store. rejected: what the server said of the transaction."""

    rejected: str | None = None
    not_connected: str | None = None

    @property
    def reason(self) -> str | None:
        return self.rejected or self.not_connected
