"""What every operation and every policy promises. A new operation, or a new policy in params.yaml,
is picked up by itself."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from augrec.augmentation.base import Operation, Policy, PolicyInputs
from augrec.augmentation.search import Search
from augrec.core import component
from augrec.core.errors import ConfigError, InputError
from augrec.core.policies import steps_of
from augrec.data.columns import INTERACTIONS
from augrec.data.popularity_sampling import draw_distinct
from augrec.data.training_data import TrainingData
from augrec.recommenders._taste.tastes import Tastes
from augrec.stages._samples import Samples

PARAMS = yaml.safe_load((Path(__file__).parents[2] / "params.yaml").read_text(encoding="utf-8"))
OPERATIONS = component.available("augrec.augmentation")
MAKERS = [n for n in OPERATIONS if component.find("augrec.augmentation", n, Operation).makes_users]
"""Those that make users, which `mix` can choose among."""
ADDING = [*MAKERS, "mix"]
"""Those that add users."""
NEEDED = {
    "mix": {"sample": "gan"},
    "extend": {"sample": "gan"},
    "search": {"samples": ["gan"]},
    "adversarial_items": {"sample": "gan"},
    "adversarial_users": {"recommender": {"multvae": {"steps": 20}}},
}
"""Options without a default, and of trainings that take long."""
EXAMPLES = {
    "search": Search(NEEDED["search"]).step("gan", 1.0, 0.5),
    "synthetic_only": [{"mix": NEEDED["mix"]}, {"synthetic_only": {}}],
}
"""Where an operation makes no policy by itself. What a search comes to is for the tests of
`augrec.tuning.mixing`."""
START = datetime(2024, 1, 1, tzinfo=UTC)
CANONICAL = list(INTERACTIONS)


def table(rows: list[tuple[str, str]], origin: str = "real") -> pl.DataFrame:
    """Canonical interactions; a user's rows are a day apart, in the order given."""
    frame = pl.DataFrame(rows, schema=["user_id", "item_id"], orient="row").with_columns(
        day=pl.int_range(pl.len()).over("user_id"), value=pl.lit(4.0)
    )
    times = pl.lit(START) + pl.duration(days="day")
    frame = frame.with_columns(
        event=pl.lit("rating"), timestamp=times, origin=pl.lit(origin), weight=pl.lit(1.0)
    )
    return frame.select(CANONICAL).cast(dict(INTERACTIONS))


def shop(n_users: int = 30, prefix: str = "u", origin: str = "real") -> pl.DataFrame:
    """Users with 1 to 9 of 25 items, early items the most popular."""
    rng = np.random.default_rng(1)
    chances = 1 / np.arange(1, 26)
    return table(
        [
            (f"{prefix}{user:03}", f"i{item:02}")
            for user in range(n_users)
            for item in rng.choice(25, 1 + user % 9, replace=False, p=chances / chances.sum())
        ],
        origin,
    )


def extensions(real: pl.DataFrame, generator: str) -> pl.DataFrame:
    """What a generator wrote for every real user: 3 rows a day apart on each side, and some for a
    stranger."""
    people = pl.concat(
        [
            real.select("user_id", "timestamp"),
            real.select(pl.lit("stranger").alias("user_id"), "timestamp").head(1),
        ]
    )
    ends = people.group_by("user_id").agg(
        left=pl.col("timestamp").min(), right=pl.col("timestamp").max()
    )
    return (
        ends.sort("user_id")
        .unpivot(index="user_id", variable_name="direction", value_name="end")
        .join(pl.DataFrame({"place": [1, 2, 3]}), how="cross")
        .with_columns(
            away=pl.when(pl.col("direction") == "left").then(-pl.col("place")).otherwise("place")
        )
        .with_columns(
            item_id="new-" + pl.col("direction") + pl.col("place").cast(pl.String),
            event=pl.lit("rating"),
            value=pl.lit(3.0),
            timestamp=pl.col("end") + pl.duration(days="away"),
            origin=pl.lit(generator),
            weight=pl.lit(1.0),
        )
        .select(*CANONICAL, "direction", "place")
        .cast(dict(INTERACTIONS))
        .sort("user_id", "timestamp")
    )


def inputs(real: pl.DataFrame, max_ratio: float = 2.0, n_sample: int = 60) -> PolicyInputs:
    def sample_table(generator: str, table: str) -> pl.DataFrame | None:
        if table == "extensions":
            return extensions(real, generator)
        users = shop(n_sample, f"synthetic:{generator}:", generator)["user_id"].unique().sort()
        realness = pl.Series("realness", np.linspace(-1, 1, len(users)), dtype=pl.Float32)
        return pl.DataFrame([users, realness]) if table == "realness" else None

    return PolicyInputs(
        real,
        lambda name: shop(n_sample, f"synthetic:{name}:", name),
        max_ratio,
        sample_table,
        tastes=tastes(),
    )


