"""Narrowing logits to the likeliest tokens inside the graph.

A row of Gemma's logits is 1 MB; on a GPU it would cross the bus for every token of every row, and
even on the CPU sorting it outside costs more than in here. Penalty and bias apply to whole rows, so
they come first. Inputs, with P and Q as long as the longest row needs:

    seen_ids    int64[R, P]     tokens that the penalty is for; filled up with one of them again
    penalties   float32[R, 1]   above 1 makes them less likely, 1 changes nothing
    bias_ids    int64[R, Q]     tokens whose logits are shifted; filled up with any, by 0
    biases      float32[R, Q]

Outputs, the likeliest token first:

    top_logits  float32[R, 64]
    top_ids     int64[R, 64]

Source of the penalty (positive logits divided, negative ones multiplied): Keskar et al., CTRL
(2019), in the form that transformers gave it.
"""

import numpy as np

from infrastructure.onnx.graph_writer import GraphWriter

CANDIDATES = 64


def add_candidates(graph: GraphWriter) -> None:
    """Needs an output named "logits", float32[R, vocab] with at least 64 tokens."""
    graph.input("seen_ids", "int64", ["R", "P"])
    graph.input("penalties", "float32", ["R", 1])
    graph.input("bias_ids", "int64", ["R", "Q"])
    graph.input("biases", "float32", ["R", "Q"])
    seen = graph.node("GatherElements", ["logits", "seen_ids"], ["candidates.seen"], axis=1)
    zero = graph.constant("candidates.zero", np.zeros(1, np.float32))
    positive = graph.node("Greater", [seen, zero], ["candidates.positive"])
    divided = graph.node("Div", [seen, "penalties"], ["candidates.divided"])
    multiplied = graph.node("Mul", [seen, "penalties"], ["candidates.multiplied"])
    changed = graph.node("Where", [positive, divided, multiplied], ["candidates.changed"])
    penalised = graph.node(
        "ScatterElements", ["logits", "seen_ids", changed], ["candidates.penalised"], axis=1
    )
    biased = graph.node(
        "ScatterElements",
        [penalised, "bias_ids", "biases"],
        ["candidates.biased"],
        axis=1,
        reduction="add",
    )
    count = graph.constant("candidates.count", np.array([CANDIDATES]))
    graph.node("TopK", [biased, count], ["top_logits", "top_ids"], axis=1, sorted=1)
    graph.output("top_logits", "float32", ["R", CANDIDATES])
    graph.output("top_ids", "int64", ["R", CANDIDATES])
