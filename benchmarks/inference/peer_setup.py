"""Environments and models of the peers, under a folder that git ignores (.venv-peers)."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.inference.hub_copy import write_packaged_copy
from infrastructure.inference.preparing.optimum_export import PINS as OPTIMUM_PINS
from infrastructure.inference.preparing.own_environment import (
    CommandFailed,
    EnvironmentMissing,
    OwnEnvironment,
    run_logged,
)

_HERE = Path(__file__).parent
_BUILD_TIMEOUT_S = 1800


class PeerMissing(Exception):
    """A peer cannot be had here; the text says why."""


@dataclass(frozen=True, kw_only=True)
class PeerKind:
    """needs_torch: torch is installed first and alone, so that it is the build for the CPU."""

    name: str
    title: str
    needs_torch: bool = True


KINDS = (
    PeerKind(name="transformers", title="transformers 5.23.0, float32"),
    PeerKind(name="llama-cpp", title="llama-cpp-python 0.3.36, Q4_K_M", needs_torch=False),
    PeerKind(name="genai", title="onnxruntime-genai 0.18.0, int8"),
    PeerKind(name="optimum", title="optimum ORTModelForCausalLM, float32"),
)


class PeerFolder:
    """PEERS_DIR names another folder."""

    def __init__(self) -> None:
        self._folder = Path(os.environ.get("PEERS_DIR") or _HERE.parents[1] / ".venv-peers")
        self._folder.mkdir(exist_ok=True)
        self._hub = self._folder / "model"

    def python(self, kind: PeerKind) -> Path:
        """The interpreter of the peer's environment, which is made where it is missing or has other
        versions. Raises PeerMissing."""
        try:
            return self._environment(kind).make(lambda said: print(f"  {said}", flush=True))
        except EnvironmentMissing as error:
            raise PeerMissing(str(error)) from error

    def model(self, kind: PeerKind) -> Path:
        """What the peer reads: the same weights in its own format. Raises PeerMissing."""
        gguf = write_packaged_copy(self._hub)
        if kind.name == "llama-cpp":
            return gguf
        if kind.name == "transformers":
            return self._hub
        target = self._folder / f"{kind.name}-model"
        done = target / "built.stamp"
        if done.exists():
            return target
        command = [str(self.python(kind)), str(_HERE / "build_genai.py")]
        if kind.name == "optimum":
            task = ["--task", "text-generation-with-past", "--model"]
            exporter = self._environment(kind).script("optimum-cli")
            command = [str(exporter), "export", "onnx", *task]
        self._run(kind, [*command, str(self._hub), str(target)])
        done.touch()
        return target

    def _environment(self, kind: PeerKind) -> OwnEnvironment:
        own = _HERE / "environments" / f"{kind.name}.txt"
        pins = OPTIMUM_PINS if kind.name == "optimum" else own
        folder = self._folder / kind.name
        return OwnEnvironment(folder=folder, pins=pins, with_torch=kind.needs_torch)

    def _run(self, kind: PeerKind, command: Sequence[str]) -> None:
        log = self._environment(kind).log
        offline = {"HF_HUB_OFFLINE": "1"}
        try:
            run_logged(command, log, timeout_s=_BUILD_TIMEOUT_S, environment=offline)
        except (OSError, CommandFailed) as error:
            raise PeerMissing(f"{error}; all of it is in {log.name}") from error
