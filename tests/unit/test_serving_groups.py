"""Lists for groups, asked through the whole application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from serving_project import make_project, running

from augrec.serving.group_schemas import MAX_GROUP, STRATEGIES

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[httpx.AsyncClient]:
    settings = make_project(tmp_path / "shop")
    monkeypatch.setenv("AUGREC_HOME", str(settings.home))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", settings.mlflow_uri)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    async with running(settings) as found:
        yield found


async def asked(client: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    answer = await client.post("/v1/recommendations", json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


EVEN, ODD = {"user_id": "u00"}, {"user_id": "u01"}


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_a_group_gets_one_list_that_nobody_has_met(
    client: httpx.AsyncClient, strategy: str
) -> None:
    told = await asked(client, group=[EVEN, ODD], strategy=strategy, k=4)
    met: set[str] = set()
    for user in ("u00", "u01"):
        report = (await client.get(f"/v1/users/{user}")).json()
        met |= {one["item_id"] for one in report["history"]}
    items = [one["item_id"] for one in told["items"]]
    assert len(set(items)) == 4 and not met & set(items)
    group = told["group"]
    assert group["strategy"] == strategy
    content = [one["satisfaction"] for one in group["members"]]
    assert all(0 <= one <= 1 for one in content)
    assert content[group["worst_off"]] == min(content)


async def test_a_member_joins_and_the_list_turns(client: httpx.AsyncClient) -> None:
    """With u00 alone the list holds even items; u01 brings odd ones, and is then served better."""
    alone = await asked(client, group=[EVEN], k=4)
    assert all(int(one["item_id"][1:]) % 2 == 0 for one in alone["items"])
    assert alone["group"]["members"][0]["satisfaction"] == pytest.approx(1.0)
    both = await asked(client, group=[EVEN, ODD], strategy="ep_fuzzda", k=4)
    assert {int(one["item_id"][1:]) % 2 for one in both["items"]} == {0, 1}
    one_sided = await asked(
        client, group=[EVEN, ODD], filters={"categories": ["even"]}, strategy="ep_fuzzda", k=4
    )
    assert all(int(one["item_id"][1:]) % 2 == 0 for one in one_sided["items"])


async def test_a_group_of_one_is_that_user(client: httpx.AsyncClient) -> None:
    alone = await asked(client, user_id="u07", k=5)
    group = await asked(client, group=[{"user_id": "u07"}], k=5)
    assert [one["item_id"] for one in group["items"]] == [one["item_id"] for one in alone["items"]]
    assert "group" not in alone


async def test_reasons_say_whose_they_are(client: httpx.AsyncClient) -> None:
    """Two newcomers share one title: what follows from it is the reason of both."""
    group = [{"history": ["i00", "i02"]}, {"history": ["i00"]}, {"history": ["i01"]}]
    told = await asked(client, group=group, k=3, filters={"categories": ["even"]}, reasons=True)
    first = told["items"][0]["reasons"][0]
    assert first["kind"] == "item" and first["item_id"] == "i00" and first["members"] == [0, 1]
    assert [one["known"] for one in told["group"]["members"]] == [True] * 3
    assert [one["history_length"] for one in told["group"]["members"]] == [2, 1, 1]


async def test_unknown_members_are_newcomers(client: httpx.AsyncClient) -> None:
    told = await asked(client, group=[{"user_id": "nobody"}, {}], k=5, reasons=True)
    assert len(told["items"]) == 5 and not told["user_known"]
    assert [one["known"] for one in told["group"]["members"]] == [False, False]
    assert told["items"][0]["reasons"][0]["kind"] == "popularity"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"group": []}, "at least 1"),
        ({"group": [{}] * (MAX_GROUP + 1)}, f"at most {MAX_GROUP}"),
        ({"group": [EVEN, ODD, EVEN]}, "u00"),
        ({"group": [EVEN], "user_id": "u01"}, "either a group"),
        ({"group": [EVEN], "history": ["i00"]}, "either a group"),
        ({"group": [EVEN], "strategy": "loudest"}, "least_misery"),
        ({"group": [EVEN], "strategy": "attention"}, "least_misery"),
        ({"group": [{"user": "u00"}]}, "group"),
        ({"group": "u00"}, "group"),
    ],
)
async def test_what_is_no_group_is_refused(
    client: httpx.AsyncClient, body: dict[str, Any], why: str
) -> None:
    answer = await client.post("/v1/recommendations", json=body)
    assert answer.status_code == 422 and why in answer.json()["where"], answer.text


async def test_nothing_is_left_for_a_group(client: httpx.AsyncClient) -> None:
    told = await asked(client, group=[EVEN, ODD], filters={"categories": ["no such"]}, k=3)
    assert told["items"] == []
    assert [one["satisfaction"] for one in told["group"]["members"]] == [0, 0]
