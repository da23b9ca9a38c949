"""Versions that decide whether a prepared model is made anew."""

# Raised whenever the graph's inputs, outputs or numbers change.
GRAPH_VERSION = 2

# The same of graphs that another exporter made, which do not change with ours.
EXPORT_VERSION = 1

# Raised with every change of a prompt template, which shapes every answer: the transcript for
# base models, turns for instruction-tuned ones.
TEMPLATE_VERSION = "transcript-1"
TURNS_TEMPLATE_VERSION = "gemma-turns-1"


def graph_version(via: str | None) -> int:
    """via: who made the graph, None for our own writer."""
    return GRAPH_VERSION if via is None else EXPORT_VERSION
