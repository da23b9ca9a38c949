"""Versions that decide whether a prepared model is made anew."""

# Raised whenever the graph's inputs, outputs or numbers change.
GRAPH_VERSION = 1

# Raised with every change of the prompt template, which shapes every answer.
TEMPLATE_VERSION = "transcript-1"
