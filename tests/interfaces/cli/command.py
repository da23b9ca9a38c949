"""`chatledger` as the operator runs it: a process of its own, with nothing in its environment but
what the test gives it."""

import os
import subprocess
import sys
from pathlib import Path

from tests.support.ports import free_port

TIMEOUT_S = 120


class Finished:
    def __init__(self, process: subprocess.CompletedProcess[str]) -> None:
        self.status = process.returncode
        self.output = process.stdout
        self.errors = process.stderr

    def refusal(self) -> str:
        """The one sentence on standard error."""
        assert self.status == 1, (self.status, self.output, self.errors)
        lines = self.errors.splitlines()
        assert len(lines) == 1, self.errors
        assert lines[0].startswith("chatledger: ")
        assert "Traceback" not in self.output
        return lines[0].removeprefix("chatledger: ")


def chatledger(*arguments: str, folder: Path, stdin: str = "", **settings: str) -> Finished:
    """Runs to its end in `folder`, which is also its data folder unless DATA_DIR is given, on
    free ports unless others are."""
    inherited = {
        name: os.environ[name]
        for name in ("PATH", "HOME", "LD_LIBRARY_PATH", "TMPDIR")
        if name in os.environ
    }
    environment = {
        "ENVIRONMENT": "test",
        "DATA_DIR": str(folder / "data"),
        "BCRYPT_ROUNDS": "4",
        "PORT": str(free_port()),
        "UI_PORT": str(free_port()),
        "PYTHONPATH": str(Path(__file__).parents[3]),
        **settings,
    }
    return Finished(
        subprocess.run(
            [sys.executable, "-m", "interfaces.cli.main", *arguments],
            env=inherited | environment,
            cwd=folder,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    )
