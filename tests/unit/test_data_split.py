"""The time split: nothing of the future and no held-out user is in the training rows."""

from __future__ import annotations

import logging
from collections import Counter
from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from augrec.core.errors import InputError, RefusedError
from augrec.data.canonical import canonical_tables
from augrec.data.cases import CASES
from augrec.data.clean import clean
from augrec.data.columns import INTERACTIONS, TIME
from augrec.data.config import SplitConfig
from augrec.data.simulate import ShopConfig, simulate
from augrec.data.split import SLICES, Split, slice_of, split

CONFIG = SplitConfig()
POSITIVE = {"view": None, "cart": None, "purchase": None, "rating": None}


def table(rows: list[tuple[str, str, int]]) -> pl.DataFrame:
    """Interactions from (user, item, second)."""
    frame = pl.DataFrame(rows, schema=["user_id", "item_id", "second"], orient="row")
    moments = (pl.col("second") * 1_000_000).cast(TIME).alias("timestamp")
    return canonical_tables(
        frame.select("user_id", "item_id", pl.lit("view").alias("event"), moments)
    ).interactions


def random_table(seed: int, n: int = 3000) -> pl.DataFrame:
    """Users of very different activity; few distinct seconds, so that many interactions are
    simultaneous."""
    draw = np.random.default_rng(seed)
    users = (draw.pareto(1.0, n) * 10).astype(int) % 120
    rows = zip(users, draw.integers(0, 200, n), draw.integers(0, 300, n) + users * 3, strict=True)
    return clean(table([(f"u{u}", f"i{i}", int(t)) for u, i, t in rows]), POSITIVE)


@pytest.fixture(scope="module", params=[0, 1, "shop"])
def given(request: pytest.FixtureRequest) -> tuple[pl.DataFrame, Split]:
    if request.param == "shop":
        shop = simulate(ShopConfig(n_users=400, n_items=200, n_interactions=8000), seed=3)
        interactions = clean(shop.interactions, POSITIVE)
    else:
        interactions = random_table(request.param)
    return interactions, split(interactions, CONFIG, seed=5)


def test_training_rows_lie_before_validation_and_belong_to_no_held_out_user(
    given: tuple[pl.DataFrame, Split],
) -> None:
    interactions, parts = given
    assert parts.train["timestamp"].max() < parts.valid_from < parts.test_from
    assert not set(parts.train["user_id"]) & set(parts.held_out["user_id"])
    expected = interactions.filter(
        (pl.col("timestamp") < parts.valid_from)
        & ~pl.col("user_id").is_in(parts.held_out["user_id"].implode())
    )
    assert parts.train.equals(expected)
    assert dict(parts.train.schema) == dict(INTERACTIONS)


def test_the_roles_do_not_overlap_and_keep_their_limits(given: tuple[pl.DataFrame, Split]) -> None:
    interactions, parts = given
    assert parts.held_out["user_id"].is_unique().all()
    n_users = interactions["user_id"].n_unique()
    for role, share in (("valid", CONFIG.max_valid_users), ("test", CONFIG.max_test_users)):
        assert 0 < (parts.held_out["role"] == role).sum() <= share * n_users


def test_cases_are_what_a_plain_loop_over_users_finds(given: tuple[pl.DataFrame, Split]) -> None:
    interactions, parts = given
    ends = {"valid": (parts.valid_from, parts.test_from), "test": (parts.test_from, None)}
    for role, cases in (("valid", parts.cases_valid), ("test", parts.cases_test)):
        expected = []
        for user in sorted(parts.held_out.filter(pl.col("role") == role)["user_id"]):
            rows = (
                interactions.filter(pl.col("user_id") == user).select("item_id", "timestamp").rows()
            )
            expected += naive_cases(user, rows, *ends[role])
        assert cases.rows() == expected
        assert dict(cases.schema) == dict(CASES)


def naive_cases(user: str, rows: list, begin, end) -> list[tuple]:
    before = sum(moment < begin for _, moment in rows)
    until = sum(end is None or moment < end for _, moment in rows)
    found: dict[str, tuple] = {}
    inside = {whole(rows, before, n) for n in CONFIG.moments if before < n <= until}
    for position in sorted({before, *inside}):
        name = str(slice_of(np.array([position]))[0])
        items = [item for item, _ in rows]
        moment = begin if position == before else rows[position - 1][1]
        history, targets = items[:position][-CONFIG.max_history :], items[position:until]
        if name not in found and targets:
            found[name] = (user, name, moment, history, targets)
    return list(found.values())


