"""The approximate index: it answers as scoring all would, but for what it says that it misses."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from serving_project import make_project, put_copy, recommended, running

from augrec.data.columns import TIME
from augrec.data.histories import Histories
from augrec.data.training_data import TrainingData
from augrec.recommenders.base import Recommender, find
from augrec.serving.config import IndexConfig
from augrec.serving.index import Index, build
from augrec.serving.model import Model
from augrec.serving.ranking import Query, rank

N_USERS, N_ITEMS = 1_500, 4_000


@pytest.fixture(scope="module")
def shop() -> pl.DataFrame:
    """Users of forty tastes, each with a hundred items of its own, who also look at anything now
    and then."""
    draw = np.random.default_rng(0)
    users = np.repeat(np.arange(N_USERS), 24)
    items = users % 40 * 100 + draw.integers(0, 100, len(users))
    items = np.where(draw.random(len(users)) < 0.1, draw.integers(0, N_ITEMS, len(users)), items)
    rows = pl.DataFrame({"user_id": users, "item_id": items}).unique(maintain_order=True)
    times = pl.Series(np.arange(len(rows)) * 1_000_000, dtype=pl.Datetime("us")).cast(TIME)
    return rows.select(
        pl.format("u{}", "user_id").alias("user_id"),
        pl.format("i{}", "item_id").alias("item_id"),
        event=pl.lit("view"),
        value=pl.lit(None, pl.Float32),
        timestamp=times,
        origin=pl.lit("real"),
        weight=pl.lit(1.0, pl.Float32),
    )


@pytest.fixture(scope="module")
def fitted(shop: pl.DataFrame) -> Recommender:
    return find("ials")({"factors": 16, "epochs": 3}).fit(TrainingData(shop))


@pytest.fixture(scope="module")
def histories(shop: pl.DataFrame) -> pl.Series:
    return shop.group_by("user_id", maintain_order=True).agg("item_id")["item_id"].head(200)


@pytest.fixture(scope="module")
def index(fitted: Recommender, histories: pl.Series) -> Index:
    made = build(
        fitted,
        Histories.from_lists(histories, fitted.items),
        IndexConfig(kind="approximate", min_items=1_000, min_recall=0.9),
    )
    assert made is not None
    return made


def _lists(index: Index | None, model: Model, queries: list[Query]) -> list[list[int]]:
    found = rank(model.recommender, model.places, queries, {}, 2**22, index)
    return [positions.tolist() for positions, _ in found]


def test_it_finds_as_much_of_the_exact_lists_as_it_says(index: Index, histories: pl.Series) -> None:
    model = Model.of(index.recommender)
    queries = [Query(history, 10, exclude_seen=False) for history in histories.to_list()]
    tenth = np.array(
        [scores[-1] for _, scores in rank(model.recommender, model.places, queries, {}, 2**22)]
    )
    found, scores = index.nearest(Histories.from_lists(histories, index.recommender.items), 10)
    recall = (scores >= tenth[:, None] - 1e-5).mean()  # by score, for some items score the same
    assert index.report["recall@10"] == pytest.approx(recall, abs=0.01) and recall >= 0.9
    assert (
        index.report["probes"] < index.report["cells"] / 2 and np.isfinite(scores[found >= 0]).all()
    )


def test_what_must_not_be_shown_is_not(index: Index, histories: pl.Series) -> None:
    model = Model.of(index.recommender)
    for history in histories.to_list()[:20]:
        [plain] = _lists(index, model, [Query(history, 10)])
        seen = {model.places[item] for item in history}
        assert len(plain) == 10 and not seen & set(plain)
        [other] = _lists(index, model, [Query(history, 10, exclude=np.array(plain, np.int32))])
        assert len(other) == 10 and not (seen | set(plain)) & set(other)


def test_a_filter_and_a_newcomer_are_answered_exactly(index: Index) -> None:
    model = Model.of(index.recommender)
    queries = [Query([], 5), Query(["i7"], 5, among=np.arange(50)), Query(["nothing known"], 5)]
    assert _lists(index, model, queries) == _lists(None, model, queries)


def test_there_is_none_where_it_would_not_help(fitted: Recommender, shop: pl.DataFrame) -> None:
    some = Histories.from_lists(pl.Series([["i1"]]), fitted.items)
    assert build(fitted, some, IndexConfig()) is None
    assert (
        build(fitted, some, IndexConfig(kind="approximate")) is None
    )  # 50,000 items are not there
    plain = find("popularity")().fit(TrainingData(shop))
    small = IndexConfig(kind="approximate", min_items=1_000)
    assert build(plain, Histories.from_lists(pl.Series([["i1"]]), plain.items), small) is None


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.anyio
async def test_the_service_tells_how_it_searches(
    tmp_path: Path, shop: pl.DataFrame, fitted: Recommender
) -> None:
    settings = make_project(
        tmp_path,
        serving={"index": {"kind": "approximate", "min_items": 1_000, "min_recall": 0.8}},
        model=None,
    )
    shop.drop("origin", "weight").write_parquet(settings.home / "data/raw/interactions.parquet")
    put_copy(settings, "champion", "1", fitted)
    async with running(settings) as client:
        told = (await client.get("/v1/model")).json()["champion"]["index"]
        assert told["kind"] == "approximate" and told["recall@10"] >= 0.8
        answers = await asyncio.gather(
            *(recommended(client, history=[f"i{n}"], k=5) for n in range(40))
        )
        assert all(len(set(answer)) == 5 for answer in answers)
