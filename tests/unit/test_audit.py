"""What the audit must catch, what it must let pass, and that it measures what it says."""

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from augrec.audit.config import AuditConfig
from augrec.audit.inputs import AuditInputs
from augrec.audit.limit_checks import check_limits
from augrec.audit.sample_audit import audit_sample
from augrec.core.errors import ConfigError, InputError
from augrec.data.columns import INTERACTIONS
from augrec.data.popularity_sampling import draw_distinct

LIMITS = {
    "min_item_coverage": 0.3,
    "max_duplicate_share": 0.05,
    "max_copy_share": 0.01,
    "max_attack_auc": 0.65,
}
CONFIG = AuditConfig(limits=LIMITS, bootstrap_samples=100, top_items=40)
VALID_FROM, TEST_FROM = datetime(2024, 3, 1, tzinfo=UTC), datetime(2024, 4, 1, tzinfo=UTC)
N_ITEMS, N_TASTES = 120, 4


def table(
    profiles: list[np.ndarray], prefix: str, origin: str = "real", event: str = "view"
) -> pl.DataFrame:
    """Canonical interactions before validation begins."""
    rows = [
        (f"{prefix}{user:04}", f"i{item:03}")
        for user, profile in enumerate(profiles)
        for item in profile
    ]
    frame = pl.DataFrame(
        rows, schema={"user_id": pl.String, "item_id": pl.String}, orient="row"
    ).with_columns(
        event=pl.lit(event),
        value=pl.lit(None),
        timestamp=pl.lit(VALID_FROM - timedelta(days=9)),
        origin=pl.lit(origin),
        weight=pl.lit(1.0),
    )
    return frame.select(list(INTERACTIONS)).cast(dict(INTERACTIONS))


def people(n: int, seed: int) -> list[np.ndarray]:
    """Profiles of 5 to 24 items: mostly those of one's taste, the popular ones among them first."""
    rng = np.random.default_rng(seed)
    items, profiles = np.arange(N_ITEMS), []
    for _ in range(n):
        liked = items % N_TASTES == rng.integers(N_TASTES)
        chances = np.where(liked, 12.0, 1.0) / (10 + items)
        profiles.append(
            rng.choice(N_ITEMS, rng.integers(5, 25), replace=False, p=chances / chances.sum())
        )
    return profiles


MEMBERS, OTHERS, TESTED = people(160, 1), people(90, 2), people(40, 3)


def evidence(
    tested: list[np.ndarray] = TESTED, others: list[np.ndarray] = OTHERS, **changes
) -> AuditInputs:
    training, valid, test = table(MEMBERS, "m"), table(others, "v"), table(tested, "t")
    held_out = pl.DataFrame(
        {
            "user_id": valid["user_id"].unique().to_list() + test["user_id"].unique().to_list(),
            "role": ["valid"] * valid["user_id"].n_unique() + ["test"] * test["user_id"].n_unique(),
        },
        schema={"user_id": pl.String, "role": pl.String},
    )
    parts = {
        "training": training,
        "interactions": pl.concat([training, valid, test]),
        "held_out": held_out,
        "valid_from": VALID_FROM,
        "test_from": TEST_FROM,
    }
    return AuditInputs(**{**parts, **changes})


def audit(
    profiles: list[np.ndarray],
    config: AuditConfig = CONFIG,
    given: AuditInputs | None = None,
    **options,
):
    sample = table(profiles, "synthetic:fake:", "fake", **options)
    return audit_sample(sample, given or evidence(), config, generator="fake", seed=4)


def independent() -> list[np.ndarray]:
    """Popularity without taste."""
    lengths = np.array([len(profile) for profile in MEMBERS])
    popularity = np.bincount(np.concatenate(MEMBERS), minlength=N_ITEMS).astype(float)
    drawn = draw_distinct(lengths, np.maximum(popularity, 1e-9), np.random.default_rng(8))
    return np.split(drawn, np.cumsum(lengths)[:-1])


