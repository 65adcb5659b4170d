"""The protocols: what each promises, against plain loops over users, and what features may know
under each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from augrec.core.component import available
from augrec.core.config import parse
from augrec.core.errors import ConfigError, RefusedError
from augrec.data.canonical import Tables, canonical_tables
from augrec.data.cases import CASES
from augrec.data.columns import TIME
from augrec.data.config import SplitConfig
from augrec.data.split import Split, split
from augrec.stages import features, prepare

VARIANTS = {
    "time": {},
    "leave_last_out": {},
    "random": {},
    "k_fold": {"folds": 4, "fold": 1},
    "held_out_users": {"fold_in": 0.6},
    "cold_items": {},
    "cold_items by a share": {"cold_share": 0.15},
}


def config(variant: str) -> SplitConfig:
    return SplitConfig(protocol=variant.partition(" ")[0], **VARIANTS[variant])


def table(rows: list[tuple[str, str, int]]) -> pl.DataFrame:
    """Interactions from (user, item, hour), with a value."""
    frame = pl.DataFrame(
        rows,
        schema=["user_id", "item_id", "hour"],
        orient="row",
        schema_overrides={"hour": pl.Int64},
    )
    moments = (pl.col("hour") * 3_600_000_000).cast(TIME).alias("timestamp")
    values = (1 + pl.col("hour") % 5).cast(pl.Float32).alias("value")
    return canonical_tables(
        frame.select("user_id", "item_id", pl.lit("view").alias("event"), moments, values)
    ).interactions


@pytest.fixture(scope="module")
def interactions() -> pl.DataFrame:
    """60 users of 1 to 30 items; items come into fashion one after the other; many things happen in
    the same hour."""
    draw = np.random.default_rng(3)
    rows = []
    for user in range(60):
        n = 1 + int(draw.integers(0, 30))
        hours = np.sort(draw.integers(0, 2000, n))
        items = np.clip(hours // 20 + draw.integers(-60, 15, n), 0, None)
        rows += [
            (f"u{user:02}", f"i{item:03}", int(hour))
            for item, hour in zip(items, hours, strict=True)
        ]
    return (
        table(rows)
        .unique(["user_id", "item_id"], keep="first", maintain_order=True)
        .sort("user_id", "timestamp", "item_id")
    )


@pytest.fixture(params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> str:
    return request.param


def both(parts: Split) -> pl.DataFrame:
    return pl.concat([parts.cases_valid, parts.cases_test])


def pairs(cases: pl.DataFrame, name: str) -> set[tuple[str, str]]:
    return {
        (user, item) for user, items in cases.select("user_id", name).iter_rows() for item in items
    }


def test_a_test_goes_over_every_protocol_there_is():
    assert {name.partition(" ")[0] for name in VARIANTS} == set(available("augrec.data.protocols"))


def test_only_the_evaluation_sees_a_target(interactions, variant):
    parts = split(interactions, config(variant), 1)
    train = set(parts.train.select("user_id", "item_id").iter_rows())
    for cases in (parts.cases_valid, parts.cases_test):
        assert dict(cases.schema) == dict(CASES)
        assert len(cases) > 0 and cases["moment"].null_count() == 0
        assert not pairs(cases, "targets") & train
        assert (cases["history"].list.set_intersection(cases["targets"]).list.len() == 0).all()
    hidden = pairs(parts.cases_test, "targets")
    earlier = pairs(parts.cases_valid, "history") | pairs(parts.cases_valid, "targets")
    assert not hidden & earlier
    assert train | pairs(both(parts), "targets") <= set(
        interactions.select("user_id", "item_id").iter_rows()
    )


def test_the_rules_hold_in_time(interactions, variant):
    parts = split(interactions, config(variant), 1)
    when = {
        (user, item): time
        for user, item, time in interactions.select("user_id", "item_id", "timestamp").iter_rows()
    }
    last_trained = dict(parts.train.group_by("user_id").agg(pl.col("timestamp").max()).iter_rows())
    if parts.rules.order == "global":
        assert parts.valid_from is not None and parts.train["timestamp"].max() < parts.valid_from
    else:
        assert parts.valid_from is None and parts.test_from is None
    if parts.rules.order != "none":
        for user, moment, history, targets in (
            both(parts).select("user_id", "moment", "history", "targets").iter_rows()
        ):
            assert all(when[user, item] <= moment for item in history)
            assert all(when[user, item] >= moment for item in targets)
            assert user not in last_trained or last_trained[user] <= moment


def test_users_of_cases_are_held_out_where_the_rules_say_so(interactions, variant):
    parts = split(interactions, config(variant), 1)
    trained = set(parts.train["user_id"])
    roles = dict(parts.held_out.iter_rows())
    if parts.rules.users_held_out:
        assert not trained & set(roles)
        for role, cases in (("valid", parts.cases_valid), ("test", parts.cases_test)):
            assert {roles[user] for user in cases["user_id"]} == {role}
    else:
        assert parts.held_out.is_empty()
        assert trained & set(parts.cases_test["user_id"])


def test_the_order_of_the_rows_changes_nothing(interactions, variant):
    shuffled = interactions.sample(fraction=1.0, shuffle=True, seed=2).sort(
        "user_id", "timestamp", "item_id"
    )
    first, second = (split(rows, config(variant), 1) for rows in (interactions, shuffled))
    for name in ("train", "cases_valid", "cases_test", "held_out"):
        assert getattr(first, name).equals(getattr(second, name)), name


def records(interactions: pl.DataFrame) -> dict[str, list[str]]:
    return dict(interactions.group_by("user_id", maintain_order=True).agg("item_id").iter_rows())


def instants(interactions: pl.DataFrame) -> dict[str, list[list[str]]]:
    """The items of each user's instants."""
    grouped = interactions.group_by("user_id", "timestamp", maintain_order=True).agg("item_id")
    return records(grouped)


