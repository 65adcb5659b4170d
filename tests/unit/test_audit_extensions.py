"""Rows that stand beside a sample: those added to real histories, and those with items that nobody
has met."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from augrec.audit.config import AuditConfig
from augrec.audit.extensions import extension_fidelity
from augrec.audit.inputs import AuditInputs
from augrec.audit.new_items import new_item_fidelity
from augrec.audit.sample_audit import audit_sample
from augrec.data.columns import INTERACTIONS

N_ITEMS, N_TASTES = 240, 3
START = datetime(2024, 1, 1, tzinfo=UTC)
TASTES = np.arange(900) % N_TASTES


def chances(taste: int | None) -> np.ndarray:
    """Of the items: popular ones are numbered first, and a taste is for every third."""
    items = np.arange(N_ITEMS)
    found = np.where((taste is None) | (items % N_TASTES == taste), 20.0, 1.0) / (60 + items)
    return found / found.sum()


def rows(
    profiles: list[list[str]], prefix: str = "u", origin: str = "real", first_day: int = 0
) -> pl.DataFrame:
    """Canonical interactions, a day apart."""
    table = pl.DataFrame(
        [
            (f"{prefix}{user:03}", item, START + timedelta(days=first_day + day))
            for user, profile in enumerate(profiles)
            for day, item in enumerate(profile)
        ],
        schema={"user_id": pl.String, "item_id": pl.String, "timestamp": INTERACTIONS["timestamp"]},
        orient="row",
    )
    table = table.with_columns(
        event=pl.lit("view"), value=pl.lit(None), origin=pl.lit(origin), weight=pl.lit(1.0)
    )
    return table.select(list(INTERACTIONS)).cast(dict(INTERACTIONS))


def drawn(tastes: np.ndarray, lengths: tuple[int, int], seed: int, p=chances) -> list[list[str]]:
    rng = np.random.default_rng(seed)
    return [
        [
            f"i{item:03}"
            for item in rng.choice(N_ITEMS, rng.integers(*lengths), replace=False, p=p(taste))
        ]
        for taste in tastes
    ]


PEOPLE = drawn(TASTES, (4, 13), 1)
TRAINING = rows(PEOPLE)


def added(side: str, profiles: list[list[str]]) -> pl.DataFrame:
    fresh = [
        [item for item in new if item not in old] for new, old in zip(profiles, PEOPLE, strict=True)
    ]
    table = rows(fresh, origin="gan", first_day=-30 if side == "left" else 30)
    return table.with_columns(
        direction=pl.lit(side), place=pl.int_range(pl.len()).over("user_id") + 1
    )


def measured(*parts: pl.DataFrame) -> dict[str, float | None]:
    return extension_fidelity(pl.concat(parts), TRAINING, 30)


@pytest.mark.parametrize("side", ["left", "right"])
def test_what_is_added_by_the_taste_of_a_person_goes_with_the_history_as_real_rows_do(side):
    faithful = measured(added(side, drawn(TASTES, (3, 6), 2)))
    strange = measured(added(side, drawn(np.roll(TASTES, 1), (3, 6), 2)))
    blind = measured(added(side, drawn([None] * 900, (3, 6), 2)))
    assert faithful[f"{side}_pair_correlation"] > 0.5 > 0.2 > abs(blind[f"{side}_pair_correlation"])
    assert strange[f"{side}_pair_correlation"] < -0.2
    for found in (faithful, blind):
        assert found[f"{side}_popularity_correlation"] > 0.7 and found["n_extended_users"] == 900
        assert 0.3 < found[f"{side}_pair_correlation_real"] < 1, "people are few"
    other = {"left": "right", "right": "left"}[side]
    assert not any(name.startswith(other) for name in faithful)


def test_items_that_real_histories_do_not_end_with_are_no_likely_ends():
    rare = drawn(TASTES, (3, 6), 2, lambda taste: chances(taste)[::-1])
    found = measured(added("left", rare), added("right", drawn(TASTES, (3, 6), 2)))
    assert found["left_popularity_correlation"] < -0.5 < 0.7 < found["right_popularity_correlation"]


def test_ends_are_compared_with_the_same_side_of_real_histories():
    """People begin with one of the first ten items and go on with others."""
    rng = np.random.default_rng(3)
    training = rows(
        [
            [
                f"i{n:02}"
                for n in (*rng.choice(10, 3, False), *rng.choice(np.arange(10, 20), 3, False))
            ]
            for _ in range(200)
        ]
    )
    begin = training.filter(pl.col("item_id") < "i10").with_columns(
        direction=pl.lit("left"), place=pl.lit(3)
    )
    rest = training.join(begin, on=["user_id", "item_id"], how="anti")
    after = rest.with_columns(direction=pl.lit("right"), place=pl.lit(3))
    right_sides = extension_fidelity(pl.concat([begin, after]), training, 20)
    swapped = pl.concat([begin, after]).with_columns(
        pl.col("direction").replace({"left": "right", "right": "left"})
    )
    wrong_sides = extension_fidelity(swapped, training, 20)
    for side in ("left", "right"):
        assert right_sides[f"{side}_popularity_correlation"] > 0.9
        assert wrong_sides[f"{side}_popularity_correlation"] < -0.9


CATALOGUE = pl.DataFrame(
    [(f"i{item:03}", [f"taste {item % N_TASTES}"]) for item in range(N_ITEMS)]
    + [(f"new{item}", [f"taste {item % N_TASTES}"]) for item in range(6)],
    schema=["item_id", "categories"],
    orient="row",
)
NEW = [f"new{item}" for item in range(6)]


def with_new_items(taste_of) -> pl.DataFrame:
    """People of a sample, each with the new item of a taste after the known ones, which are of
    their own alone."""
    only = [
        [f"i{N_TASTES * n + taste:03}" for n in range(4)] + [f"new{taste_of(taste)}"]
        for taste in TASTES
    ]
    return rows(only, "s", "item_gan")


def test_new_items_are_audited_for_how_often_and_by_whom_they_are_used():
    listed = (TRAINING, NEW, CATALOGUE)
    fitting = new_item_fidelity(with_new_items(lambda taste: taste), *listed)
    assert fitting["new_item_coverage"] == 0.5 and fitting["new_category_match"] == 1.0
    assert fitting["new_item_popularity"] == pytest.approx((900 / 6) / (3600 / N_ITEMS))
    astray = new_item_fidelity(with_new_items(lambda taste: (taste + 1) % N_TASTES), *listed)
    assert astray["new_category_match"] == 0.0
    assert 0.7 < astray["new_category_match_real"] == fitting["new_category_match_real"] < 1.0
    bare = new_item_fidelity(
        with_new_items(lambda taste: taste), TRAINING, NEW, CATALOGUE.drop("categories")
    )
    assert bare["new_category_match"] is None and bare["new_item_coverage"] == 0.5


def test_the_audit_tells_of_both_only_where_there_are_some():
    no_users = pl.DataFrame(schema={"user_id": pl.String, "role": pl.String})
    plain = AuditInputs(TRAINING, TRAINING, no_users, None, None, items=CATALOGUE)
    extended = added("right", drawn(TASTES, (3, 6), 2))
    both = AuditInputs(
        **{**vars(plain), "extensions": extended, "sample_facts": {"new_items": NEW}}
    )
    config = AuditConfig(
        top_items=30, limits={"min_new_category_match": 0.5, "min_right_pair_correlation": 0.5}
    )
    verdict, _ = audit_sample(
        with_new_items(lambda taste: taste), both, config, generator="item_gan", seed=1
    )
    assert verdict["passed"] and verdict["extensions"]["right_pair_correlation"] > 0.5
    assert verdict["new_items"]["new_item_coverage"] == 0.5
    alone, _ = audit_sample(rows(PEOPLE, "s", "gan"), plain, AuditConfig(), generator="gan", seed=1)
    assert not {"extensions", "new_items"} & set(alone)
