"""The oracle's environment: torch and transformers, apart from everything that serves."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
REQUIREMENTS = Path(__file__).parent / "requirements.txt"
TORCH = "torch==2.13.0"
_STAMP = "parity.stamp"


def oracle_python() -> Path:
    """The interpreter of .venv-export, made where it is missing or was made of other pins.

    EXPORT_VENV names another folder.
    """
    folder = Path(os.environ.get("EXPORT_VENV") or ROOT / ".venv-export")
    python = folder / "bin" / "python"
    wanted = hashlib.sha256(TORCH.encode() + REQUIREMENTS.read_bytes()).hexdigest()
    stamp = folder / _STAMP
    if python.exists() and stamp.exists() and stamp.read_text() == wanted:
        return python
    print(f"Making {folder} (torch, transformers: about 1.5 GB).", flush=True)
    _run([sys.executable, "-m", "venv", str(folder)])
    # torch first and alone: next to other requirements pip may take a build with CUDA.
    _run([str(python), "-m", "pip", "install", "--quiet", TORCH])
    _run([str(python), "-m", "pip", "install", "--quiet", "-r", str(REQUIREMENTS)])
    stamp.write_text(wanted)
    return python


def ask_oracle(*arguments: str) -> None:
    """Run oracle.py, offline. Raises CalledProcessError."""
    script = Path(__file__).parent / "oracle.py"
    offline = {
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "TRANSFORMERS_VERBOSITY": "error",
    }
    environment = {**os.environ, **offline, "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    _run([str(oracle_python()), str(script), *arguments], environment)


def _run(command: Sequence[str], environment: dict[str, str] | None = None) -> None:
    subprocess.run(command, check=True, env=environment, cwd=ROOT)
