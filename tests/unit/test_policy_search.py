"""The search for a mix, on samples of which one is known to help and one to do harm."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from test_policy_selectors import people

from augrec.augmentation.base import Policy
from augrec.augmentation.search import Search, find_search
from augrec.core.errors import ConfigError
from augrec.core.files import digest, read_json, write_json
from augrec.data.cases import CASES
from augrec.stages import augment
from augrec.tuning import mixing

PAIRS = [[f"a{n:02}", f"b{n:02}"] for n in range(20)]
"""Who takes one of a pair takes the other; the real training users are too few to tell."""
ITEMS = [item for pair in PAIRS for item in pair]
REAL = people([[item] for item in ITEMS])
GOOD = people(PAIRS * 2, "synthetic:good:", "good")
BAD = people(
    [[a, b] for (a, _), (_, b) in zip(PAIRS, PAIRS[7:] + PAIRS[:7], strict=True)] * 2,
    "synthetic:bad:",
    "bad",
)
VALID = pl.DataFrame(
    [
        {
            "user_id": f"v{n}",
            "slice": "1-5" if n % 2 else "6-20",
            "moment": datetime(2024, 6, 1, tzinfo=UTC),
            "history": pair[:1],
            "targets": pair[1:],
        }
        for n, pair in enumerate(PAIRS)
    ],
    schema=dict(CASES),
)
PROXY = {"item_knn": {"shrinkage": 0.0}}


def write(
    folder: Path,
    *steps: dict[str, Any],
    repetitions: int = 1,
    real: pl.DataFrame = REAL,
    cases: pl.DataFrame = VALID,
    blocked: tuple[str, ...] = (),
) -> Path:
    """A workspace with one policy, `found`; there are no test users in it."""
    for place in (
        "data/training_set",
        "data/prepared",
        "data/synthetic/good",
        "data/synthetic/bad",
    ):
        (folder / place).mkdir(parents=True, exist_ok=True)
    real.write_parquet(folder / "data/training_set/interactions.parquet")
    cases.write_parquet(folder / "data/training_set/cases_valid.parquet")
    real.select("user_id").write_parquet(folder / "data/training_set/users.parquet")
    real.select("item_id").write_parquet(folder / "data/prepared/items.parquet")
    for name, sample in (("good", GOOD), ("bad", BAD)):
        sample.write_parquet(folder / f"data/synthetic/{name}/interactions.parquet")
        write_json(folder / f"reports/audit/{name}/audit.json", {"passed": name not in blocked})
    write_json(folder / "data/prepared/split.json", {"rules": {"new_items": False}})
    params = {
        "seed": 1,
        "run": {"generators": ["good", "bad"], "repetitions": repetitions},
        "policies": {"found": list(steps)},
    }
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    return folder


@pytest.fixture
def found(tmp_path, monkeypatch):
    """Builds the policy of some steps; gives policy.json, the trials and the rows."""
    monkeypatch.chdir(tmp_path)

    def build(
        *steps: dict[str, Any], **options: Any
    ) -> tuple[dict[str, Any], pl.DataFrame, pl.DataFrame]:
        write(tmp_path, *steps, **options)
        augment.main("found")
        folder = tmp_path / "data/augmented/found"
        rows = pl.read_parquet(folder / "interactions.parquet")
        return read_json(folder / "policy.json"), pl.read_csv(folder / "trials.csv"), rows

    return build


def search(**options: Any) -> dict[str, Any]:
    known = {
        "samples": ["good", "bad"],
        "recommender": PROXY,
        "ratios": [1.0],
        "weights": [1.0],
        "seconds": None,
    }
    return {"search": known | options}


def test_the_sample_that_helps_is_found(found):
    told, trials, rows = found(search())
    assert told["search"]["chosen"]["samples"] == {"good": 1.0} and told["kind"] == "generated"
    assert told["samples"] == ["good"], "what was tried and not taken needs no audit"
    assert (
        told["search"]["value"]
        == trials["value"].max()
        > told["search"]["without"]
        == trials["value"][0]
    )
    assert set(rows["origin"]) == {"real", "good"} and told["origins"]["good"] == 80


def test_a_sample_whose_audit_did_not_pass_is_no_candidate(found):
    told, trials, rows = found(search(together=2), blocked=("good",))
    assert set(trials["samples"]) == {'"bad"'} and told["search"]["blocked"] == ["good"]
    assert told["search"]["chosen"] is None and (told["samples"], told["blocked"]) == ([], [])
    assert rows.equals(REAL)
    told, trials, _ = found(search(samples=["good", "bootstrap"]), blocked=("good", "bad"))
    assert set(trials["samples"]) == {'"bootstrap"'} and told["search"]["blocked"] == ["good"]


def test_where_every_audit_failed_or_is_missing_nothing_is_added_and_the_policy_says_why(found):
    told, trials, rows = found(search(), blocked=("good", "bad"))
    assert told["search"]["blocked"] == ["bad", "good"] and told["search"]["chosen"] is None
    assert (told["kind"], told["samples"], told["search"]["n_candidates"]) == ("real", [], 1)
    assert rows.equals(REAL) and len(trials) == 1
    assert told["search"]["value"] == told["search"]["without"] == trials["value"][0]


def test_where_nothing_helps_nothing_is_added(found):
    told, trials, rows = found(search(samples=["bad"], weights=[0.5, 1.0]))
    assert told["search"]["chosen"] is None and told["search"]["trial"] == 0
    assert (told["kind"], told["samples"], told["n_added_users"]) == ("real", [], 0)
    assert rows.equals(REAL) and trials["weight"][0] == 0.0


def test_a_placebo_that_helps_is_chosen_and_called_one(found):
    real = people([["c", "d"]] * 10 + [["e"]] * 15)
    wants_d = VALID.with_columns(history=pl.lit(["c"]), targets=pl.lit(["d"]))
    more_of_d = search(
        samples=["bootstrap"],
        pool=5.0,
        choose=[{"length": {"min": 2}}],
        recommender={"popularity": {}},
    )
    told, _, rows = found(more_of_d, real=real, cases=wants_d)
    assert told["search"]["chosen"]["samples"] == {"bootstrap": 1.0}
    assert (told["kind"], told["samples"]) == ("placebo", []) and set(rows["origin"]) == {
        "real",
        "bootstrap",
    }


def test_before_it_is_settled_a_policy_counts_as_what_it_may_become():
    of = {
        tuple(names): Policy("p", [search(samples=names)], seed=0)
        for names in (["truncate"], ["truncate", "crossover"], ["good", "crossover"])
    }
    assert [policy.kind for policy in of.values()] == ["real", "placebo", "generated"]
    assert of["good", "crossover"].generators == ("good",)


def test_few_candidates_are_all_tried_once_and_nothing_comes_first(found):
    told, trials, _ = found(search(together=2, ratios=[0.5, 1.0], weights=[0.5, 1.0], trials=50))
    assert (
        len(trials) == 1 + 3 * 2 * 2 == told["search"]["n_trials"] == told["search"]["n_candidates"]
    )
    assert not trials.select("samples", "ratio", "weight").is_duplicated().any()
    assert trials["weight"].to_list().count(0.0) == 1 and trials["weight"][0] == 0.0
    assert set(trials["samples"]) == {'"good"', '"bad"', '"good+bad"'}


def test_many_candidates_are_tried_as_far_as_the_trials_go_always_alike(found, tmp_path):
    steps = search(
        together=2, ratios=[0.25, 0.5, 0.75, 1.0], weights=[0.25, 0.5, 0.75, 1.0], trials=6
    )
    told, trials, _ = found(steps)
    before = digest(tmp_path / "data/augmented/found")
    assert len(trials) == 6 and trials["weight"][0] == 0.0 and told["search"]["n_candidates"] == 49
    assert told["search"]["out_of_time"] is False
    found(steps)
    assert digest(tmp_path / "data/augmented/found") == before


def test_time_ends_a_search_and_nothing_is_what_was_tried_by_then(found):
    told, trials, rows = found(search(seconds=1e-9))
    assert told["search"]["out_of_time"] is True and told["search"]["seconds"] == 1e-9
    assert len(trials) == 1 and trials["weight"][0] == 0.0 and rows.equals(REAL)


def test_the_other_operations_take_part_and_a_refused_candidate_is_no_end(found):
    told, trials, rows = found({"reweigh": {"by": "recency"}}, search(ratios=[1.0, 2.0]))
    assert (trials["state"] == "failed").sum() == 2, "the samples hold one user for each real one"
    assert told["search"]["chosen"]["ratio"] == 1.0 and rows["origin"].n_unique() == 2


def test_only_validation_users_of_the_slice_are_asked(found):
    told, _, _ = found(search(slice="1-5"))
    assert told["search"]["slice"] == "1-5" and told["search"]["chosen"]["samples"] == {"good": 1.0}
    with pytest.raises(ConfigError, match="no slice 'young'"):
        found(search(slice="young"))


def test_repetitions_keep_what_was_found(found, tmp_path):
    told, _, rows = found(search(choose=[{"length": {}}], ratios=[0.5]), repetitions=2)
    again = pl.read_parquet(tmp_path / "data/augmented/found/repetitions/1.parquet")
    assert again["origin"].value_counts(sort=True).equals(rows["origin"].value_counts(sort=True))
    assert not again.equals(rows) and told["search"]["chosen"]["ratio"] == 0.5


def test_a_policy_searches_once_and_a_search_needs_the_stage():
    with pytest.raises(ConfigError, match="searches 2 times"):
        find_search(Policy("p", [search(), search()], seed=0))
    assert find_search(Policy("p", [{"bootstrap": {}}], seed=0)) is None
    with pytest.raises(ConfigError, match="not been run"):
        Search(search()["search"]).apply(REAL, None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"recommender": {}}, "one recommender"),
        ({"recommender": {"nobody": {}}}, "nobody"),
        ({"metric": "auc"}, "no metric"),
    ],
)
def test_a_search_that_cannot_be_made_is_refused_before_the_first_training(options, message):
    def never(steps: list[dict[str, Any]]) -> pl.DataFrame:
        raise AssertionError("trained")

    judges = mixing.MixSearchData(VALID, REAL, REAL, lambda rows: rows)
    with pytest.raises(ConfigError, match=message):
        mixing.search_mix("p", Search(search(**options)["search"]), never, judges, seed=0)


def test_the_stage_reads_what_the_critic_thinks_of_a_sample(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(
        tmp_path, {"mix": {"sample": "good", "ratio": 0.5, "choose": [{"realness": {"keep": 0.5}}]}}
    )
    with pytest.raises(ConfigError, match="the sample of good has no critic scores"):
        augment.main("found")
    users = GOOD["user_id"].unique().sort()
    realness = pl.DataFrame([users, pl.Series("realness", range(40), dtype=pl.Float32)])
    realness.write_parquet(tmp_path / "data/synthetic/good/realness.parquet")
    augment.main("found")
    rows = pl.read_parquet(tmp_path / "data/augmented/found/interactions.parquet")
    taken = GOOD.filter(pl.col("user_id") >= users[20])["item_id"]
    assert rows.filter(origin="good")["item_id"].sort().equals(taken.sort())
    assert read_json(tmp_path / "data/augmented/found/policy.json")["samples"] == ["good"]
