"""The operator's commands while the service runs on the same data folder."""

from pathlib import Path

import pytest

from tests.interfaces.cli.command import Finished, chatledger
from tests.support.service import RunningService


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (("audit", "verify"), "Everything agrees."),
        (("audit", "trial-balance"), "The trial balance is zero."),
        (("audit", "statement", "admin"), "Closing balance"),
        (("projections", "status"), "balances"),
        (("backup", "kept.backup"), "trial balance zero"),
    ],
)
def test_whoever_looks_joins_the_servers_of_the_running_service(
    running_service: RunningService, tmp_path: Path, command: tuple[str, ...], says: str
) -> None:
    finished = beside(running_service, tmp_path, *command)

    assert finished.status == 0, finished.errors
    assert says in finished.output


def test_whoever_would_replace_the_log_is_refused(
    running_service: RunningService, tmp_path: Path
) -> None:
    assert beside(running_service, tmp_path, "backup", "kept.backup").status == 0
    refusal = beside(running_service, tmp_path, "restore", "kept.backup").refusal()

    assert "is in use by process" in refusal


def beside(service: RunningService, folder: Path, *command: str) -> Finished:
    return chatledger(*command, folder=folder, DATA_DIR=str(service.data_dir))
