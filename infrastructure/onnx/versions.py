"""Versions that decide whether a prepared model is made anew."""

# Raised whenever the graph's inputs, outputs or numbers change.
GRAPH_VERSION = 2

# Raised with every change of a prompt template, which shapes every answer: the transcript for
# base models, turns for instruction-tuned ones.
TEMPLATE_VERSION = "transcript-1"
TURNS_TEMPLATE_VERSION = "gemma-turns-1"
