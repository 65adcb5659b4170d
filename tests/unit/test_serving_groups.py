"""Lists for groups, asked through the whole application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from serving_project import interactions, make_project, running

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
        ({"group": [{"user": "u00"}]}, "group"),
        ({"group": 7}, "group"),
        ({"group": ""}, "group"),
        ({"group": "couple", "user_id": "u01"}, "either a group"),
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


async def test_without_known_groups_an_id_and_what_must_be_learned_are_refused(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.post("/v1/recommendations", json={"group": "couple"})
    assert answer.status_code == 404 and "'couple'" in answer.json()["what"]
    body = {"group": [EVEN, ODD], "strategy": "attention"}
    answer = await client.post("/v1/recommendations", json=body)
    assert answer.status_code == 422 and "least_misery" in answer.json()["what"]
    assert (await asked(client, group=[EVEN, ODD]))["group"]["strategy"] == "average"


@pytest.fixture
async def knowing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[httpx.AsyncClient]:
    """A service whose champion knows groups."""
    settings = make_project(tmp_path / "shop", groups=True)
    monkeypatch.setenv("AUGREC_HOME", str(settings.home))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", settings.mlflow_uri)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    async with running(settings) as found:
        yield found


async def test_a_group_is_known_by_its_id(knowing: httpx.AsyncClient) -> None:
    told = await asked(knowing, group="couple", k=5)
    assert told["group"]["group_id"] == "couple"
    assert [one["user_id"] for one in told["group"]["members"]] == ["u00", "u01"]
    assert told["group"]["strategy"] == "attention"  # as the gate has chosen
    assert not {"i06", "i08"} & {one["item_id"] for one in told["items"]}  # chosen before
    again = await asked(knowing, group="couple", k=40, filters={"exclude_seen": False})
    assert {"i06", "i08"} <= {one["item_id"] for one in again["items"]}
    assert len((await asked(knowing, group="friends"))["group"]["members"]) == 5
    other = await asked(knowing, group="couple", strategy="ep_fuzzda", k=5)
    assert other["group"]["strategy"] == "ep_fuzzda"
    unknown = await knowing.post("/v1/recommendations", json={"group": "nobody"})
    assert unknown.status_code == 404 and "nobody" in unknown.json()["what"]


async def test_the_strategy_is_that_of_the_kind_and_size(knowing: httpx.AsyncClient) -> None:
    assert (await asked(knowing, group="new"))["group"]["strategy"] == "least_misery"
    assert (await asked(knowing, group=[EVEN, ODD]))["group"]["strategy"] == "average"
    three = [EVEN, ODD, {"user_id": "u02"}]
    assert (await asked(knowing, group=three))["group"]["strategy"] == "least_misery"
    refused = await knowing.post(
        "/v1/recommendations", json={"group": three, "strategy": "attention"}
    )
    assert refused.status_code == 422  # learned for groups with choices alone


async def test_attention_is_served_as_it_was_learned(knowing: httpx.AsyncClient) -> None:
    """Its one weight is that of popularity: the couple gets what is popular, best first."""
    counts = dict(interactions()["item_id"].value_counts().iter_rows())
    told = [one["item_id"] for one in (await asked(knowing, group="couple", k=6))["items"]]
    shares = [counts.get(item, 0) for item in told]
    assert len(told) == 6 and shares == sorted(shares, reverse=True)
    by_average = await asked(knowing, group="couple", k=6, strategy="average")
    assert told != [one["item_id"] for one in by_average["items"]]
