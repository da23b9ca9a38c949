"""A graph that picks the likeliest tokens from logits on the device.

A row of Gemma's logits is 1 MB, which would otherwise cross the bus for every token. Penalty and
bias can change which tokens are likeliest, so they are applied first. Inputs; the longest row sets
P and Q:

    logits      float32[B, vocab]
    seen_ids    int64[B, P]     tokens to penalise; padded with one of them
    penalties   float32[B, 1]   above 1 makes them less likely, 1 changes nothing
    bias_ids    int64[B, Q]     tokens whose logits are shifted; padded with any, by 0
    biases      float32[B, Q]
    whole_rows  int64[W]        rows whose logits are wanted in full

Outputs, the likeliest token first:

    top_logits  float32[B, K]   K is CANDIDATES, or the vocabulary where that is smaller
    top_ids     int64[B, K]
    sums        float32[B]      of the original logits; finite only if all of them are
    whole       float32[W, vocab]   after penalty and bias

Source of the penalty (positive logits divided, negative ones multiplied): Keskar et al., CTRL
(2019), in the form that transformers gave it.
"""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from infrastructure.inference.sessions.device_graphs import serialised

CANDIDATES = 64

_FLOAT, _INT64 = TensorProto.FLOAT, TensorProto.INT64


def candidates_graph(vocab_size: int) -> bytes:
    count = min(CANDIDATES, vocab_size)
    make = helper.make_node
    nodes = [
        make("GatherElements", ["logits", "seen_ids"], ["seen"], axis=1),
        make("Greater", ["seen", "zero"], ["positive"]),
        make("Div", ["seen", "penalties"], ["divided"]),
        make("Mul", ["seen", "penalties"], ["multiplied"]),
        make("Where", ["positive", "divided", "multiplied"], ["changed"]),
        make("ScatterElements", ["logits", "seen_ids", "changed"], ["penalised"], axis=1),
        make(
            "ScatterElements",
            ["penalised", "bias_ids", "biases"],
            ["biased"],
            axis=1,
            reduction="add",
        ),
        make("TopK", ["biased", "count"], ["top_logits", "top_ids"], axis=1, sorted=1),
        make("ReduceSum", ["logits", "along"], ["sums"], keepdims=0),
        make("Gather", ["biased", "whole_rows"], ["whole"], axis=0),
    ]
    constants = {
        "zero": np.zeros(1, np.float32),
        "count": np.array([count], np.int64),
        "along": np.array([1], np.int64),
    }
    return serialised(
        nodes,
        inputs={
            "logits": (_FLOAT, ["B", vocab_size]),
            "seen_ids": (_INT64, ["B", "P"]),
            "penalties": (_FLOAT, ["B", 1]),
            "bias_ids": (_INT64, ["B", "Q"]),
            "biases": (_FLOAT, ["B", "Q"]),
            "whole_rows": (_INT64, ["W"]),
        },
        outputs={
            "top_logits": (_FLOAT, ["B", count]),
            "top_ids": (_INT64, ["B", count]),
            "sums": (_FLOAT, ["B"]),
            "whole": (_FLOAT, ["W", vocab_size]),
        },
        constants=[numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
