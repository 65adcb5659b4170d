"""A small shop with a model on disk, as the service finds it after a restart; the registry is out
of reach."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl
import yaml

from augrec.core.files import write_json, write_parquet
from augrec.core.settings import Settings
from augrec.data import stored_groups
from augrec.data.canonical import canonical_tables, write_raw
from augrec.data.columns import TIME
from augrec.data.training_data import TrainingData
from augrec.groups.strategies.attention import EVIDENCE
from augrec.recommenders import base
from augrec.recommenders.base import Recommender
from augrec.registry import bundle
from augrec.serving.app import create_app
from augrec.serving.security import ApiKeys

N_USERS, N_ITEMS = 40, 20
NOWHERE = "http://127.0.0.1:9"
PREPARE = {"positive": {"view": None, "click": None, "purchase": None, "rating": 4.0}}
EVENTS = ["view", "click", "cart", "purchase", "rating"]


def interactions(seed: int = 0) -> pl.DataFrame:
    """Users of two tastes: even items and odd ones."""
    draw = np.random.default_rng(seed)
    rows = [
        (f"u{user:02}", f"i{item:02}")
        for user in range(N_USERS)
        for item in sorted(draw.permutation(N_ITEMS // 2)[:5] * 2 + user % 2)
    ]
    times = pl.Series(np.arange(len(rows)) * 60_000_000, dtype=pl.Datetime("us")).cast(TIME)
    return pl.DataFrame(rows, schema=["user_id", "item_id"], orient="row").with_columns(
        event=pl.lit("click"), value=pl.lit(None, pl.Float32), timestamp=times
    )


def items() -> pl.DataFrame:
    """Item 20 is described, but has no interactions."""
    ids = [f"i{item:02}" for item in range(N_ITEMS + 1)]
    return pl.DataFrame(
        {
            "item_id": ids,
            "title": [f"Thing {item[1:]}" for item in ids],
            "categories": [
                ["even"] if int(item[1:]) % 2 == 0 else ["odd", "strange"] for item in ids[:-1]
            ]
            + [["new"]],
            "price": [float(item[1:]) for item in ids],
        }
    )


def make_project(
    folder: Path,
    *,
    serving: dict[str, Any] | None = None,
    model: str | None = "ease",
    groups: bool = False,
) -> Settings:
    """A project with data/raw, and a champion in the local copies unless `model` is None."""
    told = {"features": False, "poll_s": 60.0} | (serving or {})
    params = {"prepare": PREPARE, "validation": {"events": EVENTS}, "serving": told}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    users = pl.DataFrame(
        {"user_id": [f"u{n:02}" for n in range(N_USERS)], "age": list(range(N_USERS))}
    )
    write_raw(
        folder / "data/raw", *canonical_tables(interactions(), items(), users), {"source": "test"}
    )
    settings = Settings(
        folder, folder / "var", "127.0.0.1", 9, 9, NOWHERE, str(folder / "var/feast/online.db")
    )
    if model is not None:
        put_copy(settings, "champion", "1", model, groups=groups)
    return settings


def fitted(name: str = "ease", seed: int = 0) -> Recommender:
    """A recommender of the shop's interactions; EASE little held back, so that tastes show in so
    small a shop."""
    config = {"l2": 2.0, "popularity_blend": 0.01} if name == "ease" else {}
    return base.find(name)(config, seed=3).fit(TrainingData(interactions(seed), items=items()))


def write_groups(folder: Path) -> None:
    """A couple and five friends, who have chosen even items; three who have chosen nothing. Groups
    with choices are served by what `attention` learned: the most popular items."""
    members = {"couple": ["u00", "u01"], "friends": ["u02", "u03", "u04", "u05", "u06"]}
    members["new"] = ["u07", "u08", "u09"]
    pairs = [(group, user) for group, users in members.items() for user in users]
    chosen = [(group, item, 0) for group in ("couple", "friends") for item in ("i06", "i08")]
    weights = np.zeros(3 + len(EVIDENCE))
    weights[3 + EVIDENCE.index("popularity")] = 1.0
    rows = [
        {"kind": "persistent", "size": "all", "serves": "attention"},
        {"kind": "ad_hoc", "size": "all", "serves": "least_misery"},
        {"kind": "ad_hoc", "size": "2", "serves": "average"},
    ]
    stored_groups.write(
        folder,
        pl.DataFrame(pairs, schema=["group_id", "user_id"], orient="row"),
        pl.DataFrame(chosen, schema=["group_id", "item_id", "timestamp"], orient="row"),
        {"rows": rows, "weights": {"persistent": weights.tolist()}},
    )


def put_copy(
    settings: Settings,
    alias: str,
    version: str,
    model: str | Recommender,
    seed: int = 0,
    groups: bool = False,
) -> Path:
    """A checked copy of a version, as the service keeps it, remembered under an alias; with
    `groups`, of people who decide together."""
    recommender = fitted(model, seed) if isinstance(model, str) else model
    draft = settings.var / "serving/draft"
    recommender.save(draft / "artifacts/model")
    digest = bundle.digest(draft / "artifacts/model")
    write_parquet(
        draft / "artifacts/items.parquet", items().select("item_id", "title", "categories")
    )
    facts = {
        "digest": digest,
        "items_digest": hashlib.sha256(
            (draft / "artifacts/items.parquet").read_bytes()
        ).hexdigest(),
        "golden": bundle.golden_answers(recommender),
    }
    if groups:
        write_groups(draft / "artifacts/groups")
        facts["groups_digest"] = bundle.digest(draft / "artifacts/groups")
    write_json(draft / "artifacts/bundle.json", facts)
    target = settings.var / "serving/models" / f"{version}-{digest}"
    target.parent.mkdir(parents=True, exist_ok=True)
    draft.replace(target)
    path = settings.var / "serving/current.json"
    kept = json.loads(path.read_text()) if path.exists() else {}
    kept[alias] = {
        "version": version,
        "digest": digest,
        "policy": "none",
        "run_id": "r",
        "commit": "c",
    }
    write_json(path, kept)
    return target


@asynccontextmanager
async def running(
    settings: Settings, keys: ApiKeys | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    """The real application over ASGI; `client.app` is the application itself."""
    app = create_app(settings, keys)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://127.0.0.1"
        ) as client,
    ):
        while not app.state.parts.poller.ready:
            await asyncio.sleep(0.01)
        client.app = app  # type: ignore[attr-defined]
        yield client


async def recommended(client: httpx.AsyncClient, **asked: Any) -> list[str]:
    """The ids of the items recommended."""
    answer = await client.post("/v1/recommendations", json=asked)
    assert answer.status_code == 200, answer.text
    return [one["item_id"] for one in answer.json()["items"]]


async def tell(client: httpx.AsyncClient, *events: dict[str, Any]) -> dict[str, int]:
    """Tell of events; the receipt."""
    answer = await client.post("/v1/events", json={"events": list(events)})
    assert answer.status_code == 200, answer.text
    return answer.json()
