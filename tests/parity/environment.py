"""The oracle's environment: torch and transformers, apart from everything that serves."""

import os
import subprocess
from pathlib import Path

from infrastructure.inference.preparing.own_environment import OwnEnvironment

ROOT = Path(__file__).parents[2]
REQUIREMENTS = Path(__file__).parent / "requirements.txt"


def oracle_python() -> Path:
    """The interpreter of .venv-export (1.5 GB); EXPORT_VENV names another folder. Raises
    EnvironmentMissing."""
    folder = Path(os.environ.get("EXPORT_VENV") or ROOT / ".venv-export")
    environment = OwnEnvironment(folder=folder, pins=REQUIREMENTS)
    return environment.make(lambda said: print(f"  {said}", flush=True))


def ask_oracle(*arguments: str) -> None:
    """Run oracle.py, offline. Raises CalledProcessError, EnvironmentMissing."""
    script = Path(__file__).parent / "oracle.py"
    offline = {
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "TRANSFORMERS_VERBOSITY": "error",
    }
    environment = {**os.environ, **offline, "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    command = [str(oracle_python()), str(script), *arguments]
    subprocess.run(command, check=True, env=environment, cwd=ROOT)
