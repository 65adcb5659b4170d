"""The service and a real registry: swaps under load, refusals, outages, kills."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import polars as pl
import pytest
import yaml
from registry_workspace import decision_of, interactions, make_workspace

from augrec.cli import models as command_line
from augrec.core import settings as settings_
from augrec.core.files import read_json, write_json
from augrec.core.settings import QUICK_LIMITS
from augrec.data.canonical import canonical_tables, write_raw
from augrec.registry import bundle, mlflow_versions, models, promotion, tracking
from augrec.registry.connection import MODEL, client, experiment
from augrec.serving import local_rollback
from augrec.serving.app import create_app

pytestmark = pytest.mark.anyio
COMMIT = "c0ffee" * 6 + "c0ff"
HISTORY = ["i000", "i002", "i003"]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose registry holds versions 1 to 3 of different recommenders; the first is
    champion."""
    home = tmp_path_factory.mktemp("shop")
    # a busy machine must not make an answer late, for then it would be popular items
    serving = {
        "poll_s": 0.1,
        "retry_refused_s": 0.5,
        "features": False,
        "max_in_flight": 1000,
        "timeout_s": 60.0,
    }
    told = {
        "prepare": {"positive": {"view": None}},
        "validation": {"events": ["view"]},
        "serving": serving,
    }
    (home / "params.yaml").write_text(yaml.safe_dump(told))
    (home / "dvc.yaml").write_text("stages: {}\n")
    write_raw(home / "data/raw", *canonical_tables(interactions()), {"source": "test"})
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AUGREC_HOME", str(home))
        experiment()
        for number, winner in enumerate(["popularity", "ease", "item_knn"], start=1):
            workspace = make_workspace(home / f"run{number}", winner=(winner, "none"), seed=number)
            tracking.log_run(workspace, f"run{number}", commit=COMMIT)
            models.register(
                workspace, f"run{number}", COMMIT, decision_of(workspace), feature_service="v1"
            )
        promotion.promote("1", reason="first", by="test", expected_champion=None)
    return home