@cache
def tastes() -> Tastes:
    """Two groups of the shop's users."""
    return Tastes({"groups": 2, "min_group_users": 1, "steps": 10, "width": 4}).fit(
        TrainingData(shop())
    )


def build(steps, real: pl.DataFrame | None = None, seed: int = 7, **options) -> pl.DataFrame:
    return Policy("test", steps, seed=seed).apply(
        inputs(shop() if real is None else real, **options)
    )


def added(training: pl.DataFrame) -> pl.DataFrame:
    return training.filter(pl.col("origin") != "real")


def profiles(training: pl.DataFrame) -> list[tuple[str, ...]]:
    return [
        tuple(sorted(items))
        for items in training.group_by("user_id", maintain_order=True).agg("item_id")["item_id"]
    ]


@pytest.fixture(params=ADDING)
def step(request):
    return {request.param: NEEDED.get(request.param, {})}


@pytest.fixture(params=OPERATIONS + [f"policy {name}" for name in PARAMS["policies"]])
def steps(request):
    kind, _, policy = request.param.partition(" ")
    if not policy:
        return EXAMPLES.get(kind, [{kind: NEEDED.get(kind, {})}])
    settled = []
    for step in steps_of(PARAMS["policies"][policy]):
        [(name, config)] = step.items()
        settled += (
            Search(config).step(config["samples"][0], 1.0, 0.5) if name == "search" else [step]
        )
    return settled


def names(steps) -> set[str]:
    return {name for step in steps for name in step}


def test_real_rows_stay_as_they_are_and_in_order_but_for_their_weights(steps):
    real = shop().sample(fraction=1.0, shuffle=True, seed=2)
    kept = (
        build(steps, real)
        .select(CANONICAL)
        .head(0 if "synthetic_only" in names(steps) else len(real))
    )
    changed = ["weight"] if "reweigh" in names(steps) else []
    assert kept.drop(changed).equals(real.head(len(kept)).drop(changed))
    assert len(kept) == (0 if "synthetic_only" in names(steps) else len(real))


def test_a_policy_without_real_rows_has_none_and_all_others_have_all(steps):
    real = shop()
    left = build(steps, real)
    people = left.filter(
        (pl.col("origin") == "real") | pl.col("user_id").is_in(set(real["user_id"]))
    )
    if "synthetic_only" in names(steps):
        assert people.is_empty() and len(left)
    else:
        assert (left["origin"] == "real").sum() == len(real)


def test_features_of_the_training_set_are_left_behind(steps):
    real = shop().with_columns(user__activity=pl.lit(1.0))
    assert set(build(steps, real).columns) - {"observed", "negative"} == set(CANONICAL)


def test_a_training_set_is_canonical(steps):
    training = build(steps)
    assert dict(training.select(CANONICAL).schema) == dict(INTERACTIONS)
    assert training.drop("value").null_count().sum_horizontal().item() == 0
    if "observed" in training.columns:
        assert training["observed"].dtype == pl.Boolean
        assert training.filter(pl.col("origin") == "real")["observed"].all()
    if "negative" in training.columns:
        assert training["negative"].dtype == pl.Boolean
        assert not training.filter(pl.col("origin") == "real")["negative"].any()


def test_added_rows_are_sorted_by_user_and_time(step):
    new = added(build([step]))
    assert new.equals(new.sort("user_id", "timestamp", maintain_order=True))


def test_no_user_has_an_item_twice(steps):
    assert not build(steps).select("user_id", "item_id").is_duplicated().any()


def test_the_same_seed_gives_the_same_rows(steps):
    assert build(steps).equals(build(steps))


def test_added_users_never_carry_a_real_id(steps):
    clever = pl.col("user_id").replace(
        {"u001": "synthetic:bootstrap:00000000", "u002": "synthetic:gan:001"}
    )
    real = shop().with_columns(clever.alias("user_id"))
    if names(steps) <= {*ADDING, "reweigh", "synthetic_only", "continue_champion"}:
        assert not set(added(build(steps, real))["user_id"]) & set(real["user_id"])
    else:  # rows for real users: no other user is added
        makers = [step for step in steps if names([step]) <= set(ADDING)]
        new_users = set(build(steps, real)["user_id"]) - set(real["user_id"])
        assert new_users == set(build(makers, real)["user_id"]) - set(real["user_id"])


