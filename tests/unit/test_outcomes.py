"""What came of first meetings: none of it is lost to heads, and nothing of it that is judged is
learnt from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from test_data_clean import events as table
from test_protocols import VARIANTS, both, config

from augrec.augmentation.base import Policy, PolicyInputs
from augrec.data.clean import clean, first_events
from augrec.data.columns import INTERACTIONS, TIME
from augrec.data.columns import Columns as C
from augrec.data.outcomes import OUTCOMES, events_before, last_known, outcomes_of, with_outcomes
from augrec.data.split import Split, split
from augrec.stages import _inputs, evaluate, train, training_set

POSITIVE: dict[str, float | None] = {"view": None, "purchase": None, "rating": 4.0}
HOUR = 3_600_000_000


def shop() -> pl.DataFrame:
    """60 users view up to 30 items; a third of the views becomes a purchase, hours or months later,
    or in that very hour."""
    draw = np.random.default_rng(3)
    rows = []
    for user in range(60):
        hours = np.sort(draw.integers(0, 2000, 1 + int(draw.integers(0, 30))))
        items = np.clip(hours // 20 + draw.integers(-60, 15, len(hours)), 0, None)
        for item, hour in zip(items.tolist(), hours.tolist(), strict=True):
            rows.append((f"u{user:02}", f"i{item:03}", "view", None, hour * HOUR))
            if draw.random() < 0.33:
                later = hour + int(draw.choice([0, 1, 30, 300, 900]))
                rows.append((f"u{user:02}", f"i{item:03}", "purchase", 9.0, later * HOUR))
    return table(*rows)


@pytest.fixture(scope="module")
def interactions() -> pl.DataFrame:
    return clean(shop(), POSITIVE)


@pytest.fixture(scope="module")
def events(interactions: pl.DataFrame) -> pl.DataFrame:
    return first_events(shop(), POSITIVE, interactions)


@pytest.fixture(params=VARIANTS)
def parts(request: pytest.FixtureRequest, interactions: pl.DataFrame) -> Split:
    return split(interactions, config(request.param), 1)


def test_of_each_event_the_first_positive_one_is_kept_with_its_value():
    given = table(
        ("a", "1", "view", None, 1),
        ("a", "1", "view", None, 2),
        ("a", "1", "rating", 2.0, 3),  # no sign of interest
        ("a", "1", "rating", 5.0, 4),
        ("a", "1", "rating", 4.0, 5),
        ("a", "1", "return", 1.0, 6),
        ("a", "rare", "purchase", 7.0, 1),
        ("b", "1", "purchase", 7.0, 2),
    )
    kept = clean(given, POSITIVE, min_item_interactions=2)
    found = first_events(given, POSITIVE, kept)
    assert found.select("user_id", "item_id", "event", "value").rows() == [
        ("a", "1", "view", None),
        ("a", "1", "rating", 5.0),
        ("b", "1", "purchase", 7.0),
    ]
    assert dict(found.schema) == dict(INTERACTIONS)


def test_the_interactions_are_the_earliest_events_of_their_pairs(interactions, events):
    assert not events.select("user_id", "item_id", "event").is_duplicated().any()
    assert events.unique(["user_id", "item_id"], keep="first", maintain_order=True).equals(
        interactions
    )
    assert len(interactions) < len(events)


def test_rows_stay_as_they_are_and_tell_what_else_came_of_them(interactions, events):
    rows = with_outcomes(interactions, events)
    assert rows.drop(C.OUTCOMES).equals(interactions)
    assert rows.schema[C.OUTCOMES] == OUTCOMES
    told = outcomes_of(rows)
    found = pl.concat(
        [
            rows.select("user_id", "item_id", "event", "value", "timestamp"),
            rows[told["row"]].select("user_id", "item_id").hstack(told.drop("row")),
        ]
    )
    order = ["user_id", "timestamp", "item_id", "event"]
    assert found.sort(order).equals(events.select(found.columns).sort(order))
    assert 0 < rows[C.OUTCOMES].null_count() < len(rows)


def test_training_rows_tell_nothing_from_the_cut_on_and_everything_before_it(events, parts):
    """By a plain loop. The cut is that of all, or else where a user's own cases begin; the moment
    of the row itself is part of it either way."""
    begins = dict(both(parts).group_by("user_id").agg(pl.col("moment").min()).iter_rows())
    columns = ["user_id", "item_id", "event", "timestamp"]
    trained = {
        (user, item): (event, met)
        for user, item, event, met in parts.train.select(columns).iter_rows()
    }
    expected, hidden = set(), 0
    for user, item, event, when in events.select(columns).iter_rows():
        own, met = trained.get((user, item), (event, when))
        if event == own:
            continue
        if parts.valid_from is not None:
            early = when < parts.valid_from
        else:
            early = user not in begins or when < begins[user] or when == met
        hidden += not early
        expected |= {(user, item, event, when)} if early else set()
    rows = with_outcomes(parts.train, events_before(events, parts.valid_from, both(parts)))
    told = outcomes_of(rows)
    found = rows[told["row"]].select("user_id", "item_id").hstack(told).select(columns)
    assert set(found.iter_rows()) == expected
    assert len(expected) > 20
    # with held-out users and no cut in time, no event of a training row has to be hidden
    assert (hidden > 0) == (not parts.rules.users_held_out or parts.valid_from is not None)


@pytest.mark.parametrize(
    "variant", [name for name in VARIANTS if name not in ("k_fold", "held_out_users")]
)
def test_an_event_planted_right_at_the_cut_changes_nothing(interactions, events, variant):
    parts = split(interactions, config(variant), 1)
    begins = both(parts).group_by("user_id").agg(begin=pl.col("moment").min())
    cut = pl.lit(parts.valid_from, TIME).fill_null(pl.col("begin"))
    judged = parts.train.join(begins, on="user_id", how="left").filter(pl.col("timestamp") < cut)
    planted = judged.with_columns(event=pl.lit("planted"), timestamp=cut).select(events.columns)

    def seen(*given: pl.DataFrame) -> pl.DataFrame:
        return with_outcomes(
            parts.train, events_before(pl.concat([events, *given]), parts.valid_from, both(parts))
        )

    assert len(planted) > 100
    assert seen().equals(seen(planted))
    sooner = planted.with_columns(timestamp=pl.col("timestamp") - pl.duration(microseconds=1))
    assert outcomes_of(seen(sooner)).filter(event="planted").height == len(
        planted
    )  # it looks where it should


@pytest.mark.parametrize("protocol", ["time", "leave_last_out"])
def test_the_stages_keep_validation_from_test_and_training_from_both(
    interactions, events, protocol, tmp_path, monkeypatch
):
    parts = split(interactions, config(protocol), 1)
    monkeypatch.chdir(tmp_path)
    folder = Path("data/prepared")
    folder.mkdir(parents=True)
    events.write_parquet(folder / "events.parquet")
    for name in ("cases_valid", "cases_test"):
        getattr(parts, name).write_parquet(folder / f"{name}.parquet")
    cuts = {name: getattr(parts, name) for name in ("valid_from", "test_from")}
    told = {name: None if cut is None else cut.isoformat() for name, cut in cuts.items()}
    (folder / "split.json").write_text(json.dumps(told))
    trained = training_set._events_before_validation()
    valid, test = (evaluate._events(role, parts.cases_test) for role in ("valid", "test"))
    assert len(trained) < len(valid) < len(test) == len(events)
    targets = parts.cases_valid.select("user_id", pl.col("targets").alias("item_id")).explode(
        "item_id"
    )
    first = targets.join(interactions, on=["user_id", "item_id"]).select(
        "user_id", "item_id", "event"
    )
    assert first.join(
        valid, on=first.columns, how="anti"
    ).is_empty()  # every target has the event that made it one
    if protocol == "time":
        assert (
            trained["timestamp"].max() < parts.valid_from
            and valid["timestamp"].max() < parts.test_from
        )


def test_a_row_is_as_recent_as_its_last_outcome():
    rows = table(("a", "1", "view", None, 1), ("a", "2", "view", None, 5))
    later = table(("a", "1", "rating", 4.0, 9), ("a", "1", "purchase", 1.0, 3))
    told = with_outcomes(rows, pl.concat([rows, later]))
    assert last_known(told).to_physical().to_list() == [9, 5]
    assert last_known(rows).to_list() == rows["timestamp"].to_list()
    assert outcomes_of(rows).is_empty() and outcomes_of(rows).columns == outcomes_of(told).columns


def test_a_model_knows_until_its_last_real_outcome():
    rows = table(("a", "1", "view", None, 1), ("b", "1", "view", None, 2))
    told = with_outcomes(rows, pl.concat([rows, table(("a", "1", "purchase", None, 9))]))
    made_up = told.with_columns(origin=pl.lit("gan"), timestamp=pl.lit(99).cast(TIME))
    assert (
        train._trained_until(pl.concat([told, made_up]), None)
        == told["outcomes"][0][0]["timestamp"].isoformat()
    )
    assert train._trained_until(rows, None) == rows["timestamp"][1].isoformat()


def test_policies_leave_outcomes_to_real_rows(interactions, events, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("data/training_set").mkdir(parents=True)
    real = with_outcomes(interactions, events)
    real.write_parquet("data/training_set/interactions.parquet")
    operations = (
        "bootstrap",
        "crossover",
        "truncate",
        "split",
        "popularity_random",
        "noise",
        "expand",
        "reweigh",
    )
    policy = Policy("all", [{operation: {}} for operation in operations], seed=1)
    training = policy.apply(
        PolicyInputs(_inputs.read_training_interactions(), lambda name: interactions, 9.0)
    )
    rows = _inputs.with_features(training)
    assert rows.drop(C.OUTCOMES).equals(training)
    key = ["user_id", "item_id", C.OUTCOMES]
    assert rows.head(len(real)).select(key).equals(real.select(key))
    assert len(rows) > 2 * len(real) and rows.slice(len(real))[C.OUTCOMES].null_count() == len(
        rows
    ) - len(real)
