"""Another runner of the same model. Runs in an environment of its own, imports nothing of this
project, and answers one line of JSON for each line it is asked.

    peer.py KIND MODEL THREADS      KIND: transformers, llama-cpp, genai, optimum

A line asked: {"prompt": [ids], "tokens": n}. A line answered: {"prefill_s", "decode_s", "ids"},
where prefill ends with the first token and decode_s is of the n - 1 tokens after it, greedy,
whether or not one of them would end an answer.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

# As many tokens as our own engine allows by default.
_CONTEXT = 2048

Prefill = Callable[[list[int]], int]
Step = Callable[[int], int]


def transformers_fp32(model: str, threads: int) -> tuple[Prefill, Step]:
    import torch
    import transformers

    torch.set_num_threads(threads)
    loaded = transformers.AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    held: dict[str, Any] = {}

    torch.set_grad_enabled(False)

    def prefill(ids: list[int]) -> int:
        found = loaded(torch.tensor([ids]), use_cache=True, logits_to_keep=1)
        held["cache"] = found.past_key_values
        return int(found.logits[0, -1].argmax())

    def step(token_id: int) -> int:
        given = torch.tensor([[token_id]])
        found = loaded(given, past_key_values=held["cache"], use_cache=True)
        return int(found.logits[0, -1].argmax())

    return prefill, step


def llama_cpp(model: str, threads: int) -> tuple[Prefill, Step]:
    import llama_cpp

    loaded = llama_cpp.Llama(
        model_path=model, n_ctx=_CONTEXT, n_threads=threads, n_threads_batch=threads, verbose=False
    )

    def step(token_id: int) -> int:
        loaded.eval([token_id])
        return int(loaded.sample(temp=0.0, repeat_penalty=1.0))

    def prefill(ids: list[int]) -> int:
        loaded.reset()
        loaded.eval(ids)
        return int(loaded.sample(temp=0.0, repeat_penalty=1.0))

    return prefill, step


def genai(model: str, threads: int) -> tuple[Prefill, Step]:
    import onnxruntime_genai as og

    config = og.Config(model)
    config.overlay(
        json.dumps({"model": {"decoder": {"session_options": {"intra_op_num_threads": threads}}}})
    )
    loaded = og.Model(config)
    held: dict[str, Any] = {}

    def next_token() -> int:
        held["generator"].generate_next_token()
        return int(held["generator"].get_next_tokens()[0])

    def prefill(ids: list[int]) -> int:
        params = og.GeneratorParams(loaded)
        params.set_search_options(max_length=_CONTEXT, do_sample=False)
        held["generator"] = og.Generator(loaded, params)
        held["generator"].append_tokens(np.array([ids], np.int32))
        return next_token()

    return prefill, lambda _: next_token()


def optimum(model: str, threads: int) -> tuple[Prefill, Step]:
    import onnxruntime
    import torch
    from optimum.onnxruntime import ORTModelForCausalLM

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    loaded = ORTModelForCausalLM.from_pretrained(model, session_options=options)
    held: dict[str, Any] = {}

    def run(ids: list[int], past: Any) -> int:
        length = len(ids) + held.get("length", 0)
        found = loaded(
            input_ids=torch.tensor([ids]),
            attention_mask=torch.ones((1, length), dtype=torch.int64),
            past_key_values=past,
            use_cache=True,
        )
        held.update(cache=found.past_key_values, length=length)
        return int(found.logits[0, -1].argmax())

    def prefill(ids: list[int]) -> int:
        held.clear()
        return run(ids, None)

    return prefill, lambda token_id: run([token_id], held["cache"])


_KINDS = {
    "transformers": transformers_fp32,
    "llama-cpp": llama_cpp,
    "genai": genai,
    "optimum": optimum,
}


def main() -> None:
    kind, model, threads = sys.argv[1:]
    # Libraries print to the same stream; that must not mix with the answers.
    answers, sys.stdout = sys.stdout, sys.stderr
    prefill, step = _KINDS[kind](model, int(threads))
    print(json.dumps({"ready": kind}), file=answers, flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        began = time.perf_counter()
        ids = [prefill(asked["prompt"])]
        first = time.perf_counter()
        while len(ids) < asked["tokens"]:
            ids.append(step(ids[-1]))
        ended = time.perf_counter()
        answer = {"prefill_s": first - began, "decode_s": ended - first, "ids": ids}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
