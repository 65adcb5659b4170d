"""What every recommender that can begin at a fitted one keeps; a new one is picked up by saying
that it `continues`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from test_recommenders import ITEMS, NAMES, build, cases, files, histories, interactions, table

from augrec.core.errors import InputError
from augrec.data.columns import TIME
from augrec.data.outcomes import with_outcomes
from augrec.data.training_data import TrainingData
from augrec.evaluation.metrics import evaluate
from augrec.recommenders.base import Recommender, find

CONTINUING = [name for name in NAMES if find(name).continues is True]
STANDING_STILL = {"learning_rate": 1e-12}
"""Training goes its way and gets nowhere."""
ASKED = histories(["i00", "i02"], ["i05"], ["i07", "i01", "i04"])


@pytest.fixture(scope="module", params=CONTINUING)
def champion(request: pytest.FixtureRequest) -> Recommender:
    return build(request.param).fit(TrainingData(interactions(), cases=cases(), items=ITEMS))


def scores(model: Recommender, items: list[str]) -> np.ndarray:
    """Of each item for each of `ASKED`; only differences between a user's scores say anything, so
    their mean is 0."""
    given, found = model.recommend(ASKED, len(model.items), exclude_seen=False)
    table = [
        [row[list(ids).index(item)] for item in items]
        for ids, row in zip(given, found, strict=True)
    ]
    return np.array(table) - np.mean(table, axis=1, keepdims=True)


def test_the_neural_ones_can() -> None:
    assert {"bpr", "multvae"} <= set(CONTINUING)


def test_training_begins_with_the_answers_of_the_model_it_begins_at(champion: Recommender) -> None:
    curve: list[dict[str, float]] = []
    again = build(champion.name(), **STANDING_STILL).fit(
        TrainingData(
            interactions(),
            cases=cases(),
            items=ITEMS,
            previous=champion,
            log=lambda row: curve.append(dict(row)),
        )
    )
    catalogue = champion.items.ids.tolist()
    np.testing.assert_allclose(
        scores(again, catalogue), scores(champion, catalogue), rtol=1e-4, atol=1e-6
    )
    assert curve[0]["step"] == 0
    assert curve[0]["ndcg@10"] == pytest.approx(curve[-1]["ndcg@10"])


def test_what_is_kept_validates_no_worse_than_what_it_began_with(champion: Recommender) -> None:
    for rate in (1e-3, 0.5):
        model = build(champion.name(), learning_rate=rate).fit(
            TrainingData(interactions(seed=5), cases=cases(), items=ITEMS, previous=champion)
        )
        began, kept = (evaluate(one, cases())["ndcg@10"].mean() for one in (champion, model))
        assert kept >= began - 1e-9


def test_new_items_are_added_and_items_without_users_are_removed(champion: Recommender) -> None:
    rows = interactions().filter(pl.col("item_id") != "i03")
    fresh = table(
        [f"fresh{user}" for user in range(20) for _ in range(2)], ["i00", "brand-new"] * 20
    )
    known = pl.concat([ITEMS, ITEMS.head(1).with_columns(item_id=pl.lit("brand-new"))])
    model = build(champion.name()).fit(
        TrainingData(pl.concat([rows, fresh]), cases=cases(), items=known, previous=champion)
    )
    items, found = model.recommend(ASKED, len(model.items))
    assert "brand-new" in items[0] and "i03" not in items
    assert np.isfinite(found[items != ""]).all()
    still = build(champion.name(), **STANDING_STILL).fit(
        TrainingData(pl.concat([rows, fresh]), items=known, previous=champion)
    )
    both = ["i00", "i04", "i08", "i11"]
    np.testing.assert_allclose(scores(still, both), scores(champion, both), rtol=1e-3, atol=1e-5)


def test_only_users_active_since_are_learnt_from(champion: Recommender, tmp_path: Path) -> None:
    rows = interactions()
    since = rows["timestamp"].sort()[int(len(rows) * 0.8)]
    active = rows.filter(pl.col("timestamp") >= since)["user_id"].unique()
    before = ~pl.col("user_id").is_in(active.to_list())
    renamed = rows.with_columns(
        user_id=pl.when(before)
        .then(pl.lit("z") + pl.col("user_id").str.reverse())
        .otherwise("user_id")
    )
    assert 0 < len(active) < rows["user_id"].n_unique()
    for name, data in {"as they were": rows, "renamed": renamed}.items():
        model = build(champion.name()).fit(
            TrainingData(data, cases=cases(), items=ITEMS, previous=champion, since=since)
        )
        model.save(tmp_path / name)
    build(champion.name()).fit(TrainingData(rows, items=ITEMS, previous=champion)).save(
        tmp_path / "all"
    )
    assert (
        files(tmp_path / "as they were") == files(tmp_path / "renamed") != files(tmp_path / "all")
    )


def test_only_what_was_done_since_is_learnt_and_what_was_done_before_is_read(
    champion: Recommender,
) -> None:
    tastes = [["i01", "i03", "i20"], ["i02", "i03", "i21"]]  # the last item of each is new
    lists = tastes * 30
    rows = table(
        [f"u{user:02}" for place in range(3) for user in range(60)],
        [items[place] for place in range(3) for items in lists],
    )
    since = rows["timestamp"][120]
    asked = histories(["i01"], ["i02"])

    def answers(older: float) -> dict[tuple[int, str], float]:
        model = build(champion.name(), steps=60).fit(
            TrainingData(rows, items=ITEMS, previous=champion, since=since, older=older)
        )
        given, found = model.recommend(asked, len(model.items), exclude_seen=False)
        return {(n, item): found[n, place] for n in range(2) for place, item in enumerate(given[n])}

    fresh, everything = answers(0.0), answers(1.0)

    def lead(of: dict[tuple[int, str], float]) -> float:
        """Of the new items over one that every user had before."""
        return sum(of[0, new] + of[1, new] - of[0, "i03"] - of[1, "i03"] for new in ("i20", "i21"))

    assert lead(fresh) > lead(everything)
    assert fresh[0, "i20"] - fresh[0, "i21"] > fresh[1, "i20"] - fresh[1, "i21"]


def test_users_who_bought_since_what_they_saw_before_are_active_too(tmp_path: Path) -> None:
    rows, champion = interactions(), build("bpr").fit(TrainingData(interactions()))
    since = rows["timestamp"].sort()[int(len(rows) * 0.8)]
    silent = rows.join(rows.filter(pl.col("timestamp") >= since), on="user_id", how="anti")
    for name, moment in (("before", rows["timestamp"][0]), ("since", since)):
        bought = silent.with_columns(event=pl.lit("purchase"), timestamp=pl.lit(moment, TIME))
        model = build("bpr").fit(
            TrainingData(with_outcomes(rows, bought), previous=champion, since=since)
        )
        model.save(tmp_path / name)
    build("bpr").fit(TrainingData(rows, previous=champion, since=since)).save(tmp_path / "never")
    assert files(tmp_path / "never") == files(tmp_path / "before") != files(tmp_path / "since")


def test_fine_tuning_twice_gives_the_same_bytes_and_leaves_the_champion_as_it_was(
    champion: Recommender, tmp_path: Path
) -> None:
    champion.save(tmp_path / "before")
    for attempt in ("first", "second"):
        build(champion.name()).fit(
            TrainingData(interactions(), items=ITEMS, previous=champion)
        ).save(tmp_path / attempt)
    champion.save(tmp_path / "after")
    assert files(tmp_path / "first") == files(tmp_path / "second")
    assert files(tmp_path / "before") == files(tmp_path / "after") != files(tmp_path / "first")


def test_only_the_options_named_as_architecture_decide_the_shapes(champion: Recommender) -> None:
    whole = [key for key, field in champion.Config.model_fields.items() if field.annotation is int]
    other: dict[str, Any] = {
        key: 2 * getattr(champion.config, key) for key in whole if key not in champion.architecture
    }
    model = build(champion.name(), **other).fit(
        TrainingData(interactions(), items=ITEMS, previous=champion)
    )
    assert {key: getattr(model.config, key) for key in other} == other


@pytest.mark.parametrize(("name", "size"), [("bpr", {"factors": 4}), ("multvae", {"hidden": 8})])
def test_a_model_of_another_size_is_refused(name: str, size: dict[str, int]) -> None:
    champion = build(name).fit(TrainingData(interactions()))
    with pytest.raises(InputError, match=r"cannot start from this model: its .* is"):
        build(name, **size).fit(TrainingData(interactions(), previous=champion))
