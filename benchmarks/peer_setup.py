"""Environments and models of the peers, under a folder that git ignores (.venv-peers)."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.hub_copy import write_hub_copy

_HERE = Path(__file__).parent
_TORCH = "torch==2.13.0"
# llama.cpp is compiled while it is installed, which takes minutes on two cores.
_INSTALL_TIMEOUT_S = 3600
_BUILD_TIMEOUT_S = 1800


class PeerMissing(Exception):
    """A peer cannot be had here; the text says why."""


@dataclass(frozen=True, kw_only=True)
class PeerKind:
    """needs_torch: installed first and alone, which brings the build for the CPU."""

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
        self._folder = Path(os.environ.get("PEERS_DIR") or _HERE.parent / ".venv-peers")
        self._folder.mkdir(exist_ok=True)
        self._hub = self._folder / "model"

    def python(self, kind: PeerKind) -> Path:
        """The interpreter of the peer's environment, made where it is missing or was made of
        other pins. Raises PeerMissing."""
        pins = _HERE / "peers" / f"{kind.name}.txt"
        folder = self._folder / kind.name
        python, stamp = folder / "bin" / "python", folder / f"pins-{kind.name}.stamp"
        wanted = hashlib.sha256(_TORCH.encode() + pins.read_bytes()).hexdigest()
        if python.exists() and stamp.exists() and stamp.read_text() == wanted:
            return python
        print(f"Making {folder}.", flush=True)
        self._run(kind, [sys.executable, "-m", "venv", str(folder)], _INSTALL_TIMEOUT_S)
        install = [str(python), "-m", "pip", "install"]
        if kind.needs_torch:
            self._run(kind, [*install, _TORCH], _INSTALL_TIMEOUT_S)
        self._run(kind, [*install, "-r", str(pins)], _INSTALL_TIMEOUT_S)
        stamp.write_text(wanted)
        return python

    def model(self, kind: PeerKind) -> Path:
        """What the peer reads: the same weights in its own format. Raises PeerMissing."""
        gguf = write_hub_copy(self._hub)
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
            exporter = self._folder / kind.name / "bin" / "optimum-cli"
            command = [str(exporter), "export", "onnx", *task]
        self._run(kind, [*command, str(self._hub), str(target)], _BUILD_TIMEOUT_S)
        done.touch()
        return target

    def _run(self, kind: PeerKind, command: Sequence[str], timeout_s: float) -> None:
        log = self._folder / f"{kind.name}.log"
        try:
            with log.open("ab") as file:
                subprocess.run(
                    command,
                    check=True,
                    stdout=file,
                    stderr=file,
                    timeout=timeout_s,
                    env={**os.environ, "HF_HUB_OFFLINE": "1"},
                )
        except (OSError, subprocess.SubprocessError) as error:
            raise PeerMissing(f"{type(error).__name__}, see {log.name}: {_last(log)}") from error


def _last(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    return lines[-1][:200] if lines else "nothing was printed"
