"""Times with ties: what a user did at one moment is all history or all target, under every
protocol."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from augrec.core.errors import RefusedError
from augrec.data.canonical import canonical_tables
from augrec.data.cases import build_cases
from augrec.data.clean import clean
from augrec.data.columns import TIME
from augrec.data.config import SplitConfig
from augrec.data.instants import Instants, resolution, tie_breaker, time_facts
from augrec.data.split import Split, split
from augrec.serving.user_store import open_user_store

VARIANTS = {
    "time": {},
    "leave_last_out": {},
    "random": {},
    "k_fold": {"folds": 4, "fold": 1},
    "held_out_users": {},
    "cold_items": {},
    "cold_items by a share": {"cold_share": 0.15},
}
BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture(params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> str:
    return request.param


def config(variant: str) -> SplitConfig:
    return SplitConfig(protocol=variant.partition(" ")[0], **VARIANTS[variant])


def table(rows: list[tuple[str, str, datetime]]) -> pl.DataFrame:
    frame = pl.DataFrame(
        rows, schema={"user_id": pl.String, "item_id": pl.String, "timestamp": TIME}, orient="row"
    )
    cleaned = canonical_tables(frame.with_columns(event=pl.lit("view"))).interactions
    return clean(cleaned, {"view": None})


def tied(seed: int) -> list[tuple[str, str, datetime]]:
    """Users of one to nine baskets of one to eight items, on few days; items come into fashion."""
    draw = np.random.default_rng(seed)
    rows = []
    for user in range(70):
        days = np.sort(draw.choice(40, draw.integers(1, 10), replace=False))
        sizes = draw.integers(1, 9, len(days))
        items = 2 * np.repeat(days, sizes) + draw.integers(0, 40, sizes.sum())
        rows += [
            (f"u{user:02}", f"i{item:03}", BEGIN + int(day) * DAY)
            for item, day in zip(items, np.repeat(days, sizes), strict=True)
        ]
    return rows


def one_basket_each(moment) -> list[tuple[str, str, datetime]]:
    """120 users of eight items, all of a user at moment(user)."""
    return [
        (f"u{user:03}", f"i{(user * 7 + k * 11) % 90}", BEGIN + moment(user))
        for user in range(120)
        for k in range(8)
    ]


def assert_no_instant_is_cut(interactions: pl.DataFrame, parts: Split) -> None:
    times = interactions.select("user_id", "item_id", "timestamp")
    for cases in (parts.cases_valid, parts.cases_test):
        sides = [
            cases.with_row_index("case")
            .select("case", "user_id", pl.col(name).alias("item_id"))
            .explode("item_id")
            .join(times, on=["user_id", "item_id"])
            .select("case", "timestamp")
            for name in ("history", "targets")
        ]
        assert sides[1].join(sides[0], on=["case", "timestamp"], how="semi").is_empty()
    if parts.rules.order == "user" and not parts.rules.users_held_out:
        hidden = pl.concat([parts.cases_valid, parts.cases_test]).select(
            "user_id", pl.col("targets").alias("item_id")
        )
        met = hidden.explode("item_id").join(times, on=["user_id", "item_id"])
        assert met.join(parts.train, on=["user_id", "timestamp"], how="semi").is_empty()


@pytest.mark.parametrize("seed", range(5))
def test_no_protocol_cuts_an_instant(variant, seed):
    interactions = table(tied(seed))
    assert_no_instant_is_cut(interactions, split(interactions, config(variant), seed))


def test_the_order_of_the_source_changes_nothing(variant):
    rows = tied(1)
    shuffled = [rows[k] for k in np.random.default_rng(2).permutation(len(rows))]
    first, second = (split(table(part), config(variant), 1) for part in (rows, shuffled))
    for name in ("train", "cases_valid", "cases_test", "held_out"):
        assert getattr(first, name).equals(getattr(second, name)), name


@pytest.mark.parametrize("variant", [name for name in VARIANTS if "share" not in name])
def test_other_names_of_the_items_change_nothing_but_the_names(variant):
    """A share of the items is drawn by their names."""
    rows = tied(1)
    names = [f"i{k:03}" for k in range(120)]
    other = dict(zip(names, np.random.default_rng(4).permutation(names).tolist(), strict=True))
    first, second = (
        split(table(part), config(variant), 1)
        for part in (rows, [(user, other[item], time) for user, item, time in rows])
    )

    def sets(cases: pl.DataFrame, to: dict[str, str]) -> list[tuple]:
        return [
            (user, moment, {to[i] for i in history}, {to[i] for i in targets})
            for user, moment, history, targets in cases.select(
                "user_id", "moment", "history", "targets"
            ).iter_rows()
        ]

    same = dict.fromkeys(names) | {name: name for name in names}
    for name in ("cases_valid", "cases_test"):
        assert sets(getattr(first, name), other) == sets(getattr(second, name), same)


def test_users_of_one_date_each_are_evaluated_where_time_is_cut():
    interactions = table(one_basket_each(lambda user: user % 60 * DAY))
    parts = split(interactions, SplitConfig(), 1)
    assert_no_instant_is_cut(interactions, parts)
    for cases in (parts.cases_valid, parts.cases_test):
        assert set(cases["slice"]) == {"0"}
        assert set(cases["targets"].list.len()) == {8}
    assert parts.counts["times"] == {"resolution": "days", "tied_rows": 960, "tied_share": 1.0}


def test_one_basket_each_at_an_exact_time_is_evaluated_where_time_is_cut():
    interactions = table(one_basket_each(lambda user: timedelta(seconds=4321 * user)))
    parts = split(interactions, SplitConfig(), 1)
    assert_no_instant_is_cut(interactions, parts)
    assert len(parts.cases_valid) > 10 and len(parts.cases_test) > 10
    assert parts.counts["times"]["resolution"] == "seconds"


@pytest.mark.parametrize("variant", ["leave_last_out", "random", "k_fold", "held_out_users"])
def test_one_basket_each_is_refused_where_a_user_needs_several_with_the_way_out(variant):
    interactions = table(one_basket_each(lambda user: user % 60 * DAY))
    with pytest.raises(RefusedError, match="120 of 120 users have all theirs at one") as refused:
        split(interactions, config(variant), 1)
    assert "protocol time" in refused.value.fix


def test_a_table_at_one_instant_is_refused_under_every_protocol(variant):
    interactions = table(one_basket_each(lambda _: DAY))
    with pytest.raises(RefusedError, match="all 960 interactions share the timestamp") as refused:
        split(interactions, config(variant), 1)
    assert "data.import.interactions.timestamp" in refused.value.fix


@pytest.mark.parametrize("variant", ["time", "cold_items"])
def test_two_moments_are_too_few_for_three_periods(variant):
    interactions = table(one_basket_each(lambda user: user % 2 * DAY))
    with pytest.raises(RefusedError, match="lie at 2 distinct moments"):
        split(interactions, config(variant), 1)


@pytest.mark.parametrize("busy", [0, 1, 2])
def test_cuts_move_past_a_moment_that_holds_most_rows(busy):
    days = [busy] * 100 + [0, 1, 2] * 4
    interactions = table([(f"u{k}", f"i{k % 9}", BEGIN + day * DAY) for k, day in enumerate(days)])
    parts = split(interactions, SplitConfig(), 1)
    assert (parts.valid_from, parts.test_from) == (BEGIN + DAY, BEGIN + 2 * DAY)


def test_leave_last_out_leaves_the_whole_last_basket():
    rows = [
        (f"u{user}", f"{user}-{k}", BEGIN + min(k, 5) * DAY) for user in range(9) for k in range(8)
    ]
    parts = split(table(rows), SplitConfig(protocol="leave_last_out"), 1)
    assert set(parts.cases_test["targets"].list.len()) == {3}
    assert set(parts.cases_valid["targets"].list.len()) == {1}
    assert parts.train["timestamp"].max() == BEGIN + 3 * DAY


@pytest.mark.parametrize(
    ("sizes", "begin", "length"),
    [
        ([2, 1, 3, 1], 0, 3),  # before the basket that five would cut
        ([2, 1, 3, 1], 2, 6),  # which is the first of the period: after it
        ([2, 3, 1], 0, 5),  # five cut nothing
        ([7, 1], 0, 7),
    ],
)
def test_a_case_after_five_interactions_cuts_no_basket(sizes, begin, length):
    days = np.repeat(np.arange(len(sizes)), sizes).tolist()
    rows = table([("u", f"i{k}", BEGIN + day * DAY) for k, day in enumerate(days)])
    cases = build_cases(rows, BEGIN + begin * DAY, None, [5], 1, 500)
    last = cases.row(-1, named=True)
    assert len(last["history"]) == length
    assert last["moment"] == rows["timestamp"][length - 1]
    assert len(last["targets"]) == sum(sizes) - length


def test_random_hold_out_leaves_a_basket_for_training_however_large_the_others_are():
    sizes = {"u0": (8, 1, 1), "u1": (1, 8, 1), "u2": (30, 30, 30), "u3": (1, 1, 40, 1)}
    rows = [
        (user, f"i{day}-{k}", BEGIN + day * DAY)
        for user, parts in sizes.items()
        for day, size in enumerate(parts)
        for k in range(size)
    ]
    for seed in range(10):
        parts = split(table(rows), SplitConfig(protocol="random"), seed)
        assert set(parts.train["user_id"]) == set(sizes)
        assert set(parts.cases_valid["user_id"]) == set(parts.cases_test["user_id"]) == set(sizes)


def test_the_order_inside_an_instant_follows_neither_ids_nor_source_and_differs_between_users():
    rows = [(f"u{user}", f"i{k:02}", BEGIN) for user in range(40) for k in range(20)]
    orders = dict(table(rows).group_by("user_id", maintain_order=True).agg("item_id").iter_rows())
    places = np.array([[int(item[1:]) for item in items] for items in orders.values()])
    assert len({tuple(row) for row in places}) == 40
    ranks = np.argsort(places, axis=1)  # (user, item): its place
    assert np.abs(ranks.mean(axis=0) - 9.5).max() < 4
    assert 0.3 < (np.diff(places, axis=1) > 0).mean() < 0.7


def test_the_order_inside_an_instant_is_the_same_on_every_machine():
    rows = pl.DataFrame({"user_id": ["a", "a", "b"], "item_id": ["x", "ü", "x"]})
    assert tie_breaker(rows).to_list() == [
        4960459653562586977,
        13679009437509438247,
        814904020713448977,
    ]


def test_the_service_reads_an_instant_in_the_order_of_training(tmp_path):
    raw = canonical_tables(
        pl.DataFrame(
            tied(3),
            schema={"user_id": pl.String, "item_id": pl.String, "timestamp": TIME},
            orient="row",
        ).with_columns(event=pl.lit("view"))
    ).interactions
    raw.write_parquet(tmp_path / "interactions.parquet")
    stored = open_user_store(tmp_path, tmp_path / "users.db", {"view": None}, 500)
    trained = clean(raw, {"view": None}).group_by("user_id").agg("item_id")
    assert all(list(stored.history(user)) == items for user, items in trained.iter_rows())


def test_instants_are_what_a_loop_finds():
    interactions = table(tied(0))
    instants = Instants.of(interactions)
    grouped = interactions.group_by("user_id", "timestamp", maintain_order=True).len()
    assert instants.size.tolist() == grouped["len"].to_list()
    assert interactions["timestamp"].gather(instants.first).equals(grouped["timestamp"])
    sizes = grouped.group_by("user_id", maintain_order=True).len()["len"].to_list()
    assert instants.count.tolist() == [n for n in sizes for _ in range(n)]
    assert instants.place.tolist() == [k for n in sizes for k in range(n)]
    assert len(Instants.of(interactions.clear())) == 0


@pytest.mark.parametrize(
    ("unit", "step"),
    [
        ("days", DAY),
        ("hours", timedelta(hours=5)),
        ("minutes", timedelta(minutes=7)),
        ("seconds", timedelta(seconds=11)),
        ("milliseconds", timedelta(milliseconds=13)),
        ("microseconds", timedelta(microseconds=17)),
    ],
)
def test_the_resolution_is_that_of_nearly_all_times(unit, step):
    times = [BEGIN + k * step for k in range(400)]
    served = [BEGIN + k * timedelta(seconds=7777.777777) for k in range(30)]
    assert resolution(pl.Series(times + served, dtype=TIME)) == unit


def test_dates_of_a_zone_with_summer_time_are_days():
    dates = pl.datetime_range(
        datetime(2024, 1, 1), datetime(2024, 12, 1), "1d", time_zone="Europe/Berlin", eager=True
    )
    assert resolution(dates.dt.convert_time_zone("UTC")) == "days"


def test_rows_without_ties_are_counted_as_such():
    rows = [("a", "1", BEGIN), ("a", "2", BEGIN + DAY), ("b", "1", BEGIN), ("b", "2", BEGIN)]
    assert time_facts(table(rows)) == {"resolution": "days", "tied_rows": 2, "tied_share": 0.5}
