"""Gemma 3 with random weights on a GPU: its numbers, and its speed beside what memory allows.

    python -m benchmarks.inference.gpu           1B and 12B on CUDA
    python -m benchmarks.inference.gpu --tiny    all of it on the CPU with a tiny model, in seconds

Needs no download: weights are random, which changes no speed. Graphs are written into a temporary
folder (25 GB for 12B in bf16). Keys, values and logits stay on the device and next tokens are
chosen there, by the very code that serves (`device_session`); prompts are read row by row in
chunks, and steps have the shapes that give a row the same bits in any company. Where torch is
installed, numbers are checked against it and its own decoding is timed. Prints a table; exits with
1 where numbers are wrong.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from application.chat.inference import Sampling
from benchmarks.figures import Figure, Goal, table
from benchmarks.inference.gpu_limits import copy_rate, gpu_name, token_limit
from benchmarks.inference.graph_runner import GraphRunner, RunnerOptions
from benchmarks.inference.random_model import TINY, RandomWeights, config_of
from infrastructure.inference.graph.gemma_graph import write_graph
from infrastructure.inference.prepared.config import GemmaConfig, Precision, Provider
from infrastructure.inference.prepared.manifest import WEIGHTS_FILE

_APART_MAX = {Precision.FP32: 1e-4, Precision.BF16: 0.05, Precision.FP16: 0.02}
_APART_MAX |= {Precision.INT8: 0.1, Precision.INT4: 0.5}
# What the service does for a message that sets nothing but a temperature.
_SAMPLED = Sampling(temperature=0.8, seed=1)
_CHUNK_TOKENS = 256
_GOALS = {"gemma3-12b": Goal(bound=60, at_least=True), "gemma3-1b": Goal(bound=40, at_least=True)}


@dataclass
class Plan:
    """copied_bytes: for the copy rate. context: tokens before the timed steps."""

    provider: Provider
    sizes: dict[str, GemmaConfig]
    checked: GemmaConfig
    precisions: list[Precision]
    batches: list[int]
    context: int
    steps: int
    copied_bytes: int
    use_torch: bool
    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, what: str, unit: str, value: float, conditions: str) -> None:
        self.figures.append(Figure(what=what, unit=unit, value=value, conditions=conditions))

    def attempt(self, what: str, act: Callable[[], Any]) -> Any:
        """Notes a part that cannot run and goes on: machines with GPUs are expensive."""
        try:
            return act()
        except Exception as error:  # noqa: BLE001
            self.notes.append(f"{what}: {type(error).__name__}: {str(error)[:300]}")
            return None


def check_numbers(plan: Plan, folder: Path) -> bool:
    """Logits of a prompt within the window and one beyond it, against torch in float32."""
    if not plan.use_torch:
        plan.notes.append("torch is not installed, so no numbers were checked")
        return True
    import torch

    from benchmarks.inference.gpu_torch import TorchGemma

    config, right = plan.checked, True
    source, tokens = RandomWeights(config), config.sliding_window + 60
    draw = np.random.default_rng(5)
    prompts = [draw.integers(0, config.vocab_size, (1, count)) for count in (5, tokens - 1)]
    judge = TorchGemma(source, device="cpu", dtype=torch.float32, rows=1, tokens=tokens)
    expected = []
    for ids in prompts:
        judge.forget()
        expected.append(judge.step(ids).numpy()[0])
    for precision in plan.precisions:
        graph = _graph(source, folder / f"check-{precision}", precision, plan.provider)
        options = RunnerOptions(rows=1, tokens=tokens, provider=plan.provider)
        runner = GraphRunner(graph, config, options)
        apart = 0.0
        for ids, wanted in zip(prompts, expected, strict=True):
            runner.forget()
            # The prompt without its last token at once, and that one as a step of decoding.
            runner.step(ids[:, :-1])
            found = runner.step(ids[:, -1:])[0]
            apart = max(apart, float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted)))
        right = right and apart <= _APART_MAX[precision]
        said = f"{config.layers} layers, prompts of 5 and {tokens - 1} tokens, torch in float32"
        plan.figures.append(
            Figure(
                what=f"Numbers, {precision} on {runner.runs_on}: logits apart",
                unit="% of their length",
                value=apart * 100,
                conditions=said,
                goal=Goal(bound=_APART_MAX[precision] * 100),
            )
        )
    return right


def measure(plan: Plan, name: str, precision: Precision, folder: Path, rate: float) -> None:
    """Decode and prefill of one graph at every batch."""
    config = plan.sizes[name]
    began = time.perf_counter()
    graph = _graph(RandomWeights(config), folder, precision, plan.provider)
    weights = (graph / WEIGHTS_FILE).stat().st_size
    plan.notes.append(
        f"{name} {precision}: {weights / 1e9:.2f} GB written in {time.perf_counter() - began:.0f} s"
    )
    element = 4 if plan.provider is Provider.CPU else 2
    for batch in plan.batches:
        options = RunnerOptions(
            rows=batch,
            tokens=plan.context + plan.steps + 8,
            chunk_tokens=_CHUNK_TOKENS,
            provider=plan.provider,
        )
        limit = token_limit(
            config,
            weights=weights,
            batch=batch,
            context=plan.context,
            element=element,
            rate=rate,
        )
        what = f"{name} {precision}, batch {batch}"
        runs = {
            what: options,
            f"{what}, sampled": replace(options, sampling=_SAMPLED),
            f"{what}, chosen on the host": replace(options, sampling=_SAMPLED, on_host=True),
        }
        if plan.provider is Provider.CUDA:
            runs[f"{what}, CUDA graph"] = replace(options, cuda_graph=True)
        for said, chosen in runs.items():
            plan.attempt(
                said,
                partial(_run, plan, graph, config, chosen, what=said, limit=limit),
            )


def _run(
    plan: Plan,
    graph: Path,
    config: GemmaConfig,
    options: RunnerOptions,
    *,
    what: str,
    limit: float,
) -> None:
    runner = GraphRunner(graph, config, options)
    draw = np.random.default_rng(1)
    prompt = draw.integers(0, config.vocab_size, (options.rows, plan.context))
    runner.check_row_independence()
    runner.prefill(prompt)  # The first run of a shape chooses kernels.
    runner.forget()
    began = time.perf_counter()
    tokens = runner.prefill(prompt)
    prefill_s = time.perf_counter() - began
    took = []
    for _ in range(plan.steps):
        began = time.perf_counter()
        tokens = runner.decode(tokens)
        took.append(time.perf_counter() - began)
    speed = options.rows / median(took)
    sizes = ", ".join(map(str, runner.step_sizes))
    said = (
        f"on {runner.runs_on}, {plan.context} tokens before, {plan.steps} steps, of {sizes} rows"
        " for the same bits in any company"
    )
    plan.add(f"Decode, {what}", "tokens/s", speed, f"{said}; the limit is {limit:,.0f}")
    name = what.split(maxsplit=1)[0]
    judged = what.endswith(" bf16, batch 1") and plan.provider is Provider.CUDA
    plan.figures.append(
        Figure(
            what=f"Share of the limit, {what}",
            unit="%",
            value=speed / limit * 100,
            conditions="weights and keys and values read once a step at the measured copy rate",
            goal=_GOALS.get(name) if judged else None,
        )
    )
    if what.endswith(f"batch {options.rows}"):
        speed = options.rows * plan.context / prefill_s
        plan.add(f"Prefill, {what}", "tokens/s", speed, said)


def beside_torch(plan: Plan, name: str) -> None:
    import torch

    from benchmarks.inference.gpu_torch import TorchGemma

    config, device = plan.sizes[name], plan.provider.value
    kind = torch.float32 if plan.provider is Provider.CPU else torch.bfloat16
    source = RandomWeights(config)
    for batch in plan.batches:
        tokens = plan.context + plan.steps + 8
        model = TorchGemma(source, device=device, dtype=kind, rows=batch, tokens=tokens)
        prompt = np.random.default_rng(1).integers(0, config.vocab_size, (batch, plan.context))
        model.step(prompt)
        model.forget()
        began = time.perf_counter()
        ids = model.step(prompt).argmax(-1, keepdim=True).cpu().numpy()
        prefill_s = time.perf_counter() - began
        took = []
        for _ in range(plan.steps):
            began = time.perf_counter()
            ids = model.step(ids).argmax(-1, keepdim=True).cpu().numpy()
            took.append(time.perf_counter() - began)
        said = f"torch {torch.__version__}, eager, {plan.context} tokens before"
        what = f"{name} torch {str(kind).removeprefix('torch.')}, batch {batch}"
        plan.add(f"Decode, {what}", "tokens/s", batch / median(took), said)
        plan.add(f"Prefill, {what}", "tokens/s", batch * plan.context / prefill_s, said)
        del model


def _graph(source: RandomWeights, folder: Path, precision: Precision, provider: Provider) -> Path:
    folder.mkdir()
    write_graph(source, folder, precision, lambda _: None, provider=provider)
    return folder


def _plan(options: argparse.Namespace) -> Plan:
    has_torch = find_spec("torch") is not None and not options.no_torch
    if options.tiny:
        return Plan(
            provider=Provider.CPU,
            sizes={"tiny": TINY},
            checked=TINY,
            precisions=[Precision.FP32, Precision.INT8, Precision.INT4],
            batches=[1, 3],
            context=32,
            steps=4,
            copied_bytes=1 << 24,
            use_torch=has_torch,
        )
    tokens = options.context + options.steps + 8
    return Plan(
        provider=Provider.CUDA,
        sizes={name: config_of(name, positions_max=tokens) for name in options.sizes},
        checked=config_of("gemma3-1b", layers=6, positions_max=1024),
        precisions=[Precision(precision) for precision in options.precisions],
        batches=options.batches,
        context=options.context,
        steps=options.steps,
        copied_bytes=1 << 30,
        use_torch=has_torch,
    )


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.inference.gpu")
    parser.add_argument("--tiny", action="store_true", help="a tiny model on the CPU")
    parser.add_argument("--sizes", nargs="+", default=["gemma3-1b", "gemma3-12b"])
    parser.add_argument("--precisions", nargs="+", default=["bf16", "int8", "int4"])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8, 64])
    parser.add_argument("--context", type=int, default=512, help="tokens before the timed steps")
    parser.add_argument("--steps", type=int, default=64)
    parser.add_argument("--no-torch", action="store_true")
    parser.add_argument("--folder", type=Path, help="for the graphs; must be on a large disk")
    plan = _plan(parser.parse_args(arguments))
    folder = parser.parse_args(arguments).folder
    if plan.provider is Provider.CUDA:
        plan.attempt("nvidia-smi", lambda: plan.notes.append(gpu_name()))
    rate = copy_rate(plan.provider, plan.copied_bytes)
    said = f"{plan.copied_bytes >> 20} MB, read and written"
    plan.add("Copy rate of the memory", "GB/s", rate / 1e9, f"{said}; an H200's datasheet 4,800")
    with tempfile.TemporaryDirectory(dir=folder, prefix="gpu-") as place:
        right = plan.attempt("numbers", lambda: check_numbers(plan, Path(place)))
    for name in plan.sizes:
        for precision in plan.precisions:
            with tempfile.TemporaryDirectory(dir=folder, prefix="gpu-") as place:
                graph = Path(place) / "graph"
                plan.attempt(
                    f"{name} {precision}", partial(measure, plan, name, precision, graph, rate)
                )
        if plan.use_torch:
            plan.attempt(f"{name} torch", partial(beside_torch, plan, name))
        # After each size, so that what was measured is there even if the machine's time runs out.
        print(table(plan.figures), flush=True)
    print("\n".join(plan.notes))
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
