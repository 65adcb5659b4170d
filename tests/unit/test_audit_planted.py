"""Planted truths: samples of generators that remember people, or saw people they must not have
seen, and honest ones."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from augrec.audit.config import AuditConfig
from augrec.audit.inputs import AuditInputs
from augrec.audit.sample_audit import audit_sample
from augrec.core.config import read_params, section
from augrec.data.clean import clean
from augrec.data.config import PrepareConfig
from augrec.data.simulate import ShopConfig, simulate
from augrec.data.split import Split, split
from augrec.data.training_data import TrainingData
from augrec.generators.profile_gan import ProfileGan

PARAMS = read_params(Path(__file__).parents[2])
CONFIG = AuditConfig.model_validate(PARAMS["audit"])
SEEDS, FITTED_SEEDS = (1, 2, 3), (1, 2)
REMEMBERED = {"max_attack_auc", "max_singled_out_share"}
SEEN = {"max_leak_auc", "max_leak_singled_out_share"}


@cache
def shop(seed: int) -> tuple[pl.DataFrame, Split]:
    """All clean interactions of a simulated shop, and its split by time."""
    tables = simulate(ShopConfig(n_users=400, n_items=200, n_interactions=12_000), seed=seed)
    prepare = PrepareConfig.model_validate(PARAMS["prepare"])
    interactions = clean(tables.interactions, prepare.positive, min_item_interactions=1)
    return interactions, split(interactions, prepare.split, seed=seed)


def audit(sample: pl.DataFrame, seed: int) -> dict:
    interactions, parts = shop(seed)
    given = AuditInputs(
        training=parts.train,
        interactions=interactions,
        held_out=parts.held_out,
        valid_from=parts.valid_from,
        test_from=parts.test_from,
        cases=parts.cases_valid,
    )
    return audit_sample(sample, given, CONFIG, generator="planted", seed=seed)[0]


def republished(rows: pl.DataFrame, changed: float, seed: int) -> pl.DataFrame:
    """The people of `rows` under new names, a share of each one's items changed for others that
    training users touched."""
    known = shop(seed)[1].train["item_id"].unique().sort().to_numpy().astype(str)
    rng, parts = np.random.default_rng(seed), []
    rows = rows.filter(pl.col("item_id").is_in(known.tolist()))
    for number, person in enumerate(rows.partition_by("user_id", maintain_order=True)):
        items = person["item_id"].to_numpy().astype(object)
        places = rng.permutation(len(items))[: round(changed * len(items))]
        items[places] = rng.choice(
            np.setdiff1d(known, items.astype(str)), len(places), replace=False
        )
        parts.append(
            person.with_columns(
                pl.Series("item_id", items.tolist(), dtype=pl.String),
                origin=pl.lit("planted"),
                user_id=pl.lit(f"synthetic:planted:{number:08}"),
            )
        )
    return pl.concat(parts)


def held_out(role: str, seed: int) -> pl.DataFrame:
    interactions, parts = shop(seed)
    users = parts.held_out.filter(pl.col("role") == role)
    return interactions.join(users, on="user_id", how="semi", maintain_order="left")


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("changed", [0.1, 0.2, 0.3])
def test_a_generator_that_memorises_is_blocked_even_if_it_changes_a_part_of_each_profile(
    changed, seed
):
    verdict = audit(republished(shop(seed)[1].train, changed, seed), seed)
    assert not verdict["passed"]
    assert set(verdict["failed_limits"]) >= REMEMBERED


@pytest.mark.parametrize("role", ["valid", "test"])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_generator_that_saw_held_out_users_is_refused(seed, role):
    verdict = audit(republished(held_out(role, seed), 0.2, seed), seed)
    assert set(verdict["failed_limits"]) >= SEEN
    assert verdict["leak"]["leak_worst"].startswith(role)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_generator_that_saw_what_test_users_did_in_the_test_period_is_refused(seed):
    rows = held_out("test", seed).filter(pl.col("timestamp") >= shop(seed)[1].test_from)
    assert SEEN & set(audit(republished(rows, 0.2, seed), seed)["failed_limits"])


@pytest.mark.parametrize("seed", SEEDS)
def test_a_generator_that_saw_everybody_is_refused(seed):
    failed = set(audit(republished(shop(seed)[0], 0.2, seed), seed)["failed_limits"])
    assert {"max_singled_out_share", "max_leak_singled_out_share"} <= failed


@pytest.mark.parametrize("seed", FITTED_SEEDS)
def test_one_copy_among_ten_users_is_enough_to_be_blocked(seed):
    """The attack's area hardly moves for it; that one person stands out does."""
    train = shop(seed)[1].train
    n_users = train["user_id"].n_unique()
    honest = fitted(seed).sample(n_users, seed=seed)
    users = train["user_id"].unique().sort()[: n_users // 10 + 1]
    copies = republished(train.filter(pl.col("user_id").is_in(users.implode())), 0.1, seed)
    verdict = audit(pl.concat([honest, copies]), seed)
    assert {"max_singled_out_share", "max_copy_share"} & set(verdict["failed_limits"])


@cache
def fitted(seed: int) -> ProfileGan:
    generator = ProfileGan(section(PARAMS, "generators.profile_gan"), seed=seed)
    generator.fit(TrainingData(shop(seed)[1].train))
    return generator


@pytest.mark.parametrize("seed", FITTED_SEEDS)
def test_an_honest_generator_passes(seed):
    verdict = audit(fitted(seed).sample(shop(seed)[1].train["user_id"].n_unique(), seed=seed), seed)
    assert verdict["passed"], verdict["failed_limits"]
    assert verdict["leak"]["leak_singled_out_share"] < 0.05


def test_users_drawn_again_from_the_same_shop_pass_and_look_real():
    """The best sample there is: half of the training users, given out as synthetic ones of a
    generator that met the other half."""
    interactions, parts = shop(1)
    users = parts.train["user_id"].unique().sort()
    ours, theirs = (
        parts.train.filter(pl.col("user_id").is_in(users.gather_every(2, at).implode()))
        for at in (0, 1)
    )
    given = AuditInputs(
        training=ours,
        interactions=interactions,
        held_out=parts.held_out,
        valid_from=parts.valid_from,
        test_from=parts.test_from,
    )
    theirs = theirs.join(ours, on="item_id", how="semi", maintain_order="left").with_columns(
        origin=pl.lit("planted"), user_id=pl.lit("synthetic:planted:") + pl.col("user_id")
    )
    verdict = audit_sample(theirs, given, CONFIG, generator="planted", seed=1)[0]
    assert verdict["passed"], verdict["failed_limits"]
    fidelity, diversity = verdict["fidelity"], verdict["diversity"]
    assert fidelity["c2st_accuracy_low"] < 0.55
    assert diversity["precision"] > 0.85 and diversity["recall"] > 0.85
    assert diversity["coverage"] == pytest.approx(diversity["coverage_expected"], abs=0.12)
    assert diversity["density"] == pytest.approx(1.0, abs=0.25)
    assert fidelity["cluster_distance"] < 3 * fidelity["cluster_distance_chance"]
