"""The command line belongs to a process of its own: `main` sets up the logs of the whole process,
and the tests that come after would look for their lines in vain."""

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]


def test_no_test_runs_the_command_line_inside_the_tests_own_process() -> None:
    imported = re.compile(r"^from interfaces\.cli\.main import .*\bmain\b", re.MULTILINE)
    found = [str(path) for path in TESTS.rglob("*.py") if imported.search(path.read_text())]

    assert found == [], "use tests.interfaces.cli.command.chatledger"
