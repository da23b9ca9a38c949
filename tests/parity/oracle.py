"""transformers' Gemma 3 as the judge. Runs in .venv-export and imports nothing of this project.

    oracle.py ask MODEL QUESTIONS.json ANSWERS.npz      MODEL: a hub's folder, or a GGUF file
    oracle.py make-wrapper FOLDER                       a random model of 12B's shape

QUESTIONS.json: `prompts` (lists of token ids), `keep` (how many last positions' logits are
wanted), `greedy` (tokens to continue each prompt by), `texts` (lists of token ids to be read
teacher-forced), `strings` (to be tokenised). ANSWERS.npz: `logits_<n>` float32[keep, vocab],
`greedy_<n>` int64[greedy], `best_<n>` int64[tokens - 1], `log_probability_<n>` float64[tokens - 1]
of each following token, `ids_<n>` int64.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

_THREADS = 2


def ask(model_path: Path, questions: dict[str, Any]) -> dict[str, Any]:
    model = _load(model_path)
    answers: dict[str, Any] = {}
    with torch.inference_mode():
        for number, ids in enumerate(questions["prompts"]):
            answers |= _prompt(model, number, ids, questions)
        for number, ids in enumerate(questions.get("texts", [])):
            answers |= _text(model, number, ids)
    if questions.get("strings"):
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            model_path.parent, gguf_file=model_path.name
        )
        for number, text in enumerate(questions["strings"]):
            ids = tokenizer.encode(text, add_special_tokens=False)
            answers[f"ids_{number}"] = np.array(ids, np.int64)
    return answers


def _prompt(model: Any, number: int, ids: list[int], questions: dict[str, Any]) -> dict[str, Any]:
    keep, wanted = questions["keep"], questions.get("greedy", 0)
    given = torch.tensor([ids])
    answers = {f"logits_{number}": model(given, logits_to_keep=keep).logits[0].float().numpy()}
    if wanted:
        # Every token counts, also those that would end the answer.
        made = model.generate(
            given,
            attention_mask=torch.ones_like(given),
            max_new_tokens=wanted,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=0,
        )
        answers[f"greedy_{number}"] = made[0, len(ids) :].numpy()
    return answers


def _text(model: Any, number: int, ids: list[int]) -> dict[str, Any]:
    logits = model(torch.tensor([ids])).logits[0, :-1]
    following = torch.tensor(ids[1:])
    chosen = logits.gather(1, following[:, None])[:, 0].double()
    return {
        f"best_{number}": logits.argmax(-1).numpy(),
        f"log_probability_{number}": (chosen - logits.double().logsumexp(-1)).numpy(),
    }


def _load(path: Path) -> Any:
    exact = {"dtype": torch.float32, "attn_implementation": "eager"}
    if path.suffix == ".gguf":
        return transformers.AutoModelForCausalLM.from_pretrained(
            path.parent, gguf_file=path.name, **exact
        ).eval()
    kind = json.loads((path / "config.json").read_text())["architectures"][0]
    return getattr(transformers, kind).from_pretrained(path, **exact).eval()


def make_wrapper(folder: Path) -> None:
    """The multimodal wrapper with 12B's widths, heads and rope, but two layers
    (one sliding, one full), 4,096 tokens and the smallest possible vision part. Saved as bfloat16,
    as it is published."""
    config = transformers.Gemma3Config(
        text_config={
            "vocab_size": 4096,
            "hidden_size": 3840,
            "intermediate_size": 15_360,
            "num_hidden_layers": 2,
            "num_attention_heads": 16,
            "num_key_value_heads": 8,
            "head_dim": 256,
            "query_pre_attn_scalar": 256,
            "sliding_window": 1024,
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
                "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
            },
            "layer_types": ["sliding_attention", "full_attention"],
        },
        vision_config={
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 1,
            "image_size": 28,
            "patch_size": 14,
        },
        mm_tokens_per_image=4,
    )
    torch.manual_seed(12)
    model = transformers.Gemma3ForConditionalGeneration(config).to(torch.bfloat16)
    with torch.no_grad():
        for name, values in model.named_parameters():
            # Norms multiply by 1 + w; matrices are scaled so that activations keep their size.
            deviation = 0.2 if values.dim() == 1 else values.shape[-1] ** -0.5
            if "embed_tokens" in name:
                deviation = 0.05
            values.copy_(torch.randn(values.shape) * deviation)
    model.save_pretrained(folder)


def main() -> None:
    torch.set_num_threads(_THREADS)
    match sys.argv[1:]:
        case ["ask", model, questions, answers]:
            np.savez(answers, **ask(Path(model), json.loads(Path(questions).read_text())))
        case ["make-wrapper", folder]:
            make_wrapper(Path(folder))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