def blurred(share: float) -> list[np.ndarray]:
    """Members, with a share of each profile replaced by items drawn at random."""
    rng = np.random.default_rng(9)
    kept = [
        rng.permutation(profile)[: max(1, round(len(profile) * (1 - share)))] for profile in MEMBERS
    ]
    known = np.unique(np.concatenate(MEMBERS))
    return [
        np.concatenate(
            [part, rng.choice(np.setdiff1d(known, part), len(profile) - len(part), replace=False)]
        )
        for part, profile in zip(kept, MEMBERS, strict=True)
    ]


def test_new_users_of_the_same_kind_pass_and_the_attack_finds_no_one():
    verdict, _ = audit(people(160, 11))
    assert verdict["passed"] and verdict["failed_limits"] == []
    privacy = verdict["privacy"]
    assert privacy["attack_auc_low"] < 0.5 < privacy["attack_auc_high"]
    assert abs(privacy["nearest_training"] - privacy["nearest_held_out"]) < 0.03
    assert privacy["copy_share"] == 0
    fidelity = verdict["fidelity"]
    assert fidelity["popularity_correlation"] > 0.8 and fidelity["pair_correlation"] > 0.5
    assert fidelity["length_ks"] < 0.2


def test_a_memoriser_fails():
    verdict, _ = audit(MEMBERS)
    assert not verdict["passed"]
    assert {"max_copy_share", "max_attack_auc"} <= set(verdict["failed_limits"])
    assert verdict["privacy"]["copy_share"] == 1.0
    assert verdict["privacy"]["attack_auc"] > 0.95
    assert verdict["privacy"]["attack_tpr_at_1_percent_fpr"] > 0.8
    assert verdict["privacy"]["nearest_training"] > verdict["privacy"]["nearest_held_out"] + 0.2


def test_a_memoriser_that_blurs_its_copies_is_still_caught_by_the_attack():
    verdict, _ = audit(blurred(0.3))
    assert verdict["privacy"]["copy_share"] == 0
    assert verdict["failed_limits"] == ["max_attack_auc"]


def test_popularity_noise_is_private_and_useless_as_a_likeness():
    verdict, _ = audit(independent())
    assert verdict["privacy"]["attack_auc"] < 0.6
    assert verdict["fidelity"]["popularity_correlation"] > 0.8
    assert abs(verdict["fidelity"]["pair_correlation"]) < 0.2


def test_without_cuts_in_time_copies_are_found_by_all_that_users_did():
    given = evidence(valid_from=None, test_from=None)
    honest, _ = audit(people(160, 11), given=given)
    caught, _ = audit(MEMBERS, given=given)
    assert honest["privacy"]["footing"] == "everything"
    assert honest["passed"]
    assert caught["privacy"]["attack_auc"] > 0.95


def test_without_held_out_users_no_sample_passes():
    no_users = pl.DataFrame(schema={"user_id": pl.String, "role": pl.String})
    verdict, _ = audit(
        people(160, 11), given=evidence(valid_from=None, test_from=None, held_out=no_users)
    )
    assert verdict["privacy"]["attack_auc"] is None
    assert "max_attack_auc" in verdict["failed_limits"]
    assert "held_out_users" in verdict["advice"]
    assert audit(MEMBERS)[0]["advice"] is None, "it failed by what was measured"


def test_a_generator_that_repeats_one_person_fails_on_diversity():
    verdict, _ = audit([people(1, 12)[0]] * 160)
    assert {"min_item_coverage", "max_duplicate_share"} <= set(verdict["failed_limits"])
    diversity = verdict["diversity"]
    assert diversity["effective_neighbours"] == pytest.approx(1.0)
    assert diversity["effective_neighbours"] < diversity["effective_neighbours_real"] / 10