@pytest.fixture
def home(registered: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That project as it was: version 1 is champion, the service has not been started, no bundle is
    damaged."""
    monkeypatch.setenv("AUGREC_HOME", str(registered))
    shutil.rmtree(registered / "var/serving", ignore_errors=True)
    set_alias("champion", "1")
    if "challenger" in mlflow_versions.aliases():
        client().delete_registered_model_alias(MODEL, "challenger")
    return registered


def set_alias(alias: str, version: str) -> None:
    client().set_registered_model_alias(MODEL, alias, version)


def expected(version: str) -> list[str]:
    """What a version recommends for `HISTORY`, asked directly."""
    items, _ = bundle.load(version).recommend(pl.Series([HISTORY], dtype=pl.List(pl.String)), 8)
    return items[0].tolist()


@asynccontextmanager
async def running() -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(settings_.load())
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as asking,
    ):
        while not app.state.parts.poller.ready:
            await asyncio.sleep(0.01)
        yield asking


async def version_serving(asking: httpx.AsyncClient, version: str, timeout_s: float = 60) -> dict:
    """Wait until a version is champion; the report then."""
    end = time.monotonic() + timeout_s
    while True:
        told = (await asking.get("/v1/model")).json()
        if told["champion"] and told["champion"]["version"] == version:
            return told
        assert time.monotonic() < end, told
        await asyncio.sleep(0.05)


async def refused(asking: httpx.AsyncClient, version: str, timeout_s: float = 60) -> str:
    end = time.monotonic() + timeout_s
    while True:
        told = (await asking.get("/v1/model")).json()
        found = [one["why"] for one in told["refused"] if one["version"] == version]
        if found:
            return found[0]
        assert time.monotonic() < end, told
        await asyncio.sleep(0.05)


async def test_a_swap_under_load_loses_no_request_and_mixes_no_versions(home: Path) -> None:
    lists = {version: expected(version) for version in ("1", "2", "3")}
    assert len({tuple(one) for one in lists.values()}) == 3
    seen: list[tuple[int, str, str, list[str]]] = []
    ending = False

    async def shopper(asking: httpx.AsyncClient) -> None:
        while not ending:
            answer = await asking.post("/v1/recommendations", json={"history": HISTORY, "k": 8})
            told = answer.json()
            items = [one["item_id"] for one in told["items"]]
            seen.append(
                (
                    answer.status_code,
                    answer.headers["x-augrec-model"],
                    told["model"]["version"],
                    items,
                )
            )

    async with running() as asking:
        await version_serving(asking, "1")
        shoppers = [asyncio.create_task(shopper(asking)) for _ in range(8)]
        for version in ("2", "3", "1", "2"):
            await asyncio.sleep(0.2)
            set_alias("champion", version)
            await version_serving(asking, version)
        await asyncio.sleep(0.2)
        ending = True
        await asyncio.gather(*shoppers)
    assert {status for status, *_ in seen} == {200}
    assert all(header == named and items == lists[named] for _, header, named, items in seen)
    changes = [
        named
        for place, (_, _, named, _) in enumerate(seen)
        if place == 0 or seen[place - 1][2] != named
    ]
    assert Counter(changes).keys() == {"1", "2", "3"} and len(seen) > 50


async def test_a_damaged_bundle_is_kept_out_and_comes_in_when_mended(home: Path) -> None:
    arrays = Path(str(mlflow_versions.by_number("2").source)) / "artifacts/model/arrays.safetensors"
    whole = arrays.read_bytes()
    async with running() as asking:
        await version_serving(asking, "1")
        arrays.write_bytes(whole[:-2] + b"\x07\x07")
        try:
            set_alias("champion", "2")
            assert "changed after it was registered" in await refused(asking, "2")
            answer = await asking.post("/v1/recommendations", json={"history": HISTORY, "k": 8})
            assert answer.headers["x-augrec-model"] == "1"
            assert (
                'augrec_model_refused_total{alias="champion"}'
                in (await asking.get("/metrics")).text
            )
        finally:
            arrays.write_bytes(whole)
        told = await version_serving(asking, "2")
        assert told["refused"] == []


async def test_a_bundle_that_answers_otherwise_than_recorded_is_kept_out(home: Path) -> None:
    path = Path(str(mlflow_versions.by_number("3").source)) / "artifacts/bundle.json"
    facts = read_json(path)
    async with running() as asking:
        await version_serving(asking, "1")
        wrong = [
            {**one, "scores": [score + 1 for score in one["scores"]]} for one in facts["golden"]
        ]
        write_json(path, facts | {"golden": wrong})
        try:
            set_alias("champion", "3")
            assert "differ from the recorded ones" in await refused(asking, "3")
            assert (await asking.get("/v1/model")).json()["champion"]["version"] == "1"
        finally:
            write_json(path, facts)


async def test_it_goes_on_and_starts_again_without_the_registry(home: Path) -> None:
    database, away = home / "var/mlflow", home / "var/mlflow-away"
    async with running() as asking:
        await version_serving(asking, "1")
        await asking.post(
            "/v1/events", json={"events": [{"event_id": "1", "user_id": "ann", "item_id": "i001"}]}
        )
    database.rename(away)
    try:
        async with running() as asking:
            told = await version_serving(asking, "1")
            assert told["champion"]["origin"] == "local copy"
            answer = await asking.post("/v1/recommendations", json={"history": HISTORY, "k": 8})
            assert [one["item_id"] for one in answer.json()["items"]] == expected_offline(home)
            assert (await asking.get("/v1/users/ann")).json()["known"]
    finally:
        shutil.rmtree(database, ignore_errors=True)
        away.rename(database)


async def test_a_rollback_without_the_registry_reaches_the_service_at_once_and_the_registry_later(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in QUICK_LIMITS.items():
        monkeypatch.setenv(name, value)
    async with running() as asking:
        await version_serving(asking, "1")
        promotion.promote("2", reason="better", by="test", expected_champion="1")
        await version_serving(asking, "2")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # nothing listens there
        await asyncio.to_thread(command_line.rollback, reason="wrong prices")
        told = await version_serving(asking, "1")
        assert told["champion"]["origin"] == "local copy"
        monkeypatch.delenv("MLFLOW_TRACKING_URI")
        while local_rollback.asked_for(home / "var/serving") is not None:
            await asyncio.sleep(0.05)
        await version_serving(asking, "1")
    last = promotion.log()[-1]
    assert (last.kind, last.version, last.reason) == ("rollback", "1", "wrong prices")
    assert mlflow_versions.aliases()["champion"] == "1"


def expected_offline(home: Path) -> list[str]:
    [copy] = (home / "var/serving/models").glob("1-*")
    items, _ = bundle.open_copy(copy)[0].recommend(
        pl.Series([HISTORY], dtype=pl.List(pl.String)), 8
    )
    return items[0].tolist()


async def test_a_challenger_answers_its_share_of_the_users_always_the_same(home: Path) -> None:
    params = yaml.safe_load((home / "params.yaml").read_text())
    split = params | {
        "serving": params["serving"] | {"rollout": {"mode": "split", "challenger_percent": 40.0}}
    }
    set_alias("challenger", "2")
    (home / "params.yaml").write_text(yaml.safe_dump(split))
    try:
        async with running() as asking:
            await version_serving(asking, "1")
            while (await asking.get("/v1/model")).json()["challenger"] is None:
                await asyncio.sleep(0.05)
            rounds = []
            for _ in range(2):
                answers = [
                    await asking.post("/v1/recommendations", json={"user_id": f"n{n}"})
                    for n in range(200)
                ]
                rounds.append([answer.json()["model"]["role"] for answer in answers])
            assert rounds[0] == rounds[1]
            assert (
                55 <= rounds[0].count("challenger") <= 105
            )  # 80 expected, 3.6 standard deviations either way
    finally:
        (home / "params.yaml").write_text(yaml.safe_dump(params))


def test_what_was_acknowledged_survives_kill_9(home: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "AUGREC_HOME": str(home), "AUGREC_SERVING_PORT": str(port)}
    command = [sys.executable, "-c", "from augrec.cli import app; app()", "serve"]
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    acknowledged = 0
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as asking:
            end = time.monotonic() + 120
            while True:
                try:
                    if asking.get("/health/ready").status_code == 200:
                        break
                except httpx.TransportError:
                    assert process.poll() is None, process.stderr and process.stderr.read().decode()
                assert time.monotonic() < end
                time.sleep(0.1)
            for number in range(20):
                event = {"event_id": f"{number}", "user_id": "kim", "item_id": f"i{number:03}"}
                acknowledged += asking.post("/v1/events", json={"events": [event]}).json()[
                    "accepted"
                ]
    finally:
        process.kill()
        process.communicate()

    async def after() -> dict:
        async with running() as asking:
            return (await asking.get("/v1/users/kim")).json()

    told = asyncio.run(after())
    assert acknowledged == told["history_length"] == 20
    assert [one["item_id"] for one in told["history"]][::-1] == [
        f"i{number:03}" for number in range(20)
    ]