def flat(parts: list[list[str]]) -> list[str]:
    return [item for part in parts for item in part]


def test_leave_last_out_is_what_a_loop_over_users_finds(interactions):
    parts = split(interactions, config("leave_last_out"), 1)
    long = {user: met for user, met in instants(interactions).items() if len(met) >= 3}
    kinds = ("user_id", "history", "targets")
    for cases, cut in ((parts.cases_test, -1), (parts.cases_valid, -2)):
        assert cases.select(kinds).rows() == [
            (user, flat(met[:cut]), met[cut]) for user, met in long.items()
        ]
    assert records(parts.train) == {
        u: flat(met[:-2]) if u in long else flat(met) for u, met in instants(interactions).items()
    }


def test_leave_last_out_of_two_targets_takes_users_of_two_such_baskets():
    baskets = {"both": (1, 2, 2), "one": (2, 2, 1), "short": (2, 2)}
    rows = [
        (user, f"{user}{hour}{k}", hour)
        for user, sizes in baskets.items()
        for hour, size in enumerate(sizes)
        for k in range(size)
    ]
    parts = split(table(rows), SplitConfig(protocol="leave_last_out", min_targets=2), 1)
    assert parts.cases_test["targets"].to_list() == [["both20", "both21"]]
    assert parts.cases_valid["targets"].to_list() == [["both10", "both11"]]
    assert set(parts.train["user_id"]) == set(baskets)


def test_random_hold_out_takes_its_share_of_each_user_from_all_over_the_record(interactions):
    parts = split(interactions, config("random"), 1)
    record, met = records(interactions), instants(interactions)
    places = []
    for cases in (parts.cases_valid, parts.cases_test):
        targets = dict(cases.select("user_id", "targets").iter_rows())
        assert set(targets) == {user for user, instants in met.items() if len(instants) >= 3}
        for user, items in targets.items():
            most = max(1, int(0.2 * len(record[user])))
            largest = max(map(len, met[user]))
            assert most - largest < len(items) <= max(most, largest)
            places += [record[user].index(item) / len(record[user]) for item in items]
    assert 0.4 < np.mean(places) < 0.6
    valid, test = parts.cases_valid, parts.cases_test
    assert (
        test["history"].list.len().sum()
        == valid["history"].list.len().sum() + valid["targets"].list.len().sum()
    )
    assert not split(interactions, config("random"), 2).cases_test.equals(test)


def test_each_user_is_tested_in_one_fold_and_validated_in_one(interactions):
    folds = [
        split(interactions, SplitConfig(protocol="k_fold", folds=4, fold=fold), 1).held_out
        for fold in range(4)
    ]
    all_users = sorted(interactions["user_id"].unique())
    for role in ("valid", "test"):
        held = [user for table in folds for user in table.filter(pl.col("role") == role)["user_id"]]
        assert sorted(held) == all_users


def test_a_fold_that_does_not_exist_is_refused():
    with pytest.raises(ConfigError, match="fold must be below folds"):
        parse(SplitConfig, {"protocol": "k_fold", "folds": 4, "fold": 4}, "prepare.split")


def test_held_out_users_give_their_oldest_items_and_are_judged_by_the_rest(interactions):
    parts = split(interactions, config("held_out_users"), 1)
    record = records(interactions)
    met = instants(interactions)
    for user, history, targets in both(parts).select("user_id", "history", "targets").iter_rows():
        kept = min(max(1, int(0.6 * len(record[user]))), len(record[user]) - 1)
        ends = np.cumsum([len(items) for items in met[user]])
        kept = max((end for end in ends if end <= kept), default=ends[0])
        assert (history, targets) == (record[user][:kept], record[user][kept:])
    held = set(parts.held_out["user_id"])
    judged = set(both(parts)["user_id"])
    assert held - judged == {user for user in held if len(met[user]) < 2}


