"""What the documentation says is what the code does."""

import re
import tomllib
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from uuid import UUID

import pytest

from domain.errors import Refusal
from infrastructure.settings.service import Settings
from interfaces.http.app import create_app
from interfaces.http.services import HttpServices
from tools.settings_docs import DOCS, EXAMPLE, parts, render_docs, render_example

ROOT = Path(__file__).parents[2]


def test_the_settings_page_is_the_settings() -> None:
    written = (ROOT / DOCS).read_text(encoding="utf-8")
    assert written == render_docs(), "run `make docs`"


def test_the_example_env_file_is_the_settings() -> None:
    written = (ROOT / EXAMPLE).read_text(encoding="utf-8")
    assert written == render_example(), "run `make docs`"


def test_every_setting_stands_in_one_part() -> None:
    named = [name for fields in parts().values() for name in fields]
    assert sorted(named) == sorted(Settings.model_fields)


def test_every_dependency_has_its_row() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    names = {re.split(r"[\[<>=; ]", line)[0] for group in groups for line in group}
    page = (ROOT / "docs/dependencies.md").read_text(encoding="utf-8")
    missing = sorted(name for name in names if f"| {name} |" not in page)
    assert not missing, f"docs/dependencies.md has no row for {missing}"


def test_every_route_is_documented() -> None:
    from interfaces.http.auth.routes import router as auth
    from interfaces.http.billing.routes import router as billing
    from interfaces.http.chat.routes import router as chat
    from interfaces.http.health.routes import router as health
    from interfaces.http.performance.routes import router as performance

    page = (ROOT / "docs/api.md").read_text(encoding="utf-8")
    for router in (auth, billing, chat, health, performance):
        for route in router.routes:
            methods: set[str] = getattr(route, "methods", set())
            path = getattr(route, "path", "")
            for method in methods:
                assert f"`{method} {path}`" in page, f"docs/api.md says nothing of {method} {path}"


def never_opened() -> AbstractAsyncContextManager[HttpServices]:
    raise AssertionError("the schema needs no services")


def never_named() -> UUID:
    raise AssertionError("the schema needs no request")


def test_every_field_and_parameter_is_documented() -> None:
    schema = create_app(never_opened, request_body_bytes_max=1, new_id=never_named).openapi()
    pages = [(ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("api.md", "audit.md")]
    prose = re.sub(r"^```.*?^```", "", "".join(pages), flags=re.DOTALL | re.MULTILINE)
    named = {word for code in re.findall(r"`([^`]+)`", prose) for word in re.findall(r"\w+", code)}
    foreign = {"ValidationError", "HTTPValidationError", "Body_token_auth_token_post"}
    fields = {
        field
        for kind, model in schema["components"]["schemas"].items()
        if kind not in foreign
        for field in model.get("properties", {})
    }
    parameters = {
        parameter["name"]
        for operations in schema["paths"].values()
        for operation in operations.values()
        for parameter in operation.get("parameters", [])
        if parameter["in"] != "header"
    }
    assert sorted((fields | parameters) - named) == []


def _refusals(kind: type[Refusal]) -> list[type[Refusal]]:
    return [kind, *(deeper for child in kind.__subclasses__() for deeper in _refusals(child))]


@pytest.mark.parametrize("kind", _refusals(Refusal), ids=lambda kind: kind.__name__)
def test_every_refusal_code_is_documented(kind: type[Refusal]) -> None:
    abstract = {"refused", "conflict", "not_found"}
    page = (ROOT / "docs/api.md").read_text(encoding="utf-8")
    assert kind.code in abstract or f"`{kind.code}`" in page
