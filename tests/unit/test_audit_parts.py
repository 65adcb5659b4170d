"""What the audit says of rows, of what is given away, and of use, against planted truths."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp

from augrec.audit.config import AuditConfig, UtilityConfig
from augrec.audit.disclosure import attribute_disclosure, item_disclosure
from augrec.audit.inputs import AuditInputs, ProfileSets
from augrec.audit.rows import row_fidelity
from augrec.audit.utility import utility
from augrec.data.attribute_labels import range_labels, to_labels
from augrec.data.columns import INTERACTIONS
from augrec.generators._conditions import Conditions

CONFIG = AuditConfig(bootstrap_samples=200)
START = datetime(2024, 1, 1, tzinfo=UTC)
N_ITEMS, N_TASTES = 120, 4


def drawn(n: int, seed: int, taste: float = 40.0) -> list[np.ndarray]:
    """Profiles of 6 to 24 items; with a taste for a quarter of the items, or without."""
    rng, items, profiles = np.random.default_rng(seed), np.arange(N_ITEMS), []
    for _ in range(n):
        chances = np.where(items % N_TASTES == rng.integers(N_TASTES), taste, 1.0) / (10 + items)
        profiles.append(
            rng.choice(N_ITEMS, rng.integers(6, 25), replace=False, p=chances / chances.sum())
        )
    return profiles


def rows(
    profiles: list[np.ndarray],
    prefix: str,
    origin: str = "real",
    pause_minutes: int = 10,
    value: float | None = None,
):
    """Canonical interactions, a fixed time between two of a person."""
    lengths = [len(profile) for profile in profiles]
    places = np.concatenate([np.arange(n) for n in lengths])
    table = pl.DataFrame(
        {
            "user_id": np.repeat(
                [f"{prefix}{at:04}" for at in range(len(profiles))], lengths
            ).tolist(),
            "item_id": [f"i{item:03}" for item in np.concatenate(profiles)],
            "timestamp": [START + timedelta(minutes=pause_minutes * int(at)) for at in places],
        }
    )
    table = table.with_columns(
        event=pl.lit("rating"), value=pl.lit(value), origin=pl.lit(origin), weight=pl.lit(1.0)
    )
    return table.select(list(INTERACTIONS)).cast(dict(INTERACTIONS))


def zero_one(profiles: list[np.ndarray]) -> sp.csr_matrix:
    table = np.zeros((len(profiles), N_ITEMS), np.float32)
    for row, profile in zip(table, profiles, strict=True):
        row[profile] = 1
    return sp.csr_matrix(table)


MEMBERS, OTHERS, FRESH = drawn(200, 1), drawn(120, 2), drawn(200, 3)


def people(synthetic: list[np.ndarray]) -> ProfileSets:
    return ProfileSets(zero_one(MEMBERS), zero_one(OTHERS), zero_one(synthetic))


def test_pauses_and_values_are_compared():
    real = rows(MEMBERS, "m", value=3.0)
    same, shown = row_fidelity(real, rows(FRESH, "s", value=3.0), None)
    assert same["gap_ks"] == 0 and same["value_ks"] == 0 and same["later_share"] == 0
    assert shown["values"] == {"names": ["3"], "real": [1.0], "synthetic": [1.0]}
    hasty, _ = row_fidelity(real, rows(FRESH, "s", pause_minutes=1, value=5.0), None)
    assert hasty["gap_ks"] == 1 and hasty["value_ks"] == 1
    late, _ = row_fidelity(real, rows(FRESH, "s", pause_minutes=10_000, value=3.0), None)
    assert late["later_share"] > 0.5


def test_values_that_only_one_side_has_are_as_far_apart_as_can_be():
    assert row_fidelity(rows(MEMBERS, "m", value=3.0), rows(FRESH, "s"), None)[0]["value_ks"] == 1.0
    assert row_fidelity(rows(MEMBERS, "m"), rows(FRESH, "s"), None)[0]["value_ks"] is None


def test_many_different_values_become_a_histogram():
    real = rows(MEMBERS, "m").with_columns(value=pl.int_range(pl.len()).cast(pl.Float32))
    _, shown = row_fidelity(real, real, None)
    assert "values" not in shown
    assert sum(shown["value_bins"]["real"]) == sum(shown["value_bins"]["synthetic"]) == len(real)


def test_a_copy_gives_hidden_items_away_and_a_fresh_sample_does_not():
    copied = item_disclosure(people(MEMBERS), CONFIG, seed=1)
    assert copied["item_disclosure"] > 0.9 and copied["item_disclosure_low"] > 0.8
    honest = item_disclosure(people(FRESH), CONFIG, seed=1)
    assert honest["item_disclosure_low"] < 0 < honest["item_disclosure_high"]
    assert 0 < honest["item_disclosure_chance"] < 0.5


def test_the_attribute_that_a_copy_carries_is_given_away():
    """Real incomes are numbers, those of a sample ranges, of which it need not hold all."""
    rng = np.random.default_rng(5)

    def attributes(n: int) -> pl.DataFrame:
        return pl.DataFrame(
            {
                "user_id": [str(at) for at in range(n)],
                "colour": rng.choice(["red", "blue"], n).tolist(),
                "income": rng.normal(50, 9, n).tolist(),
            }
        )

    def drawn_like(users: pl.DataFrame) -> pl.DataFrame:
        return Conditions.of(users["user_id"].to_numpy(), np.ones(200), users, 32).attributes(
            np.arange(200)
        )

    known, others = attributes(200), attributes(120)
    secret = drawn_like(known).with_columns(drawn_like(attributes(200))["colour"])
    copied = attribute_disclosure(people(MEMBERS), (known, others, secret), CONFIG, seed=1)
    assert copied["attribute_disclosed"] == "income" and copied["attribute_disclosure_low"] > 0.9
    honest = attribute_disclosure(
        people(FRESH), (known, others, drawn_like(attributes(200))), CONFIG, seed=1
    )
    assert honest["attribute_disclosure_low"] < 0.1


def test_a_number_counts_as_the_range_it_is_in_and_who_tells_none_as_unknown():
    ages = pl.Series("age", [18, 25, 26, None, 70])
    labels = [">45", "<=45", "<=25", "unknown"]
    assert to_labels(ages, labels).to_list() == ["<=25", "<=25", "<=45", "unknown", ">45"]
    assert to_labels(ages, ["18", "25"]).to_list() == ["18", "25", "26", "unknown", "70"]
    assert to_labels(ages.cast(pl.String), labels).to_list() == ["18", "25", "26", "unknown", "70"]
    assert range_labels([1234567.8, 25.0, 1234567.9]) == ["<=25", "<=1.23457e+06", ">1.23457e+06"]


@pytest.fixture(scope="module")
def evidence() -> AuditInputs:
    profiles = drawn(80, 6)
    cases = pl.DataFrame(
        {
            "user_id": [f"v{at}" for at in range(80)],
            "slice": ["1-5"] * 40 + ["6-20"] * 40,
            "moment": [START] * 80,
            "history": [[f"i{item:03}" for item in profile[:3]] for profile in profiles],
            "targets": [[f"i{item:03}" for item in profile[3:]] for profile in profiles],
        }
    )
    no_users = pl.DataFrame(schema={"user_id": pl.String, "role": pl.String})
    return AuditInputs(rows(MEMBERS, "m"), rows(MEMBERS, "m"), no_users, None, None, cases=cases)


def told(synthetic: list[np.ndarray], evidence: AuditInputs) -> dict:
    knobs = {"confidence": 0.95, "samples": 200}
    return utility(rows(synthetic, "s", "fake"), evidence, UtilityConfig(), knobs, seed=1)


def test_the_data_itself_teaches_what_the_data_teaches(evidence):
    same = told(MEMBERS, evidence)
    assert same["tstr"] == same["trtr"] > same["popularity"]
    assert (same["tstr_ratio"], same["tstr_difference"]) == (1.0, 0.0)
    assert set(same["slices"]) == {"1-5", "6-20"}
    assert same["slices"]["1-5"]["n_users"] == 40


def test_users_alike_teach_taste_and_users_without_taste_do_not(evidence):
    fresh, tasteless = told(FRESH, evidence), told(drawn(200, 9, taste=1.0), evidence)
    assert fresh["tstr_ratio"] > 0.8
    assert tasteless["tstr_difference_high"] < 0
    assert tasteless["tstr"] < fresh["tstr"]


def test_large_catalogues_are_learned_by_a_recommender_that_can_hold_them(evidence):
    config = UtilityConfig(large_catalogue=10)
    found = utility(
        rows(FRESH, "s", "fake"), evidence, config, {"confidence": 0.95, "samples": 50}, seed=1
    )
    assert found["recommender"] == "item_knn"


def test_without_cases_there_is_no_utility(evidence):
    assert set(told(FRESH, replace(evidence, cases=None)).values()) == {None}