def test_an_operation_adds_the_number_of_users_it_is_set_to(step):
    [(name, config)] = step.items()
    for ratio, expected in ((0.0, 0), (0.5, 15), (1.0, 30)):
        assert added(build([{name: {**config, "ratio": ratio}}]))["user_id"].n_unique() == expected


def test_an_operation_names_the_origin_of_its_rows(step):
    [(name, config)] = step.items()
    assert added(build([step]))["origin"].unique().to_list() == [config.get("sample", name)]


def test_the_cap_on_added_users_is_kept(step):
    assert added(build([step], max_ratio=0.4))["user_id"].n_unique() == 12


def test_the_cap_counts_what_earlier_operations_added(step):
    training = build([{"bootstrap": {}}, step], max_ratio=1.5)
    assert added(training)["user_id"].n_unique() == 45


def test_the_same_operation_twice_makes_different_users(step):
    training = build([step, step])
    assert added(training)["user_id"].n_unique() == 60
    assert not training.select("user_id", "item_id").is_duplicated().any()


@pytest.mark.parametrize("name", [*MAKERS, "negatives"])
def test_another_seed_makes_other_users(name):
    step = {name: NEEDED.get(name, {})}
    assert not build([step], seed=1).equals(build([step], seed=2))


def test_one_user_with_one_item_breaks_no_operation(steps):
    training = build(steps, shop(1))
    if "synthetic_only" not in names(steps):
        assert training.drop("weight").select(CANONICAL[:-1]).head(1).equals(shop(1).drop("weight"))


def test_bootstrap_users_are_whole_copies_of_real_ones():
    training = build([{"bootstrap": {}}])
    assert set(profiles(added(training))) <= set(profiles(shop()))
    values = ["item_id", "event", "value", "timestamp"]
    assert (
        added(training)
        .select(values)
        .join(shop(), on=values, how="anti", nulls_equal=True)
        .is_empty()
    )


def test_crossover_users_have_half_of_each_of_two_parents():
    real = table([(f"u{user}", f"i{user}-{item}") for user in range(6) for item in range(8)])
    for child in profiles(added(build([{"crossover": {}}], real))):
        parents = [item.split("-")[0] for item in child]
        assert len(set(parents)) == 2
        assert [parents.count(parent) for parent in set(parents)] == [4, 4]


def test_truncated_users_show_their_first_items_and_keep_the_rest_as_targets():
    new = added(build([{"truncate": {"max_length": 3}}]))
    shown = new.group_by("user_id").agg(
        seen=pl.col("observed").sum(), n=pl.len(), first=pl.col("observed").arg_min()
    )
    assert shown["seen"].is_between(1, 3).all() and set(shown["seen"]) == {1, 2, 3}
    assert (shown["first"] == shown["seen"]).all(), "what is shown comes first in time"
    assert (shown["seen"] < shown["n"]).all(), "there is always something to predict"
    assert set(profiles(new)) <= set(profiles(shop()))


def test_truncation_cuts_every_usable_user_before_it_cuts_one_twice():
    usable = shop().filter(pl.len().over("user_id") > 1)
    new = added(build([{"truncate": {"ratio": usable["user_id"].n_unique() / 30}}]))
    assert (
        new.group_by("item_id")
        .len()
        .sort("item_id")
        .equals(usable.group_by("item_id").len().sort("item_id"))
    )


def test_popularity_random_users_have_real_lengths_and_popular_items():
    real = shop(200)
    new = added(build([{"popularity_random": {}}], real))
    assert set(new.group_by("user_id").len()["len"]) <= set(real.group_by("user_id").len()["len"])
    counts = (
        real.group_by("item_id")
        .len()
        .join(new.group_by("item_id").len(), on="item_id", how="left")
        .fill_null(0)
    )
    assert np.corrcoef(counts["len"], counts["len_right"])[0, 1] > 0.9


def test_distinct_draws_follow_the_weights_and_never_repeat():
    lengths = np.tile([1, 2, 4], 2000)
    drawn = draw_distinct(lengths, np.array([8.0, 4.0, 2.0, 1.0]), np.random.default_rng(0))
    rows = np.repeat(np.arange(len(lengths)), lengths)
    assert len(np.unique(rows * 4 + drawn)) == lengths.sum()
    firsts = np.bincount(drawn[np.cumsum(lengths) - lengths], minlength=4) / len(lengths)
    assert np.allclose(firsts, np.array([8, 4, 2, 1]) / 15, atol=0.03)


