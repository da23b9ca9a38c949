"""onnxruntime-genai's own builder, run in the peers' environment: build_genai.py FOLDER TARGET.

int8 in blocks of 64 with int8 activations, one table for embedding and head, logits of the last
position only: as near to our graph as its options allow. Its code for Gemma 3 reads configurations
of transformers before version 5 while its other models need version 5, so the two keys that it does
not find are added.
"""

import sys
from typing import Any

from onnxruntime_genai.models import builder
from onnxruntime_genai.models.builder import create_model, parse_extra_options

_EXTRA = ["block_size=64", "accuracy_level=4", "shared_embeddings=true", "prune_lm_head=true"]


def main() -> None:
    folder, target = sys.argv[1:]
    gemma: Any = builder.Gemma3Model
    build = gemma.__init__

    def with_old_keys(self: Any, config: Any, *others: Any) -> None:
        kinds = config.rope_parameters
        config.rope_theta = kinds["full_attention"]["rope_theta"]
        config.rope_local_base_freq = kinds["sliding_attention"]["rope_theta"]
        build(self, config, *others)

    gemma.__init__ = with_old_keys
    # It knows one kind of rotary embedding for all layers; this model has two, without scaling.
    gemma.make_rope_init = lambda _self, _config: None
    asked = ("", folder, target, "int8", "cpu", f"{target}.cache")
    create_model(*asked, **parse_extra_options(*asked, _EXTRA))


if __name__ == "__main__":
    main()
