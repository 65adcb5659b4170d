"""Who of a sample is taken, and what they weigh: selectors of `mix`, on people whose tastes are
planted."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl
import pytest

from augrec.augmentation.base import Policy, PolicyInputs
from augrec.core.errors import ConfigError
from augrec.data.columns import INTERACTIONS

START = datetime(2024, 1, 1, tzinfo=UTC)


def people(
    profiles: list[list[str]], prefix: str = "u", origin: str = "real", event: str = "view"
) -> pl.DataFrame:
    """A user for each list of items, their rows a day apart."""
    frame = pl.DataFrame(
        {"user_id": [f"{prefix}{n:04}" for n in range(len(profiles))], "item_id": profiles}
    ).explode("item_id")
    days = pl.int_range(pl.len()).over("user_id")
    return (
        frame.with_columns(
            event=pl.lit(event),
            value=pl.lit(None),
            timestamp=pl.lit(START) + pl.duration(days=days),
            origin=pl.lit(origin),
            weight=pl.lit(1.0),
        )
        .select(INTERACTIONS.keys())
        .cast(dict(INTERACTIONS))
    )


def some(items: list[str], n: int, length: int, seed: int = 0) -> list[list[str]]:
    """n profiles of `length` different items."""
    random = np.random.default_rng(seed)
    return [random.choice(items, length, replace=False).tolist() for _ in range(n)]


RED, BLUE = [f"red{n:02}" for n in range(20)], [f"blue{n:02}" for n in range(20)]
REAL = people(some(RED, 60, 8, 1) + some(BLUE, 60, 8, 2))
"""Every user likes one colour."""


def chosen(
    sample: pl.DataFrame,
    *choose: dict[str, Any],
    real: pl.DataFrame = REAL,
    seed: int = 3,
    **options: Any,
) -> pl.DataFrame:
    """The rows that a mix adds."""
    tables = options.pop("tables", {})
    inputs = PolicyInputs(
        real, lambda name: sample, 10.0, lambda generator, table: tables.get(table)
    )
    mix = {"sample": "gan", "choose": list(choose), **options}
    return Policy("p", [{"mix": mix}], seed=seed).apply(inputs).filter(pl.col("origin") != "real")


def made(*profiles: list[list[str]], **options: Any) -> pl.DataFrame:
    return people([one for part in profiles for one in part], "synthetic:gan:", "gan", **options)


def share_of(rows: pl.DataFrame, start: str) -> float:
    return rows["item_id"].str.starts_with(start).mean()


def test_long_tail_takes_the_users_of_items_that_few_have():
    real = people(some(RED, 110, 8, 1) + some(BLUE, 10, 8, 2))
    sample = made(some(RED, 100, 8, 4), some(BLUE, 20, 8, 5))
    assert share_of(chosen(sample, ratio=0.25, real=real), "blue") < 0.1
    rare = chosen(sample, {"long_tail": {"head": 0.9}}, ratio=0.25, real=real)
    # 30 users: the 20 of blue items, and only then some of red ones
    assert share_of(rare, "blue") == pytest.approx(20 / 30)
    gently = chosen(sample, {"long_tail": {"head": 0.9, "power": 0.2}}, ratio=0.25, real=real)
    assert 0.2 < share_of(gently, "blue") < 20 / 30


def test_length_keeps_a_slice_and_prefers_short_users():
    sample = made(*(some(RED, 20, length) for length in range(1, 11)))
    lengths = (
        chosen(sample, {"length": {"min": 2, "max": 5}}, ratio=0.5).group_by("user_id").len()["len"]
    )
    assert lengths.min() >= 2 and lengths.max() <= 5 and len(lengths) == 60
    plain = chosen(sample, {"length": {}}, ratio=0.5).group_by("user_id").len()["len"].mean()
    short = (
        chosen(sample, {"length": {"power": 2.0}}, ratio=0.5)
        .group_by("user_id")
        .len()["len"]
        .mean()
    )
    assert short < plain - 1


def test_events_take_the_users_with_the_rare_kind():
    real = pl.concat(
        [people(some(RED, 95, 8), "u"), people(some(RED, 5, 8), "v", event="purchase")]
    )
    sample = pl.concat(
        [
            people(some(RED, 80, 8), "synthetic:gan:a", "gan"),
            people(some(RED, 20, 8), "synthetic:gan:b", "gan", event="purchase"),
        ]
    )
    found = {
        power: np.mean(
            [
                (
                    chosen(sample, {"events": {"power": power}}, ratio=0.2, real=real, seed=seed)[
                        "event"
                    ]
                    == "purchase"
                ).mean()
                for seed in range(5)
            ]
        )
        for power in (0.0, 1.0)
    }
    assert found[0.0] < 0.4 and found[1.0] > 0.6


def test_similarity_leaves_out_copies_and_users_unlike_any():
    copies = (
        REAL.filter(pl.col("user_id") < "u0020")
        .group_by("user_id", maintain_order=True)
        .agg("item_id")
    )
    alien = [[f"new{place}", f"new{place + 1}"] for place in range(20)]
    sample = made(copies["item_id"].to_list(), alien, some(RED, 40, 8, 9))
    window = chosen(sample, {"likeness": {"min": 0.05, "max": 0.99}}, ratio=40 / 120)
    assert set(window["item_id"]) <= set(RED) and window["user_id"].n_unique() == 40
    shares = chosen(
        sample, {"likeness": {"drop_nearest": 0.25, "drop_farthest": 0.25}}, ratio=40 / 120
    )
    assert (
        shares.select("user_id", "item_id")
        .sort("item_id")
        .group_by("user_id")
        .agg("item_id")
        .height
        == 40
    )
    assert set(shares["item_id"]) <= set(RED)


def test_realness_keeps_those_the_critic_holds_for_real():
    sample = made(some(RED, 30, 8), some(BLUE, 30, 8))
    users = sample["user_id"].unique().sort()
    realness = pl.DataFrame(
        [users, pl.Series("realness", np.repeat([-5.0, 2.0], 30), dtype=pl.Float32)]
    )
    rows = chosen(sample, {"realness": {"keep": 0.5}}, ratio=0.25, tables={"realness": realness})
    assert share_of(rows, "blue") == 1.0
    with pytest.raises(ConfigError, match="discriminator"):
        chosen(sample, {"realness": {}}, ratio=0.25)


def test_the_discriminator_takes_those_whose_tastes_are_real():
    mixed = [
        [*red, *blue] for red, blue in zip(some(RED, 100, 4, 6), some(BLUE, 100, 4, 7), strict=True)
    ]
    sample = made(mixed, some(RED, 50, 8, 8), some(BLUE, 50, 8, 9))
    of_one_colour = (
        chosen(sample, {"discriminator": {"power": 1.0}}, ratio=0.5)
        .group_by("user_id")
        .agg(pl.col("item_id").str.starts_with("red").mean())["item_id"]
        .is_in([0.0, 1.0])
        .mean()
    )
    assert of_one_colour > 0.9


def test_a_discriminator_that_sees_no_difference_draws_all_alike():
    sample = made(some(RED, 100, 8, 8), some(BLUE, 100, 8, 9))
    rows = chosen(sample, {"discriminator": {}}, weigh=[{"discriminator": {}}], ratio=0.5)
    weights = rows.group_by("user_id").agg(pl.col("weight").first())["weight"]
    assert weights.mean() == pytest.approx(1.0, abs=1e-5) and weights.median() == pytest.approx(
        1.0, abs=0.4
    )
    assert 0.3 < share_of(rows, "red") < 0.7


@pytest.mark.parametrize(("towards", "expected"), [("even", 0.5), ("real", 0.75)])
def test_clusters_balance_tastes(towards, expected):
    real = people(some(RED, 90, 8, 1) + some(BLUE, 30, 8, 2))
    sample = (
        made(some(RED, 120, 8, 3), some(BLUE, 120, 8, 4))
        if towards == "real"
        else made(some(RED, 210, 8, 3), some(BLUE, 90, 8, 4))
    )
    options = {"clusters": 2, "dimensions": 2, "towards": towards}
    rows = chosen(sample, {"clusters": options}, ratio=0.5, real=real)
    assert share_of(rows, "red") == pytest.approx(expected, abs=0.12)


def test_several_selectors_multiply():
    sample = made(some(RED, 40, 3), some(RED, 40, 8), some(BLUE, 40, 3), some(BLUE, 40, 8))
    users = sample["user_id"].unique().sort()
    realness = pl.DataFrame(
        [users, pl.Series("realness", np.repeat([0.0, 1.0], 80), dtype=pl.Float32)]
    )
    rows = chosen(
        sample,
        {"realness": {"keep": 0.5}},
        {"length": {"max": 5}},
        ratio=0.25,
        tables={"realness": realness},
    )
    assert share_of(rows, "blue") == 1.0 and rows.group_by("user_id").len()["len"].max() == 3


def test_weights_follow_the_selector_and_keep_their_mean():
    sample = made(some(RED, 60, 2), some(RED, 60, 8))
    rows = chosen(sample, weigh=[{"length": {"power": 1.0}}], weight=0.5, ratio=1.0)
    users = rows.group_by("user_id").agg(
        pl.col("weight").n_unique().alias("n"), pl.col("weight").first(), pl.len()
    )
    assert users["n"].max() == 1 and users["weight"].mean() == pytest.approx(0.5)
    short, long = (users.filter(pl.col("len") == length)["weight"].mean() for length in (2, 8))
    assert short == pytest.approx(4 * long)


def test_more_than_the_selectors_leave_is_refused_with_the_numbers():
    sample = made(some(RED, 110, 8), some(BLUE, 10, 3))
    with pytest.raises(ConfigError, match=r"asks for 60 users of gan; `choose` leaves 10 of 120"):
        chosen(sample, {"length": {"max": 5}}, ratio=0.5)


@pytest.mark.parametrize(
    "selector", [{"no_such": {}}, {"length": {"minimum": 1}}, {"length": {}, "events": {}}]
)
def test_an_unknown_selector_or_option_is_refused(selector):
    with pytest.raises(ConfigError):
        chosen(made(some(RED, 120, 8)), selector, ratio=0.5)


@pytest.mark.parametrize(
    "selector", ["long_tail", "length", "events", "likeness", "discriminator", "clusters"]
)
def test_selectors_judge_placebos_just_like_generators(selector):
    mix = {"sample": "popularity_random", "ratio": 0.3, "choose": [{selector: {}}]}
    policy = Policy("p", [{"mix": mix}], seed=0)
    rows = policy.apply(PolicyInputs(REAL, lambda name: pl.DataFrame(), 2.0))
    assert policy.kind == "placebo" and policy.generators == ()
    assert rows.filter(pl.col("origin") == "popularity_random")["user_id"].n_unique() == 36


def test_no_selector_holds_a_table_of_users_and_items():
    import tracemalloc

    items = np.array([f"i{n:05}" for n in range(60_000)])
    drawn = np.random.default_rng(0).integers(0, len(items), (3000, 5))
    profiles = [items[np.unique(row)].tolist() for row in drawn]
    real, sample = people(profiles[:1500]), made(profiles[1500:])
    selectors = ["long_tail", "length", "events", "likeness", "discriminator", "clusters"]
    tracemalloc.start()
    chosen(sample, *({name: {}} for name in selectors), ratio=0.5, real=real)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1500 * 60_000 * 4 / 3
