"""Starting as root, as which PostgreSQL refuses to run."""

import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from infrastructure.embedded.account import account_for
from infrastructure.embedded.programs import postgres_install, postgres_libraries
from infrastructure.embedded.servers import EmbeddedServerError, EmbeddedServers, EmbeddedSettings
from tests.infrastructure.embedded.checks import read_numbers, write_number
from tests.support.embedded_process import embedded_process
from tests.support.servers import ignore

pytestmark = pytest.mark.skipif(
    os.name != "posix" or os.geteuid() != 0, reason="only root changes to another user"
)
OTHER_UID = 54_321  # No such user needs to exist.


@pytest.fixture
def cache_dir() -> Iterator[Path]:
    """A folder that everybody may enter, as /var/cache is."""
    parent = Path(tempfile.mkdtemp(prefix="chatledger-cache-"))
    parent.chmod(0o755)
    yield parent / "chatledger"
    shutil.rmtree(parent)


@pytest.fixture(scope="module")
def unreachable_install(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """PostgreSQL's programs in a folder that only root may enter, as a venv under /root is."""
    hidden = tmp_path_factory.mktemp("root")
    hidden.chmod(0o700)
    package = postgres_install().parent
    shutil.copytree(package, hidden / package.name, symlinks=True)
    libraries = postgres_libraries(postgres_install())
    if libraries.exists():
        shutil.copytree(libraries, hidden / libraries.name)
    return hidden / package.name / "pginstall"


def test_postgresql_runs_as_an_unprivileged_user_in_a_folder_that_user_cannot_reach(
    data_dir: Path,
) -> None:
    assert stat.S_IMODE(data_dir.parent.stat().st_mode) == 0o700
    with EmbeddedServers.start(EmbeddedSettings(data_dir=data_dir), ignore) as servers:
        process = psutil.Process(servers.postgres_pid)
        assert process.uids().real != 0
        assert process.uids().effective != 0
        assert (data_dir / "postgres").stat().st_uid == process.uids().real
        write_number(servers.owner_database_url, 1)
    assert stat.S_IMODE(data_dir.parent.stat().st_mode) == 0o700
    assert data_dir.stat().st_uid == 0


def test_programs_that_user_cannot_reach_are_copied_once(
    data_dir: Path, unreachable_install: Path, cache_dir: Path
) -> None:
    settings = EmbeddedSettings(
        data_dir=data_dir, postgres_install_dir=unreachable_install, programs_cache_dir=cache_dir
    )
    with EmbeddedServers.start(settings, ignore) as servers:
        write_number(servers.owner_database_url, 1)
        copies = list(cache_dir.iterdir())
        assert len(copies) == 1
        assert psutil.Process(servers.postgres_pid).exe().startswith(str(copies[0]))
        with psycopg.connect(servers.superuser_url) as connection:
            connection.execute("DO $$ BEGIN PERFORM 1; END $$")  # loads a library of the copy
    made = copies[0].stat().st_ctime_ns
    with EmbeddedServers.start(settings, ignore) as servers:
        assert read_numbers(servers.owner_database_url) == [1]
    assert list(cache_dir.iterdir()) == copies
    assert copies[0].stat().st_ctime_ns == made


def test_a_copy_that_somebody_else_could_change_is_not_run(
    data_dir: Path, unreachable_install: Path, cache_dir: Path
) -> None:
    settings = EmbeddedSettings(
        data_dir=data_dir, postgres_install_dir=unreachable_install, programs_cache_dir=cache_dir
    )
    with EmbeddedServers.start(settings, ignore):
        pass
    (copy,) = cache_dir.iterdir()
    os.chown(copy, OTHER_UID, OTHER_UID)
    with pytest.raises(EmbeddedServerError, match="remove it"):
        EmbeddedServers.start(settings, ignore)


def test_a_cache_that_cannot_be_made_is_reported_in_one_sentence(
    data_dir: Path, unreachable_install: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    settings = EmbeddedSettings(
        data_dir=data_dir,
        postgres_install_dir=unreachable_install,
        programs_cache_dir=tmp_path / "file" / "cache",
    )
    with pytest.raises(EmbeddedServerError, match=r"could not be copied.*ordinary user"):
        EmbeddedServers.start(settings, ignore)


def test_a_cluster_of_an_ordinary_user_is_run_by_that_user(used_data_dir: Path) -> None:
    cluster = used_data_dir / "postgres"
    subprocess.run(["chown", "-R", f"{OTHER_UID}:{OTHER_UID}", str(cluster)], check=True)
    account = account_for(cluster)
    assert account is not None
    assert account.uid == OTHER_UID
    with EmbeddedServers.start(EmbeddedSettings(data_dir=used_data_dir), ignore) as servers:
        assert psutil.Process(servers.postgres_pid).uids().real == OTHER_UID


def test_a_cluster_that_root_copied_is_handed_over(used_data_dir: Path) -> None:
    cluster = used_data_dir / "postgres"
    subprocess.run(["chown", "-R", "0:0", str(cluster)], check=True)
    with EmbeddedServers.start(EmbeddedSettings(data_dir=used_data_dir), ignore) as servers:
        assert psutil.Process(servers.postgres_pid).uids().real == cluster.stat().st_uid != 0


def test_a_working_directory_that_user_cannot_read_does_not_matter(
    used_data_dir: Path, tmp_path: Path
) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir(mode=0o700)
    with embedded_process(used_data_dir, working_dir=hidden) as (_, started):
        write_number(started.superuser_url, 1)
