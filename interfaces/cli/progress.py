"""What the command line says to the person who started it, while it works."""

GEMMA_TERMS = (
    "Gemma is provided under and subject to the Gemma Terms of Use found at"
    " ai.google.dev/gemma/terms"
)


def say(text: str) -> None:
    """On standard output, at once. Logs go to standard error."""
    print(text, flush=True)