def test_longer_histories_of_members_do_not_make_an_attack():
    short = [profile[:5] for profile in OTHERS[:60]] + OTHERS[60:]
    verdict, _ = audit(people(160, 11), given=evidence(others=short))
    assert verdict["privacy"]["attack_auc_low"] < 0.52
    assert verdict["privacy"]["control_auc"] < 0.62


def test_test_users_have_a_part_in_the_question_whether_they_were_seen_and_in_nothing_else():
    verdict, drawn = audit(people(160, 11))
    others, drawn_others = audit(people(160, 11), given=evidence(tested=people(40, 77)))
    assert drawn == drawn_others
    for part in ("fidelity", "diversity", "privacy", "utility"):
        assert verdict[part] == others[part]
    assert verdict["leak"] != others["leak"]


def test_validation_users_count_by_what_they_did_before_validation_if_that_is_enough():
    later = table(people(40, 21), "v").with_columns(
        timestamp=pl.lit(VALID_FROM + timedelta(days=1)).cast(INTERACTIONS["timestamp"])
    )
    given = evidence()
    wider = AuditInputs(**{**vars(given), "interactions": pl.concat([given.interactions, later])})
    verdicts = [audit(people(160, 11), given=one)[0] for one in (wider, given)]
    assert verdicts[0]["privacy"] == verdicts[1]["privacy"]
    picky = CONFIG.model_copy(update={"min_non_members": 1000})
    assert audit(people(160, 11), picky, wider)[0]["privacy"]["footing"] == "before_test"
    assert audit(people(160, 11), given=wider)[0]["privacy"]["footing"] == "before_validation"


def test_without_users_to_compare_the_attack_is_unknown_and_its_limit_fails():
    verdict, distributions = audit(people(160, 11), given=evidence(others=[]))
    assert verdict["privacy"]["attack_auc"] is None and distributions["roc"] is None
    assert verdict["failed_limits"] == ["max_attack_auc"]


def test_short_profiles_are_neither_copies_nor_duplicates():
    verdict, _ = audit(people(160, 11) + [MEMBERS[0][:1]] * 100)
    assert verdict["diversity"]["duplicate_share"] == 0
    assert verdict["privacy"]["copy_share"] == 0


def test_attributes_that_come_with_a_sample_are_compared_with_those_of_its_users():
    colours = ["red", "green", "blue", "grey"]
    all_users = [f"{kind}{at:04}" for kind, n in (("m", 160), ("v", 90)) for at in range(n)]
    rng = np.random.default_rng(3)
    users = pl.DataFrame(
        {"user_id": all_users, "colour": rng.choice(colours, len(all_users)).tolist()}
    )
    stolen = users.head(160).with_columns(
        pl.concat_str(pl.lit("synthetic:fake:"), pl.col("user_id").str.tail(4)).alias("user_id")
    )
    given = evidence(users=users, sample_users=stolen)
    assert audit(MEMBERS, given=given)[0]["privacy"]["attribute_disclosure"] > 0.9
    assert audit(people(160, 11), given=given)[0]["privacy"]["attribute_disclosure_low"] < 0.1
    assert "attribute_disclosure" not in audit(MEMBERS)[0]["privacy"]


def test_the_event_mix_is_compared():
    assert audit(people(160, 11))[0]["fidelity"]["event_distance"] == 0.0
    verdict, distributions = audit(people(160, 11), event="purchase")
    assert verdict["fidelity"]["event_distance"] == 1.0
    assert set(distributions["events"]["names"]) == {"view", "purchase"}


def test_category_shares_are_compared_where_items_have_categories():
    items = pl.DataFrame(
        {
            "item_id": [f"i{item:03}" for item in range(N_ITEMS)],
            "categories": [[f"taste {item % N_TASTES}"] for item in range(N_ITEMS)],
        }
    )
    assert audit(people(160, 11))[0]["fidelity"]["category_distance"] is None
    near = audit(people(160, 11), given=evidence(items=items))[0]["fidelity"]["category_distance"]
    one_taste = [profile[profile % N_TASTES == 0] for profile in people(160, 11)]
    far = audit(one_taste, given=evidence(items=items))[0]["fidelity"]["category_distance"]
    assert near < 0.1 < 0.6 < far


