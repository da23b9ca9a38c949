"""Imports point inward, and the domain is pure."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from tests.architecture.sources import ROOT, Source, sources

# An allow-list, because import-linter cannot forbid what nobody thought of. None of these reads
# a clock, draws a random number or leaves the process.
PURE_MODULES = frozenset(
    {
        "collections",
        "dataclasses",
        "datetime",
        "decimal",
        "enum",
        "fractions",
        "functools",
        "hashlib",
        "itertools",
        "json",
        "math",
        "operator",
        "re",
        "types",
        "typing",
        "unicodedata",
        "uuid",
    }
)
OF_THE_LIBRARY = "eventsourcing.domain"
# Pure modules have impure corners: what comes from a clock, a die or a file.
IMPURE_CALLS = frozenset(
    {"now", "utcnow", "today", "uuid1", "uuid4", "open", "print", "input", "eval", "exec"}
)


def imported(source: Source) -> Iterator[str]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{source.name} imports relatively"
            assert node.module is not None
            yield node.module


def called(source: Source) -> Iterator[str]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call):
            match node.func:
                case ast.Name(id=name) | ast.Attribute(attr=name):
                    yield name


def is_pure(module: str) -> bool:
    top = module.partition(".")[0]
    return top == "domain" or top in PURE_MODULES or module == OF_THE_LIBRARY


@pytest.mark.parametrize("source", sources("domain"), ids=lambda source: source.name)
def test_the_domain_imports_nothing_that_could_do_input_or_output(source: Source) -> None:
    assert [module for module in imported(source) if not is_pure(module)] == []


@pytest.mark.parametrize("source", sources("domain"), ids=lambda source: source.name)
def test_the_domain_asks_for_no_time_no_chance_and_no_file(source: Source) -> None:
    assert [name for name in called(source) if name in IMPURE_CALLS] == []


@pytest.mark.parametrize("module", ["os", "time", "random", "asyncio", "eventsourcing.postgres"])
def test_the_allow_list_lets_none_of_these_in(module: str) -> None:
    assert not is_pure(module)


def test_the_contracts_of_the_layers_hold() -> None:
    # In a process of its own: it configures logging and adds to the path.
    program = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports())"
    linted = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert linted.returncode == 0, linted.stdout + linted.stderr


def test_every_forbidden_module_exists_because_a_misspelt_one_would_pass_in_silence() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    forbidden = {name for each in contracts for name in each.get("forbidden_modules", ())}
    assert forbidden
    assert sorted(name for name in forbidden if find_spec(name) is None) == []