def whole(rows: list, before: int, n: int) -> int:
    """The number of rows nearest below n that cuts no instant, above `before`; else the next."""
    ends = [k for k in range(1, len(rows) + 1) if k == len(rows) or rows[k][1] > rows[k - 1][1]]
    below = [k for k in ends if before < k <= n]
    return below[-1] if below else next(k for k in ends if k > n)


def test_targets_are_new_to_the_user_who_has_one_case_in_a_slice(
    given: tuple[pl.DataFrame, Split],
) -> None:
    _, parts = given
    for cases in (parts.cases_valid, parts.cases_test):
        assert not cases.select("user_id", "slice").is_duplicated().any()
        assert (cases["history"].list.set_intersection(cases["targets"]).list.len() == 0).all()
        assert (cases["targets"].list.n_unique() == cases["targets"].list.len()).all()
        assert set(cases["slice"]) <= set(SLICES)


def test_counts_are_those_of_the_tables(given: tuple[pl.DataFrame, Split]) -> None:
    interactions, parts = given
    known = set(parts.train["item_id"])
    for role, cases in (("valid", parts.cases_valid), ("test", parts.cases_test)):
        counts = parts.counts[role]
        targets = [item for row in cases["targets"] for item in row]
        slices = Counter(cases["slice"])
        assert counts["slices"] == {name: slices[name] for name in SLICES}
        assert counts["users"] == len(set(cases["user_id"]))
        assert counts["unknown_target_share"] == pytest.approx(
            sum(item not in known for item in targets) / len(targets), abs=1e-6
        )
    assert parts.counts["all"]["interactions"] == len(interactions)


def test_a_planted_future_interaction_of_anybody_stays_out_of_training() -> None:
    interactions = random_table(2)
    parts = split(interactions, CONFIG, seed=5)
    trained = parts.train["user_id"][0]
    held = parts.held_out["user_id"][0]
    second = int(parts.valid_from.timestamp())
    leaks = table(
        [(trained, "at-the-cut", second), (trained, "later", second + 100), (held, "early", 1)]
    )
    again = split(clean(pl.concat([interactions, leaks]), POSITIVE), CONFIG, seed=5)
    assert again.valid_from == parts.valid_from  # the plants did not move the cut
    assert held in set(again.held_out["user_id"])
    assert not {"at-the-cut", "later", "early"} & set(again.train["item_id"])


def test_an_interaction_at_exactly_the_cut_belongs_to_the_later_period() -> None:
    parts = split(random_table(0), CONFIG, seed=5)
    for cases, begin in (
        (parts.cases_valid, parts.valid_from),
        (parts.cases_test, parts.test_from),
    ):
        assert (cases["moment"] >= begin).all()
    rows = [(f"u{k}", f"i{j}", j) for k in range(20) for j in range(10)]
    equal = split(table(rows), SplitConfig(valid_from=0.5, test_from=0.8), seed=1)
    cut = int(equal.valid_from.timestamp())
    assert equal.train["timestamp"].dt.epoch("s").max() == cut - 1
    targets = equal.cases_valid.filter(pl.col("moment") == equal.valid_from)["targets"].list.first()
    assert set(targets) == {f"i{cut}"}


