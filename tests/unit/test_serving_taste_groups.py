"""Taste groups in the service: they follow events, and are the same after a restart."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from serving_project import interactions, items, make_project, put_copy, recommended, running, tell

from augrec.core.settings import Settings
from augrec.data.training_data import TrainingData
from augrec.recommenders.group_gan import GroupGan

pytestmark = pytest.mark.anyio
SMALL = {
    **{"groups": 2, "min_group_users": 2, "width": 8, "content_width": 8, "hidden": 16},
    **{"latent": 4, "critic_hidden": 4, "batch_size": 20, "steps": 200, "learning_rate": 0.01},
}
EVEN, ODD = [f"i{item:02}" for item in range(0, 20, 2)], [f"i{item:02}" for item in range(1, 20, 2)]


@pytest.fixture(scope="module")
def model() -> GroupGan:
    """Of a shop whose users like even items or odd ones."""
    found = GroupGan(SMALL, seed=1).fit(TrainingData(interactions(), items=items()))
    assert found.n_groups == 2
    return found


@pytest.fixture
def project(tmp_path: Path, model: GroupGan) -> Settings:
    settings = make_project(tmp_path / "shop", model=None)
    put_copy(settings, "champion", "1", model)
    return settings


def served(client: httpx.AsyncClient) -> GroupGan:
    found = client.app.state.service.deployer.deployment.champion.recommender  # type: ignore[attr-defined]
    assert isinstance(found, GroupGan) and found.live is not None
    return found


async def likes(client: httpx.AsyncClient, user: str, liked: list[str]) -> None:
    for item in liked:
        event: dict[str, Any] = {"event_id": f"{user}-{item}", "event": "click"}
        await tell(client, {**event, "user_id": user, "item_id": item})
    ranker = client.app.state.service.ranker  # type: ignore[attr-defined]
    await ranker.call(client.app.state.service.deployer.deployment.champion, lambda: None)  # type: ignore[attr-defined]
    await asyncio.sleep(0)


async def test_events_move_a_user_to_another_group_and_the_next_list_shows_it(
    project: Settings,
) -> None:
    async with running(project) as client:
        await likes(client, "newcomer", EVEN[:2])
        live = served(client).live
        assert live is not None
        before = live._users["newcomer"].group
        first = await recommended(client, user_id="newcomer", k=4)
        assert sum(item in EVEN for item in first) >= 3
        await likes(client, "newcomer", ODD[:6])
        assert live._users["newcomer"].group != before
        then = await recommended(client, user_id="newcomer", k=4)
        assert set(then) <= set(ODD)


async def test_an_event_moves_the_vector_of_the_users_group(project: Settings) -> None:
    async with running(project) as client:
        learnt = served(client).centres()
        await likes(client, "newcomer", EVEN[:4])
        live = served(client).live
        assert live is not None and (live.centres != learnt).any()
        assert (served(client).centres() == learnt).all()


async def test_after_a_restart_the_groups_are_where_they_were(project: Settings) -> None:
    async with running(project) as client:
        await likes(client, "newcomer", EVEN[:4])
        await likes(client, "u00", EVEN[:6])
        live = served(client).live
        assert live is not None
        before = live.centres.copy()
    async with running(project) as client:
        live = served(client).live
        assert live is not None
        np.testing.assert_allclose(live.centres, before, atol=1e-5)
        assert (before != served(client).centres()).any()


async def test_a_reason_is_the_taste_of_the_users_group(project: Settings) -> None:
    async with running(project) as client:
        asked = {"history": EVEN[:3], "k": 5, "reasons": True}
        answer = (await client.post("/v1/recommendations", json=asked)).json()
        told = {
            reason["attribute"]
            for item in answer["items"]
            for reason in item["reasons"]
            if reason["kind"] == "attribute"
        }
        assert told and all(name.startswith("people who like") for name in told)
