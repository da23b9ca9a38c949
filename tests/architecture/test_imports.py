"""Imports point inward, and the domain is pure."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

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
# Options of import-linter's contracts that are lists of modules, and those that name none.
MODULE_OPTIONS = (
    *("source_modules", "forbidden_modules", "protected_modules", "allowed_importers"),
    *("containers", "ancestors"),
)
FLAGS = ("allow_indirect_imports", "exhaustive")


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


def exists(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of the package that it would be in
        return False


def contracts() -> list[dict[str, Any]]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = settings["tool"]["importlinter"]["contracts"]
    return found


def named(contract: dict[str, Any]) -> Iterator[str]:
    """Every module that a contract names, whatever its type calls the option."""
    for option in MODULE_OPTIONS:
        yield from contract.get(option, ())
    containers = contract.get("containers", ())
    for layer in contract.get("layers", ()):
        for name in layer.split(" | "):
            yield from (f"{container}.{name}" for container in containers)
            if not containers:
                yield name
    for pair in contract.get("ignore_imports", ()):
        yield from pair.split(" -> ")


@pytest.mark.parametrize("contract", contracts(), ids=lambda contract: contract["name"])
def test_every_module_of_a_contract_exists_because_a_misspelt_one_could_pass_in_silence(
    contract: dict[str, Any],
) -> None:
    assert set(contract) - {"name", "type", *FLAGS} <= {
        *MODULE_OPTIONS,
        "layers",
        "ignore_imports",
    }, "an option that may name modules and is not looked at here"
    names = sorted(set(named(contract)))
    assert names
    assert [name for name in names if not exists(name)] == []
