"""A prepared model is made anew if one of these versions has changed since."""

# Raised whenever the graph's inputs, outputs or numbers change.
GRAPH_VERSION = 2

# The same for graphs of another exporter, which do not change with ours.
EXPORT_VERSION = 1

# Raised with every change of a prompt template, because it changes every answer. Base models have
# the transcript, instruction-tuned ones the turns.
TEMPLATE_VERSION = "transcript-1"
TURNS_TEMPLATE_VERSION = "gemma-turns-1"


def graph_version(via: str | None) -> int:
    """via: the exporter that made the graph; None for our own writer."""
    return GRAPH_VERSION if via is None else EXPORT_VERSION
