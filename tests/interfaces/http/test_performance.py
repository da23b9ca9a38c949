"""What administrators can do about the service's memory, and nobody else."""

import pytest

from infrastructure.settings.service import DEVELOPMENT_ADMIN_PASSWORD
from tests.interfaces.http.problem import check_problem
from tests.support.api import Api, Person

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATH = "/performance/optimize/memory"


async def test_an_administrator_hears_how_much_memory_went_back(api: Api) -> None:
    tokens = await api.sign_in("admin", DEVELOPMENT_ADMIN_PASSWORD)
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    response = await api.client.post(PATH, headers=headers)

    assert response.status_code == 200
    assert response.json() == {
        "rss_fell_bytes": 0,
        "rss_before_bytes": 1,
        "rss_after_bytes": 1,
        "gpu_before_bytes": 0,
        "gpu_after_bytes": 0,
        "kept_bytes_dropped": 0,
        "models_unloaded": [],
    }


async def test_others_may_not(person: Person) -> None:
    check_problem(await person.post(PATH), 403, code="not_permitted")


async def test_strangers_may_not(api: Api) -> None:
    check_problem(await api.client.post(PATH), 401)