def test_mix_gives_synthetic_rows_their_weight():
    training = build([{"mix": {"sample": "gan", "weight": 0.25}}])
    assert added(training)["weight"].unique().to_list() == [0.25]
    assert training.filter(pl.col("origin") == "real")["weight"].unique().to_list() == [1.0]
    assert added(build([{"mix": {"sample": "gan", "weight": 0.0}}])).is_empty()


def test_mix_refuses_to_take_more_users_than_the_sample_holds():
    with pytest.raises(ConfigError, match="asks for 60 users of gan, its sample holds 10"):
        build([{"mix": {"sample": "gan", "ratio": 2.0}}], n_sample=10)


def test_extend_puts_what_a_generator_guessed_before_or_after_short_histories_of_real_users():
    real = shop()
    ends = real.group_by("user_id").agg(
        first=pl.col("timestamp").min(), last=pl.col("timestamp").max(), n=pl.len()
    )
    short = set(ends.filter(pl.col("n") <= 4)["user_id"])
    for direction, sides in (("left", 1), ("right", 1), ("both", 2)):
        step = {"sample": "gan", "direction": direction, "max_length": 4, "items": 2, "weight": 0.5}
        new = added(build([{"extend": step}])).join(ends, on="user_id")
        assert set(new["user_id"]) == short and len(new) == len(short) * 2 * sides
        assert set(new["origin"]) == {"gan"} and set(new["weight"]) == {0.5}
        before, after = pl.col("timestamp") < pl.col("first"), pl.col("timestamp") > pl.col("last")
        assert new.select(
            (
                before if direction == "left" else after if direction == "right" else before | after
            ).all()
        ).item()
        assert set(new["item_id"].str.slice(-1)) == {"1", "2"}, "those nearest to the history"


def test_extend_refuses_a_generator_that_extended_nothing():
    with pytest.raises(ConfigError, match="no extensions of gan"):
        policy = Policy("p", [{"extend": {"sample": "gan"}}], seed=0)
        policy.apply(replace(inputs(shop()), sample_table=lambda generator, table: None))


def test_a_policy_is_what_its_most_artificial_operation_is():
    steps = {name: EXAMPLES.get(name, [{name: NEEDED.get(name, {})}]) for name in OPERATIONS}
    kinds = {name: Policy("p", some, seed=0).kind for name, some in steps.items()}
    assert kinds["mix"] == "generated" and kinds["truncate"] == "real"
    assert {
        kinds[n] for n in ("bootstrap", "crossover", "popularity_random", "noise", "expand")
    } == {"placebo"}
    assert {kinds[n] for n in ("split", "reweigh", "continue_champion")} == {"real"}
    assert Policy("none", [], seed=0).kind == "real"
    assert Policy("p", [{"truncate": {}}, {"bootstrap": {}}], seed=0).kind == "placebo"
    assert Policy("p", [{"bootstrap": {}}, {"mix": NEEDED["mix"]}], seed=0).kind == "generated"


def test_a_policy_that_continues_the_champion_leaves_the_rows_as_they_are_and_says_so():
    policy = Policy("p", [{"continue_champion": {}}, {"truncate": {}}], seed=0)
    assert policy.continues_champion and policy.kind == "real"
    assert not Policy("p", [{"truncate": {}}], seed=0).continues_champion
    assert build([{"continue_champion": {}}]).equals(build([]))


def test_a_policy_with_an_unknown_operation_or_option_is_refused():
    for steps in (
        [{"no_such_operation": {}}],
        [{"bootstrap": {"ration": 1}}],
        [{"bootstrap": {"ratio": -1}}],
        [{}],
    ):
        with pytest.raises(ConfigError):
            Policy("test", steps, seed=0)


def test_real_rows_that_are_not_canonical_are_refused():
    with pytest.raises(InputError, match="timestamp"):
        Policy("none", [], seed=0).apply(replace(inputs(shop()), real=shop().drop("timestamp")))


def test_a_policy_reads_only_the_samples_it_names():
    def refuse(name: str) -> pl.DataFrame:
        raise AssertionError(f"no policy here mixes in {name}")

    Policy("p", [{"bootstrap": {}}, {"truncate": {}}], seed=0).apply(
        PolicyInputs(shop(), refuse, 2.0)
    )


def test_a_generator_that_takes_no_part_in_the_run_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="other_gan"):
        Samples(["gan"], "my_policy")("other_gan")
    with pytest.raises(InputError, match="missing"):
        Samples(["gan"], "my_policy")("gan")


def test_times_of_made_up_users_stay_inside_the_training_time():
    last = START + timedelta(days=9)
    times = added(build([{"popularity_random": {}}]))["timestamp"]
    assert times.min() >= START and times.max() <= last
