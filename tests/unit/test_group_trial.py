"""Groups' choices, divided in time; and the trial of strategies on them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from augrec.data.canonical import canonical_tables
from augrec.data.clean import clean
from augrec.data.config import PrepareConfig
from augrec.data.group_choices import (
    GroupCase,
    Histories,
    group_cases,
    members_of,
    prepare_groups,
)
from augrec.data.group_tables import canonical_groups
from augrec.data.stored_groups import StoredGroups, read, size_class, write
from augrec.data.training_data import TrainingData
from augrec.groups import trial
from augrec.groups.base import find, names
from augrec.groups.judged import REAL, SHUFFLED, judged, quality
from augrec.groups.scores import GroupScores
from augrec.groups.trial import Evidence, run_trial
from augrec.recommenders.base import find as find_recommender
from augrec.reporting.together_tables import sentences, together

PARAMS = yaml.safe_load((Path(__file__).parents[2] / "params.yaml").read_text())
CONFIG = PrepareConfig.model_validate(PARAMS["prepare"])
START = datetime(2024, 1, 1, 20, tzinfo=UTC)
SETTINGS = {"min_groups": 20, "simpler_within": 0.25, "confidence": 0.95, "samples": 200}


def table(rows: list[tuple[str, str, int]], who: str = "user_id") -> pl.DataFrame:
    """(user or group, item, day)."""
    return pl.DataFrame(
        {
            who: [one[0] for one in rows],
            "item_id": [one[1] for one in rows],
            "event": "view",
            "timestamp": [START + timedelta(days=one[2]) for one in rows],
        }
    )


MEMBERS = pl.DataFrame({"group_id": ["g", "g", "h"], "user_id": ["u", "v", "u"]})


def test_what_groups_chose_is_divided_in_time_and_leaves_their_members() -> None:
    users = [("u", "a", 0), ("u", "c", 20), ("v", "c", 1), ("v", "d", 31), ("v", "d2", 0)]
    real = clean(canonical_tables(table(users)).interactions, CONFIG.positive)
    chosen = [("g", "b", 0), ("g", "b", 25), ("g", "c", 20), ("g", "d", 30), ("h", "d", 30)]
    found = prepare_groups(
        canonical_groups(MEMBERS, table(chosen, "group_id")),
        real,
        CONFIG,
        (START + timedelta(days=10), START + timedelta(days=30)),
    )
    assert found.choices.select("group_id", "item_id", "period").rows() == [
        ("g", "b", "known"),  # its first choice of b
        ("g", "c", "valid"),
        ("g", "d", "test"),  # a choice at a cut belongs to the later period
        ("h", "d", "test"),
    ]
    # v met c long before; u's c is of that evening, v's d of the next
    assert found.withheld.rows() == [("u", "c"), ("v", "d")]
    past = Histories(real, found.withheld)
    assert past.before("u", START + timedelta(days=40)) == ["a"]
    assert past.before("v", START) == [] and past.since("v", START) == ["d2", "c"]
    assert past.before("nobody", START) == []
    members = members_of(MEMBERS)
    assert group_cases(found.choices, members, "valid") == [
        GroupCase("g", ["u", "v"], START + timedelta(days=20), ["b"], ["c"])
    ]
    [first, second] = group_cases(found.choices, members, "test")
    assert (first.own, second.own, second.targets) == (["b", "c"], [], ["d"])


def test_without_common_cuts_choices_are_cut_at_quantiles() -> None:
    chosen = table([("g", f"i{n}", n) for n in range(21)], "group_id")
    real = clean(canonical_tables(table([("u", "a", 0)])).interactions, CONFIG.positive)
    found = prepare_groups(canonical_groups(MEMBERS, chosen), real, CONFIG, None)
    assert found.choices["period"].value_counts(sort=True).rows() == [
        ("known", 14),
        ("test", 4),
        ("valid", 3),
    ]
    nobody = prepare_groups(canonical_groups(MEMBERS), real, CONFIG, None)
    assert nobody.choices.is_empty() and nobody.withheld.is_empty()


def world(
    seed: int, *, secret: bool, n_groups: int = 60, n_items: int = 60
) -> tuple[pl.DataFrame, Evidence]:
    """Users of two tastes, even items and odd ones, in pairs. Each pair chooses twice: with
    `secret` what its members' shared taste makes likely, else any item."""
    draw = np.random.default_rng(seed)
    rows, cases, members = [], {"valid": [], "test": []}, {}
    for group in range(n_groups):
        taste = int(draw.integers(2))
        pair = [f"u{2 * group}", f"u{2 * group + 1}"]
        members[f"g{group:03}"] = pair
        met: set[int] = set()
        for user in pair:
            items = draw.permutation(n_items // 2)[:4] * 2 + taste
            met |= set(items.tolist())
            rows += [(user, f"i{item:02}", 0) for item in items]
        able = [one for one in range(n_items) if one not in met]
        if secret:
            able = [one for one in able if one % 2 == taste]
        for period, item in zip(cases, draw.permutation(able)[:2], strict=True):
            moment = START + timedelta(days=10)
            cases[period].append(GroupCase(f"g{group:03}", pair, moment, [], [f"i{item:02}"]))
    everything = [("collector", f"i{item:02}", 0) for item in range(n_items)]
    interactions = canonical_tables(table([*rows, *everything])).interactions
    nothing = pl.DataFrame(schema={"user_id": pl.String, "item_id": pl.String})
    flat = np.ones(n_items)
    evidence = Evidence(
        valid=cases["valid"],
        test=cases["test"],
        histories=Histories(interactions, nothing),
        members=members,
        users=[user for pair in members.values() for user in pair],
        popularity={"valid": flat, "test": flat},
    )
    return interactions, evidence


def tried(seed: int, *, secret: bool) -> dict:
    interactions, evidence = world(seed, secret=secret)
    model = find_recommender("ease")({"l2": 5.0}).fit(TrainingData(interactions))
    return run_trial(model, evidence, seed=seed, **SETTINGS)


def test_groups_whose_members_share_a_taste_are_served_by_it() -> None:
    found = tried(0, secret=True)
    n = found["n"]["test"]
    assert 20 < n < 60  # what a placebo's member has met counts for nobody
    rows = {(row["kind"], row["size"]): row for row in found["rows"]}
    row = rows["ad_hoc", "all"]
    assert rows["ad_hoc", "2"]["n_test"] == n and ("ad_hoc", "5+") not in rows
    assert row["differences"]["shuffled"][1] > 0.02
    assert row["test"]["average"] > row["test"]["average, strangers"]
    # nothing is known of the groups' own choices
    assert rows["persistent", "all"]["chosen"] is None
    assert rows["persistent", "all"]["serves"] == "average"
    decision = {"together": found | {"n_groups": 60, "n_choices": 120}}
    shown = together(decision)
    assert shown is not None and "60 groups with 120 choices" in shown["facts"]
    assert len(sentences(decision)) == 2 and "too few groups" in sentences(decision)[0]
    assert together({}) is None and sentences({}) == []
    assert tried(0, secret=True) == found


def test_members_that_say_nothing_win_no_more_than_by_chance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What groups choose has nothing to do with their members: of 100 trials, real members are
    better than shuffled ones no more often than the nominal rate lets through, 2.5 % on this side
    (more than 7 of 100 come with p < .01), and fewer are promoted."""
    monkeypatch.setattr(trial, "names", lambda: ["average", "least_misery", "own_row"])
    promoted = better = 0
    for seed in range(100):
        interactions, evidence = world(seed, secret=False, n_groups=26)
        model = find_recommender("ease")({"l2": 5.0}).fit(TrainingData(interactions))
        found = run_trial(model, evidence, seed=seed, **SETTINGS | {"min_groups": 12})
        [row] = [one for one in found["rows"] if (one["kind"], one["size"]) == ("ad_hoc", "all")]
        promoted += row["promoted"]
        better += row["differences"]["shuffled"][1] > 0
    assert promoted <= better <= 7


def test_a_target_that_a_placebos_member_has_met_counts_for_nobody() -> None:
    interactions, evidence = world(3, secret=False)
    model = find_recommender("ease")().fit(TrainingData(interactions))
    [case] = evidence.test[:1]
    stranger = interactions.filter(pl.col("item_id") == case.targets[0])["user_id"][0]
    arrangements = {REAL: evidence.members, SHUFFLED: {case.group: [stranger, stranger]}}
    assert list(judged(model, [case], evidence.histories, {REAL: evidence.members}))
    assert not list(judged(model, [case], evidence.histories, arrangements))


def test_lists_and_scores_are_judged_alike() -> None:
    group = GroupScores.of_members(np.array([[5.0, 4.0, 3.0, 2.0, 1.0, 0.0]]))
    for name in names():
        if not find(name).learns:
            # of two targets each stands second among what is not the other
            found = quality(find(name)(), group, np.array([1, 2]))
            assert found == pytest.approx(1 / np.log2(3)), name


@pytest.mark.parametrize("name", [name for name in names() if not find(name).learns])
def test_the_worst_member_never_gains_by_dropping_ratings(name: str) -> None:
    """Of three members one's ratings are dropped in part: with what is known then, the member who
    is worst off is served no better, on average over 200 groups."""
    draw = np.random.default_rng(0)
    whole, less = [], []
    for _ in range(200):
        tastes = draw.random((3, 30))
        told = tastes.copy()
        told[0, draw.permutation(30)[:15]] = 0.0
        for scores, found in ((tastes, whole), (told, less)):
            strategy, group = find(name)(), GroupScores.of_members(scores)
            listed, _ = strategy.choose(group, 5)
            truth = GroupScores.of_members(tastes)
            found.append(strategy.satisfaction(truth, listed).min())
    assert np.mean(less) <= np.mean(whole)


def test_groups_are_stored_as_they_were_chosen_for(tmp_path: Path) -> None:
    rows = [
        {"kind": "persistent", "size": "all", "serves": "attention", "promoted": True},
        {"kind": "persistent", "size": "3-4", "serves": "borda", "promoted": True},
    ]
    chosen = pl.DataFrame(
        {"group_id": ["g", "g"], "item_id": ["b", "a"], "timestamp": [START, START]}
    )
    write(tmp_path / "groups", MEMBERS, chosen, {"rows": rows, "weights": {"persistent": [1.0]}})
    found = read(tmp_path / "groups")
    assert found.members == {"g": ["u", "v"], "h": ["u"]}
    assert found.chosen == {"g": ["a", "b"], "h": []}
    assert found.weights == {"persistent": [1.0]}
    assert [found.serves("persistent", n) for n in (2, 3, 9)] == ["attention", "borda", "attention"]
    assert found.serves("ad_hoc", 2) == "average"
    assert read(tmp_path / "no such") == StoredGroups()
    assert [size_class(n) for n in (1, 2, 3, 4, 5, 50)] == ["2", "2", "3-4", "3-4", "5+", "5+"]