def test_the_distributions_can_be_drawn_and_count_everybody():
    _, distributions = audit(people(160, 11))
    json.dumps(distributions, allow_nan=False)
    lengths, neighbours, roc = (distributions[name] for name in ("lengths", "neighbours", "roc"))
    assert sum(lengths["real"]) == sum(lengths["synthetic"]) == 160
    assert len(lengths["edges"]) == len(lengths["real"]) + 1
    assert sum(neighbours["training"]) == sum(neighbours["held_out"]) == 160
    assert sum(distributions["popularity"]["real"]) == pytest.approx(1.0)
    assert roc["true_positive_rate"] == sorted(roc["true_positive_rate"])
    assert (roc["false_positive_rate"][0], roc["true_positive_rate"][-1]) == (
        0.0,
        pytest.approx(1.0),
    )


def test_the_same_seed_gives_the_same_verdict():
    assert audit(people(160, 11)) == audit(people(160, 11))


def test_few_compared_users_give_a_similar_verdict():
    few = CONFIG.model_copy(update={"max_users": 60})
    assert audit(MEMBERS, few)[0]["privacy"]["attack_auc"] > 0.9
    assert audit(people(160, 11), few)[0]["privacy"]["attack_auc"] < 0.65


def test_a_sample_that_cannot_be_judged_is_refused():
    with pytest.raises(InputError, match="empty"):
        audit([])
    with pytest.raises(InputError, match="no training user touched"):
        audit([np.array([1, 2, 999])])
    with pytest.raises(InputError, match="real"):
        audit_sample(table(MEMBERS, "m"), evidence(), CONFIG, generator="fake", seed=1)


def test_limits_are_held_against_their_measures():
    measures = {
        "item_coverage": 0.5,
        "attack_auc": None,
        "copy_share": 0.01,
        "footing": "before_test",
    }
    limits = {"min_item_coverage": 0.6, "max_attack_auc": 0.9, "max_copy_share": 0.01}
    assert check_limits(measures, limits) == {
        "min_item_coverage": "broken",
        "max_attack_auc": "broken",
        "max_copy_share": "kept",
    }
    for name in ("max_beauty", "item_coverage", "max_footing"):
        with pytest.raises(ConfigError, match=name):
            check_limits(measures, {name: 1.0})


@pytest.mark.parametrize(
    ("low", "high", "bias", "verdict"),
    [
        (0.5, 0.6, None, "kept"),
        (0.6, 0.7, None, "undecided"),
        (0.7, 0.8, None, "broken"),
        (0.7, 0.8, 0.1, "undecided"),
        (0.7, 0.74, 0.1, "kept"),
    ],
)
def test_a_limit_inside_the_interval_decides_nothing_and_what_is_no_fault_is_taken_off(
    low, high, bias, verdict
):
    measures = {"auc": (low + high) / 2, "auc_low": low, "auc_high": high, "auc_bias": bias}
    assert check_limits(measures, {"max_auc": 0.65}) == {"max_auc": verdict}


def test_what_cannot_be_decided_passes_or_blocks_as_asked():
    few = evidence(others=OTHERS[:12])
    limits = {"max_attack_auc": 0.65}
    verdicts = [
        audit(people(160, 11), AuditConfig(limits=limits, min_non_members=2, undecided=what), few)[
            0
        ]
        for what in ("pass", "block")
    ]
    assert [verdict["undecided_limits"] for verdict in verdicts] == [["max_attack_auc"]] * 2
    assert [verdict["failed_limits"] for verdict in verdicts] == [[], ["max_attack_auc"]]
    assert (
        verdicts[0]["privacy"]["attack_auc_low"] == 0.0
        and verdicts[0]["privacy"]["attack_auc_high"] == 1.0
    )