def test_activity_at_exactly_a_cut_qualifies_for_the_later_period_alone() -> None:
    one_each = table(
        [(f"u{k:02d}", f"i{k}", k // 10) for k in range(100)]
    )  # the cuts fall at seconds 4 and 7
    config = SplitConfig(valid_from=0.5, test_from=0.8, max_valid_users=0.9, max_test_users=0.9)
    roles = dict(split(one_each, config, seed=1).held_out.iter_rows())
    assert roles == {f"u{k:02d}": "valid" if k < 70 else "test" for k in range(40, 100)}
    fewer = split(
        one_each, SplitConfig(**{**config.model_dump(), "max_test_users": 0.2}), seed=1
    ).held_out
    assert set(fewer.filter(pl.col("role") == "valid")["user_id"]) == {
        f"u{k}" for k in range(40, 70)
    }


def test_the_order_of_the_rows_does_not_matter() -> None:
    interactions = random_table(1)
    shuffled = interactions.sample(fraction=1.0, shuffle=True, seed=9)
    first, second = (
        split(clean(rows, POSITIVE), CONFIG, seed=5) for rows in (interactions, shuffled)
    )
    for name in ("train", "cases_valid", "cases_test", "held_out"):
        assert getattr(first, name).equals(getattr(second, name))


def test_another_seed_holds_out_other_users() -> None:
    config = SplitConfig(max_test_users=0.05, max_valid_users=0.05)
    first, second = (split(random_table(1), config, seed=seed) for seed in (1, 2))
    assert not first.held_out.equals(second.held_out)


def test_a_long_history_keeps_its_latest_items_and_its_slice() -> None:
    config = SplitConfig(valid_from=0.6, test_from=0.8, max_history=3)
    rows = [(f"u{k}", f"i{k}-{j}", 10 * j + k) for k in range(10) for j in range(40)]
    cases = split(table(rows), config, seed=1).cases_test
    assert set(cases["slice"]) == {"21+"}
    assert (cases["history"].list.len() == 3).all()
    for user, history, targets in cases.select("user_id", "history", "targets").iter_rows():
        last = int(targets[0].split("-")[1])
        assert history == [f"i{user[1:]}-{j}" for j in range(last - 3, last)]


def test_of_many_users_some_are_drawn_and_the_others_stay_held_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rows = random_table(1)
    whole = split(rows, CONFIG, seed=5)
    with caplog.at_level(logging.INFO):
        drawn = split(rows, SplitConfig(max_evaluated_users=10), seed=5)
        again = split(rows, SplitConfig(max_evaluated_users=10), seed=6)
    assert drawn.train.equals(whole.train)
    assert drawn.held_out.equals(whole.held_out)
    users = set(drawn.cases_test["user_id"])
    assert len(users) == 10 == drawn.counts["test"]["users"]
    assert users != set(again.cases_test["user_id"])
    kept = whole.cases_test.filter(pl.col("user_id").is_in(list(users)))
    assert drawn.cases_test.equals(kept)
    assert "test cases 10 are drawn: with 95 % confidence" in caplog.text


def test_min_targets_drops_cases_with_fewer() -> None:
    parts = split(random_table(1), SplitConfig(min_targets=4), seed=5)
    assert parts.cases_test["targets"].list.len().min() == 4


@pytest.mark.parametrize(
    ("length", "name"),
    [(0, "0"), (1, "1-5"), (5, "1-5"), (6, "6-20"), (20, "6-20"), (21, "21+"), (999, "21+")],
)
def test_slices_hold_the_lengths_they_name(length: int, name: str) -> None:
    assert slice_of(np.array([length])).tolist() == [name]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([("u1", f"i{k}", k) for k in range(50)], "held out"),
        ([(f"u{k}", f"i{k}", 7) for k in range(50)], "timestamp"),
        ([], "no interactions"),
    ],
    ids=["one user only", "all timestamps equal", "no rows"],
)
def test_data_that_cannot_be_split_is_refused_with_advice(rows: list, words: str) -> None:
    interactions = table(rows) if rows else table([("u", "i", 1)]).head(0)
    with pytest.raises(RefusedError, match=words) as caught:
        split(interactions, CONFIG, seed=1)
    assert caught.value.fix


def test_an_item_in_history_and_targets_is_an_error_and_not_a_silent_leak() -> None:
    with pytest.raises(InputError, match="more than one interaction"):
        split(table([("u", "i", 1), ("u", "i", 5)]), CONFIG, seed=1)


def test_users_who_were_there_before_the_period_keep_their_whole_past() -> None:
    interactions = random_table(0)
    parts = split(interactions, CONFIG, seed=5)
    begins = parts.cases_test.filter(pl.col("moment") == parts.test_from)
    for user, history in begins.select("user_id", "history").iter_rows():
        past = interactions.filter(
            (pl.col("user_id") == user)
            & (pl.col("timestamp") <= parts.test_from - timedelta(microseconds=1))
        )
        assert history == past["item_id"].to_list()