@pytest.mark.parametrize("variant", ["cold_items", "cold_items by a share"])
def test_targets_are_items_that_training_lacks(interactions, variant):
    parts = split(interactions, config(variant), 1)
    trained = set(parts.train["item_id"])
    targets = {
        role: {item for _, item in pairs(cases, "targets")}
        for role, cases in (("valid", parts.cases_valid), ("test", parts.cases_test))
    }
    assert not trained & (targets["valid"] | targets["test"])
    assert not targets["valid"] & targets["test"]
    assert parts.counts["test"]["unknown_target_share"] == 1.0


def test_items_first_used_in_the_test_period_are_its_cold_items(interactions):
    parts = split(interactions, config("cold_items"), 1)
    first = interactions.group_by("item_id").agg(pl.col("timestamp").min())
    late = set(first.filter(pl.col("timestamp") >= parts.test_from)["item_id"])
    assert {item for _, item in pairs(parts.cases_test, "targets")} == late


def test_an_unknown_protocol_is_refused_with_those_there_are(interactions):
    with pytest.raises(ConfigError, match="leave_last_out"):
        split(interactions, SplitConfig(protocol="leave_one_in"), 1)


@pytest.mark.parametrize("variant", [name for name in VARIANTS if name != "time"])
def test_too_little_data_is_refused_with_advice(variant):
    with pytest.raises(RefusedError) as caught:
        split(table([("u1", "a", 1), ("u2", "b", 2)]), config(variant), 1)
    assert caught.value.fix


def write(folder: Path, interactions: pl.DataFrame, parts: Split) -> None:
    items = pl.DataFrame({"item_id": interactions["item_id"].unique().sort()}).with_columns(
        categories=pl.concat_list(pl.col("item_id").str.head(2)),
        price=pl.lit(1.0),
        title=pl.lit(None, pl.String),
        description=pl.lit(None, pl.String),
        tags=pl.lit(None, pl.List(pl.String)),
    )
    users = pl.DataFrame({"user_id": interactions["user_id"].unique().sort()})
    tables = Tables(interactions, items, users)
    prepare.write_prepared(folder / "data/prepared", tables, interactions, interactions, parts)
    settings = {"every_days": 1, "windows_days": [2, 5, 20], "max_categories": 3}
    (folder / "params.yaml").write_text(yaml.safe_dump({"features": settings}))


def known_at(folder: Path, kind: str, rows: pl.DataFrame) -> pl.DataFrame:
    """The features of each row's user or item as they were at the row's time."""
    made = pl.read_parquet(folder / f"data/features/{kind}_features.parquet")
    key = f"{kind}_id"
    return (
        rows.select(key, "timestamp")
        .sort("timestamp")
        .join_asof(
            made.sort("event_timestamp"),
            left_on="timestamp",
            right_on="event_timestamp",
            by=key,
            check_sortedness=False,
        )
        .sort(key, "timestamp")
    )


def test_features_of_training_rows_and_cases_do_not_know_the_last_targets(
    interactions, variant, tmp_path, monkeypatch
):
    """Every user's test targets (of their latest case) get another item and value: no feature that
    is read may change."""
    parts = split(interactions, config(variant), 1)
    latest = parts.cases_test.group_by("user_id", maintain_order=True).last()
    hidden = latest.select("user_id", pl.col("targets").alias("item_id")).explode("item_id")
    marked = interactions.join(
        hidden.with_columns(hidden=True),
        on=["user_id", "item_id"],
        how="left",
        maintain_order="left",
    )
    swapped = pl.when(pl.col("hidden"))
    changed = marked.with_columns(
        swapped.then(pl.lit("i000-planted")).otherwise("item_id").alias("item_id"),
        swapped.then(pl.lit(99.0, pl.Float32)).otherwise("value").alias("value"),
    ).drop("hidden")
    moments = latest.select("user_id", pl.col("moment").alias("timestamp"))
    found = []
    for name, rows in (("as it is", interactions), ("planted", changed)):
        folder = tmp_path / name
        folder.mkdir()
        write(folder, rows, parts)
        monkeypatch.chdir(folder)
        features.main()
        found.append(
            [
                known_at(folder, "user", parts.train),
                known_at(folder, "item", parts.train),
                known_at(folder, "user", moments),
            ]
        )
    assert len(hidden) > 0
    for before, after in zip(*found, strict=True):
        assert before.equals(after)
    assert found[0][0]["interactions_total"].drop_nulls().max() > 0
