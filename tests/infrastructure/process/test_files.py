"""A file that is written at length has its name only when it is whole."""

import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from infrastructure.process.files import flush_to_disk, new_private_file


class Refused(Exception):
    pass


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def test_a_file_is_its_owners_alone_from_the_first_byte_on(
    tmp_path: Path, open_umask: None
) -> None:
    path = tmp_path / "file"
    with new_private_file(path, Refused) as partial:
        assert stat.S_IMODE(partial.stat().st_mode) == 0o600
        partial.write_text("whole")
        assert not path.exists()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
    assert path.read_text() == "whole"


def test_a_file_whose_writer_fails_is_not_there(tmp_path: Path) -> None:
    def fail() -> None:
        with new_private_file(tmp_path / "file", Refused) as partial:
            partial.write_text("ha")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_has_left_is_replaced_even_if_it_leads_elsewhere(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("somebody's")
    (tmp_path / ".file.partial").symlink_to(other)
    with new_private_file(tmp_path / "file", Refused) as partial:
        partial.write_text("whole")
    assert other.read_text() == "somebody's"
    assert not (tmp_path / "file").is_symlink()


def test_of_two_runs_that_write_one_file_only_a_whole_one_gets_its_name(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with ExitStack() as first, ExitStack() as second:
        first.enter_context(new_private_file(path, Refused)).write_text("first")
        partial = second.enter_context(new_private_file(path, Refused))
        partial.write_text("sec")
        with pytest.raises(Refused, match="another run has written"):
            first.close()
        assert not path.exists()
        partial.write_text("second")
        second.close()
    assert path.read_text() == "second"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_a_file_that_came_meanwhile_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with ExitStack() as running:
        running.enter_context(new_private_file(path, Refused)).write_text("late")
        path.write_text("early")
        with pytest.raises(Refused, match="another run has written"):
            running.close()
    assert path.read_text() == "early"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_files_and_folders_can_be_flushed(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    flush_to_disk(file)
    flush_to_disk(tmp_path)
    with pytest.raises(FileNotFoundError):
        flush_to_disk(tmp_path / "none")
