"""A backup and its restore, as the operator runs them, on embedded servers of two folders."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interfaces.cli.command import chatledger


@pytest.fixture
def folder() -> Iterator[Path]:
    """Under the system's temporary folder, where PostgreSQL's own user may pass through."""
    with tempfile.TemporaryDirectory(prefix="chatledger-cli-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_a_ledger_moves_into_another_folder(folder: Path) -> None:
    old, new = str(folder / "old"), str(folder / "new")
    path = str(folder / "ledger.backup")
    early = chatledger("backup", path, folder=folder, DATA_DIR=old)
    assert (early.status, early.errors.splitlines()[-1]) == (
        1,
        "chatledger: there is no ledger in this database yet; nothing to back up",
    )
    made = chatledger(
        *("users", "create-admin", "ada", "ada@example.com"),
        folder=folder,
        stdin="a good passphrase\n",
        DATA_DIR=old,
    )
    assert made.status == 0, made.errors

    written = chatledger("backup", path, folder=folder, DATA_DIR=old)
    keyless = chatledger("restore", path, folder=folder, DATA_DIR=new)
    shutil.copy(Path(old) / "ledger_keys.json", Path(new) / "ledger_keys.json")
    restored = chatledger("restore", path, folder=folder, DATA_DIR=new)

    assert keyless.status == 1
    assert "ledger_keys.json is missing" in keyless.errors.splitlines()[-1]
    assert written.status == 0, written.errors
    assert "6 events up to position 6, trial balance zero" in written.output
    assert restored.status == 0, restored.errors
    assert restored.output.startswith("restored 6 events up to position 6")
    balance = chatledger("audit", "balance", "ada", folder=folder, DATA_DIR=new)
    assert "Available  100.000000" in balance.output
    status = chatledger("projections", "status", folder=folder, DATA_DIR=new)
    assert {line.split()[1] for line in status.output.splitlines()} == {"6"}
    again = chatledger("restore", path, folder=folder, DATA_DIR=new)
    assert again.status == 1
    assert "into an empty database" in again.errors.splitlines()[-1]
