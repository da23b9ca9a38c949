"""What keeps an export from being made."""


class ExportRefused(Exception):
    """The text says what to do."""
