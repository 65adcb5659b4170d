"""What every recommender keeps that is trained once more, on all interactions: what validation
users decided stays, and nothing is measured on their cases, which it now learns from."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from test_recommenders import ITEMS, NAMES, build, cases, files, histories, interactions, table

from augrec.data.training_data import TrainingData
from augrec.recommenders._neural.base import NeuralRecommender
from augrec.recommenders.base import Recommender, find
from augrec.recommenders.router import Router

LATER = table([f"later{user}" for user in range(20) for _ in range(2)], ["i00", "brand-new"] * 20)
ALL_ITEMS = pl.concat([ITEMS, ITEMS.head(1).with_columns(item_id=pl.lit("brand-new"))])
ASKED = histories(["i00", "i02"], ["brand-new"], [])


@pytest.fixture(scope="module", params=NAMES)
def measured(request: pytest.FixtureRequest) -> Recommender:
    return build(request.param).fit(TrainingData(interactions(), cases=cases(), items=ITEMS))


def refit(measured: Recommender, targets: list[str]) -> Recommender:
    """Trained on later rows too, with validation cases that all want `targets`."""
    wanted = cases().with_columns(
        targets=pl.Series([targets] * len(cases()), dtype=pl.List(pl.String))
    )
    rows = pl.concat([interactions(), LATER])
    data = TrainingData(rows, cases=wanted, items=ALL_ITEMS, decided=measured)
    return build(measured.name()).fit(data)


def test_it_knows_what_came_later(measured: Recommender) -> None:
    model = refit(measured, ["i00"])
    items, _ = model.recommend(ASKED, len(model.items))
    assert "brand-new" in items[0]
    assert items[1][0] != ""


def test_cases_choose_nothing(measured: Recommender, tmp_path: Path) -> None:
    refit(measured, ["i00"]).save(tmp_path / "one")
    refit(measured, ["i11"]).save(tmp_path / "other")
    assert files(tmp_path / "one") == files(tmp_path / "other")


def test_what_was_decided_is_taken_over(measured: Recommender) -> None:
    model = refit(measured, ["i00"])
    if isinstance(model, NeuralRecommender) and isinstance(measured, NeuralRecommender):
        share = measured._best_step / int(measured.config.steps)
        assert model._best_step == max(1, round(share * int(model.config.steps)))
    if isinstance(model, Router):
        assert model.choices() == measured.choices()


@pytest.mark.parametrize("name", [name for name in NAMES if find(name).continues is True])
def test_it_may_begin_at_a_champion(name: str, tmp_path: Path) -> None:
    champion = build(name).fit(TrainingData(interactions(), items=ITEMS))
    rows = pl.concat([interactions(), LATER])
    since = LATER["timestamp"].min()
    for place, start in {"champion": champion, "nothing": None}.items():
        data = TrainingData(
            rows, cases=cases(), items=ALL_ITEMS, previous=start, since=since, decided=champion
        )
        model = build(name).fit(data)
        assert "brand-new" in model.items.ids
        model.save(tmp_path / place)
    assert files(tmp_path / "champion") != files(tmp_path / "nothing")
