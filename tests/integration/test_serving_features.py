"""User features while serving: read from a real Feast online store, moved on by events, written
back, and missed."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import polars as pl
import pytest
import yaml

from augrec.core import settings as settings_
from augrec.data.canonical import canonical_tables, write_raw
from augrec.data.columns import INTERACTIONS
from augrec.features import store
from augrec.serving.app import create_app
from augrec.stages import features

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parents[2]
SERVING = {"poll_s": 0.2, "features_timeout_s": 5.0, "features_max_age_s": 0.0}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with features in its online store, and no model: popular items serve."""
    monkeypatch.setenv("AUGREC_HOME", str(tmp_path))
    params = {
        "features": {"every_days": 7, "windows_days": [7, 30], "max_categories": 3},
        "prepare": {"positive": {"view": None, "rating": None}},
        "validation": {"events": ["view", "rating"]},
        "serving": SERVING,
    }
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    shutil.copytree(
        ROOT / "feature_repo",
        tmp_path / "feature_repo",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    rows = pl.DataFrame(
        {
            "user_id": [f"u{n % 5}" for n in range(40)],
            "item_id": [f"i{n % 8}" for n in range(40)],
            "event": "view",
            "value": [float(n % 5 + 1) for n in range(40)],
            "timestamp": [datetime(2024, 3, 1, tzinfo=UTC) + timedelta(hours=n) for n in range(40)],
            "origin": "real",
            "weight": 1.0,
        },
        schema_overrides=dict(INTERACTIONS),
    )
    items = pl.DataFrame(
        {"item_id": [f"i{n}" for n in range(9)], "categories": [["a"]] * 8 + [["b"]]}
    )
    tables = canonical_tables(rows, items)
    write_raw(tmp_path / "data/raw", *tables, {"source": "test"})
    prepared = tmp_path / "data/prepared"
    prepared.mkdir()
    for name, table in {
        **tables._asdict(),
        "train": rows,
        "held_out": pl.DataFrame({"user_id": ["u9"]}),
    }.items():
        table.write_parquet(prepared / f"{name}.parquet")
    (prepared / "split.json").write_text('{"rules": {"order": "time"}}')
    with contextlib.chdir(tmp_path):
        features.main()
    store.materialize(tmp_path, online_store=settings_.load().online_store)
    return tmp_path


@asynccontextmanager
async def running() -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(settings_.load())
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://127.0.0.1"
        ) as client,
    ):
        end = time.monotonic() + 60
        while app.state.service.features.state == "starting" or not app.state.parts.ready:
            assert time.monotonic() < end
            await asyncio.sleep(0.05)
        client.service = app.state.service  # type: ignore[attr-defined]
        yield client


def stored(home: Path, user: str) -> dict:
    """What the online store itself holds of a user."""
    opened = store.open_store(home, online_store=settings_.load().online_store)
    return store.online(opened, users=[user]).to_dicts()[0]


async def test_features_are_read_moved_on_by_an_event_and_written_back(home: Path) -> None:
    before = stored(home, "u1")
    assert before["user__interactions_total"] == 8 and before["user__n_categories"] == 1
    async with running() as client:
        answer = await client.post("/v1/recommendations", json={"user_id": "u1"})
        assert answer.json()["features"] == "online" and "features" not in answer.headers.get(
            "x-augrec-degraded", ""
        )
        event = {"event_id": "1", "user_id": "u1", "item_id": "i8", "event": "rating", "value": 5.0}
        assert (await client.post("/v1/events", json={"events": [event]})).json()["accepted"] == 1
        shown = (await client.get("/v1/users/u1")).json()["features"]
        end = time.monotonic() + 30
        while client.service.features.waiting_writes() or stored(home, "u1") == before:  # type: ignore[attr-defined]
            assert time.monotonic() < end
            await asyncio.sleep(0.05)
    after = stored(home, "u1")
    assert after["user__interactions_total"] == 9 and after["user__n_categories"] == 2
    assert after["user__days_since_last"] == 0.0
    assert after["user__mean_value"] == pytest.approx(
        before["user__mean_value"] + (5 - before["user__mean_value"]) / 9
    )
    assert after["user__category_shares"] == pytest.approx([8 / 9, 0.0, 0.0])
    assert shown["user__interactions_total"] == 9


async def test_an_online_store_that_is_gone_is_missed_and_said(home: Path) -> None:
    shutil.rmtree(home / "var/feast")
    shutil.rmtree(home / "feature_repo")
    async with running() as client:
        answer = await client.post("/v1/recommendations", json={"user_id": "u1", "k": 3})
        assert answer.status_code == 200 and answer.json()["features"] == "unavailable"
        assert "features" in answer.headers["x-augrec-degraded"]
        assert (await client.get("/v1/model")).json()["features"]["state"] == "unavailable"
