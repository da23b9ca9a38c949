"""What an answer costs that did not have to be generated."""

from pathlib import Path

import pytest

from infrastructure.embedded.servers import EmbeddedServers
from tests.support.api import running_api


@pytest.mark.parametrize(("price", "cost"), [("0", 0), ("0.5", 0.5), ("0/1", 0.004), ("50", 2)])
async def test_a_kept_answer_costs_what_is_set_and_never_more_than_the_answer(
    embedded_servers: EmbeddedServers, tmp_path: Path, price: str, cost: float
) -> None:
    async with running_api(embedded_servers, tmp_path, cached_response_cost=price) as api:
        person = await api.person()
        first = await person.say("Twice", temperature=0)
        before = await person.balance()
        second = await person.say("Twice", temperature=0)
        after = await person.balance()
        receipt = (await person.get(f"/billing/receipts/{second['message_id']}")).json()

        assert (first["cached"], second["cached"]) == (False, True)
        assert first["cost"] == 2
        assert second["cost"] == receipt["charged"] == cost
        assert before[0] - after[0] == pytest.approx(cost)
        assert second["response"] == first["response"]
        assert len(api.engine.requests) == 1


async def test_nothing_is_kept_where_the_cache_is_off(
    embedded_servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with running_api(embedded_servers, tmp_path, response_cache_bytes_max=0) as api:
        person = await api.person()
        answers = [await person.say("Twice", temperature=0) for _ in range(2)]

        assert [answer["cached"] for answer in answers] == [False, False]
        assert len(api.engine.requests) == 2
