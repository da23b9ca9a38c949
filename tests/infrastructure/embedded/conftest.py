"""Data folders for tests that start, kill and stop servers of their own.

They are in a folder that only the tests' user may enter, like everything under /root.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from infrastructure.embedded.servers import EmbeddedServers, EmbeddedSettings
from tests.support.servers import ignore


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A folder that does not exist yet."""
    parent = Path(tempfile.mkdtemp(prefix="chatledger-embedded-"))
    yield parent / "data"
    shutil.rmtree(parent)


@pytest.fixture(scope="session")
def stopped_data_dir() -> Iterator[Path]:
    parent = Path(tempfile.mkdtemp(prefix="chatledger-embedded-"))
    with EmbeddedServers.start(EmbeddedSettings(data_dir=parent / "data"), ignore):
        pass
    yield parent / "data"
    shutil.rmtree(parent)


@pytest.fixture
def used_data_dir(stopped_data_dir: Path, data_dir: Path) -> Path:
    """A folder as an earlier start left it; a copy, because making a cluster takes a second."""
    sparse = (
        ["--sparse=always"] if sys.platform == "linux" else []
    )  # Four times as fast as without.
    subprocess.run(["cp", "-a", *sparse, str(stopped_data_dir), str(data_dir)], check=True)
    return data_dir
