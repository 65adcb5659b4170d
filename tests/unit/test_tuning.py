"""The search for hyper-parameters: what it tries, what it keeps, when it ends, and what it refuses
beforehand."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
import pytest

from augrec.core.config import parse
from augrec.core.errors import ConfigError, InputError, RefusedError
from augrec.data.columns import TIME
from augrec.data.ranking import RankingMetric
from augrec.data.training_data import TrainingData
from augrec.recommenders.base import find
from augrec.tuning.config import TuningConfig, grid_of, space_of, starting_points
from augrec.tuning.metric import over_users
from augrec.tuning.search import SearchResult, search, table

SPACES = {
    "ease": {"l2": {"low": 1, "high": 1000, "log": True}, "dtype": ["float32", "float64"]},
    "item_knn": {"neighbours": {"low": 5, "high": 80}},
    "popularity": {"half_life_days": [None, 30, 90]},
    "multvae": {"hidden": {"low": 8, "high": 32}, "dropout": {"low": 0.1, "high": 0.9}},
}


def tuning(**options: Any) -> TuningConfig:
    return parse(TuningConfig, {"trials": 8, "spaces": SPACES, **options}, "tuning")


class Bench:
    """Stands where training does: a "model" is its parameters, and the best l2 is 100."""

    def __init__(self, checkpoints: int = 0, refuse: float = 0.0, wait_s: float = 0.0) -> None:
        self.checkpoints, self.refuse, self.wait_s = checkpoints, refuse, wait_s
        self.seen: list[dict[str, Any]] = []
        self.rows = 0

    def fit(self, values: Mapping[str, Any], log: Any) -> Any:
        self.seen.append(dict(values))
        time.sleep(self.wait_s)
        if values.get("l2", 0) < self.refuse:
            raise RefusedError("the loss is not a number")
        for step in range(1, self.checkpoints + 1):
            self.rows += 1
            log(
                {
                    "step": step,
                    "loss": 1.0,
                    "ndcg@10": self.measure(values) * step / self.checkpoints,
                }
            )
        return dict(values)

    @staticmethod
    def measure(values: Any) -> float:
        return float(1 / (1 + abs(np.log(values.get("l2", 1.0) / 100))))

    def search(self, seed: int = 3, own: float = 200.0, **options: Any) -> SearchResult:
        config = tuning(**options)
        kind = find("ease")
        space = space_of(config, kind)
        starts = starting_points(config, kind({"l2": own}), space)
        return search(self.fit, self.measure, space, starts, config, seed=seed)


def test_the_first_trial_is_what_params_yaml_says_and_presets_come_next() -> None:
    bench = Bench()
    found = bench.search(
        presets={
            "sparse": {"ease": {"l2": 700.0}},
            "same": {"ease": {}},
            "other": {"multvae": {"hidden": 16}},
        }
    )
    assert bench.seen[:2] == [{"l2": 200.0, "dtype": "float64"}, {"l2": 700.0, "dtype": "float64"}]
    assert found.trials[0].parameters == bench.seen[0]
    assert len(found.trials) == 8


def test_the_best_trial_is_kept_and_nothing_worse_than_what_was_there() -> None:
    found = Bench().search(trials=25)
    values = [trial.value for trial in found.trials if trial.value is not None]
    assert found.best.value == max(values) > Bench.measure({"l2": 200.0})
    assert found.model == found.best.parameters
    assert Bench().search(own=100.0).best.number == 0


def test_the_same_seed_tries_the_same_and_another_seed_does_not() -> None:
    first, second, other = Bench().search(), Bench().search(), Bench().search(seed=2**62)
    assert first == second
    assert first.trials[1:] != other.trials[1:]


def test_every_value_tried_lies_in_its_space() -> None:
    for trial in Bench().search(trials=20).trials:
        assert 1 <= trial.parameters["l2"] <= 1000 and trial.parameters["dtype"] in (
            "float32",
            "float64",
        )


def test_a_hopeless_trial_is_given_up_early_unless_pruning_is_off() -> None:
    pruned, whole = Bench(checkpoints=10), Bench(checkpoints=10)
    found = pruned.search(trials=20)
    assert {trial.state for trial in found.trials[:4]} == {"complete"}
    given_up = [trial for trial in found.trials if trial.state == "pruned"]
    assert given_up and all(trial.value is None for trial in given_up)
    assert pruned.rows < 10 * len(pruned.seen)
    assert {trial.state for trial in whole.search(trials=20, pruning=False).trials} == {"complete"}
    assert whole.rows == 200


def test_trials_are_given_up_by_the_metric_of_the_search_alone() -> None:
    bench = Bench(checkpoints=10)  # its curve has ndcg@10
    assert {trial.state for trial in bench.search(trials=20, metric="recall@20").trials} == {
        "complete"
    }
    assert bench.rows == 200


def test_time_ends_a_trial_under_way_whatever_its_curve_shows() -> None:
    bench = Bench(checkpoints=8, wait_s=0.2)
    found = bench.search(trials=6, metric="recall@20", seconds=0.35)
    assert found.out_of_time and found.trials[0].state == "complete"
    assert bench.rows <= 8 + 1


def test_the_curve_is_that_of_the_model_that_is_kept() -> None:
    found = Bench(checkpoints=5).search(trials=6)
    assert [row["step"] for row in found.curve] == [1, 2, 3, 4, 5]
    assert found.curve[-1]["ndcg@10"] == pytest.approx(found.best.value)


def test_a_trial_that_training_refuses_is_counted_and_passed_over() -> None:
    found = Bench(refuse=150.0).search(trials=12)
    failed = [trial for trial in found.trials if trial.state == "failed"]
    assert failed and all(trial.value is None and trial.parameters["l2"] < 150 for trial in failed)
    assert found.best.parameters["l2"] >= 150


def test_where_every_trial_is_refused_the_first_error_is_raised() -> None:
    with pytest.raises(RefusedError, match="not a number"):
        Bench(refuse=1e9).search(trials=3)


def test_time_ends_a_search_but_never_its_first_trial() -> None:
    bench = Bench(checkpoints=3, wait_s=0.05)
    found = bench.search(trials=1000, seconds=0.12)
    assert found.out_of_time and 1 <= len(found.trials) < 1000
    one = Bench(checkpoints=3, wait_s=0.05).search(trials=5, seconds=0.001)
    assert [trial.state for trial in one.trials] == ["complete"] and one.out_of_time
    assert not Bench().search(seconds=600).out_of_time


def test_a_small_finite_space_is_tried_whole_and_no_point_twice() -> None:
    bench, config, kind = Bench(), tuning(trials=50), find("popularity")
    space = space_of(config, kind)
    starts = starting_points(config, kind(), space)
    found = search(bench.fit, bench.measure, space, starts, config, seed=1)
    assert len(found.trials) == 3
    assert len({str(values) for values in bench.seen}) == len(bench.seen)
    nothing = tuning(spaces={"popularity": {}})
    assert space_of(nothing, kind) == {}
    assert len(search(bench.fit, bench.measure, {}, [{}], nothing, seed=1).trials) == 1


def test_a_search_looks_where_the_class_says_unless_params_yaml_says_otherwise() -> None:
    kind, own = find("ease"), find("ease")()
    default, replaced = tuning(spaces={}), tuning(spaces={"ease": {"l2": [47.0, 200.0]}})
    assert set(space_of(default, kind)) == set(kind.search_space) == {"l2", "popularity_blend"}
    assert set(space_of(replaced, kind)) == {"l2"}
    assert grid_of(default, own)["l2"].choices == ("auto", "x0.25", "x4")
    assert grid_of(default, find("ease")({"l2": 200.0}))["l2"].choices == (200.0, 50.0, 800.0)
    assert grid_of(tuning(regularisation={"ease": {}}), own) == {}


def test_a_preset_that_a_narrower_space_does_not_hold_is_left_out() -> None:
    kind, own = find("item_knn"), find("item_knn")()
    bounds = {"shrinkage": {"low": 1, "high": 30}}
    wide, narrow = tuning(spaces={}), tuning(spaces={"item_knn": bounds})
    found = starting_points(wide, own, space_of(wide, kind))
    assert {"neighbours": 161, "shrinkage": 480.0, "similarity": "tfidf"}.items() <= found[
        2
    ].items()
    assert starting_points(narrow, own, space_of(narrow, kind)) == [{"shrinkage": "auto"}]


def test_whole_numbers_stay_whole() -> None:
    bench, config, kind = Bench(), tuning(), find("item_knn")
    space = space_of(config, kind)
    search(bench.fit, bench.measure, space, [{"neighbours": 50}], config, seed=1)
    assert {type(values["neighbours"]) for values in bench.seen} == {int}


def test_the_table_of_trials_has_a_row_for_each_and_nothing_that_changes_from_run_to_run() -> None:
    found = Bench(refuse=150.0).search()
    kept = table(found.trials)
    assert kept.columns == ["trial", "state", "value", "l2", "dtype"]
    assert kept["trial"].to_list() == list(range(8))
    assert kept["l2"][0] == "200.0" and kept["dtype"][0] == '"float64"'
    assert kept.equals(table(Bench(refuse=150.0).search().trials))


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"lambda": [1, 2]}, "ease has no option 'lambda'"),
        ({"l2": {"low": -5, "high": 10}}, "l2 cannot be -5"),
        ({"l2": [1.0, "much"]}, "l2 cannot be 'much'"),
        ({"l2": {"low": 10, "high": 1}}, "low must not lie above high"),
        ({"l2": {"low": 0, "high": 1, "log": True}}, "must be above 0 with log"),
        ({"l2": {"low": 1, "hihg": 2}}, "hihg"),
        ({"l2": 5}, "5 is no space"),
        ({"l2": []}, "is no space"),
        ({"max_items": {"low": 1.5, "high": 9}}, "max_items is a whole number"),
    ],
)
def test_a_space_that_cannot_be_is_refused_at_once(space: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        space_of(tuning(spaces={"ease": space}), find("ease"))


def test_an_unknown_key_of_a_space_names_those_there_are() -> None:
    with pytest.raises(ConfigError) as caught:
        space_of(tuning(spaces={"ease": {"lambda": [1]}}), find("ease"))
    assert "l2" in caught.value.fix and "tuning.spaces.ease.lambda" in caught.value.where


@pytest.mark.parametrize(
    ("own", "presets", "message"),
    [
        ({"l2": 5000.0}, {}, r"l2: 5000.0 lies outside \[1, 1000\]"),
        ({}, {"sparse": {"ease": {"l2": 0.5}}}, "l2: 0.5 lies outside"),
        ({}, {"sparse": {"ease": {"lambda": 1}}}, "ease has no option 'lambda'"),
        ({}, {"sparse": {"ease": {"max_items": 10}}}, "max_items is not searched"),
    ],
)
def test_a_starting_point_outside_its_space_is_refused(
    own: dict[str, Any], presets: dict[str, Any], message: str
) -> None:
    config, kind = tuning(presets=presets), find("ease")
    with pytest.raises(ConfigError, match=message):
        starting_points(config, kind(own), space_of(config, kind))


def test_a_model_that_is_continued_keeps_the_size_it_has() -> None:
    config, kind = (
        tuning(presets={"sparse": {"multvae": {"hidden": 12, "dropout": 0.3}}}),
        find("multvae"),
    )
    space = {
        key: one for key, one in space_of(config, kind).items() if key not in kind.architecture
    }
    assert starting_points(config, kind(), space) == [{"dropout": 0.5}, {"dropout": 0.3}]


def test_a_model_is_measured_by_the_mean_over_users() -> None:
    rows = pl.DataFrame({"user_id": ["a", "a", "b"], "item_id": ["x", "y", "x"]})
    lists = pl.List(pl.String)
    cases = pl.DataFrame(
        {
            "user_id": ["c", "c", "d"],
            "slice": ["0", "1-5", "0"],
            "moment": pl.Series([0, 0, 0], dtype=pl.Int64).cast(pl.Datetime("us")).cast(TIME),
            "history": pl.Series([[], ["x"], []], dtype=lists),
            "targets": pl.Series([["x"], ["z"], ["y"]], dtype=lists),
        }
    )
    model = find("popularity")().fit(TrainingData(rows))
    assert over_users(cases, "hit_rate@1")(model) == pytest.approx((0.5 + 0) / 2)
    with pytest.raises(ConfigError, match="no metric 'ndgc@10'"):
        over_users(cases, "ndgc@10")
    with pytest.raises(InputError, match="nobody"):
        over_users(cases.clear(), "ndcg@10")


def shoppers() -> pl.DataFrame:
    """Users of two tastes."""
    return pl.DataFrame(
        {
            "user_id": [f"u{user:02}" for user in range(40) for _ in range(4)],
            "item_id": [
                f"{'xy'[user % 2]}{(user + 3 * place) % 8}"
                for user in range(40)
                for place in range(4)
            ],
        }
    )


def asked(*wanted: str) -> pl.DataFrame:
    lists = pl.List(pl.String)
    return pl.DataFrame(
        {
            "user_id": [f"v{place}" for place in range(len(wanted))],
            "slice": ["1-5"] * len(wanted),
            "history": pl.Series([[f"{item[0]}0", f"{item[0]}3"] for item in wanted], dtype=lists),
            "targets": pl.Series([[item] for item in wanted], dtype=lists),
        }
    )


@pytest.mark.parametrize(
    ("metric", "familiar"),
    [("ndcg@10", None), ("mrr@3", None), ("recall@2", ["x0", "x1", "x2", "y0", "y1"])],
)
def test_checkpoints_are_kept_by_the_metric_and_among_the_items_that_the_search_uses(
    metric: str, familiar: list[str] | None
) -> None:
    cases, left_out = (
        asked("x6", "y7", "x4", "y5"),
        None if familiar is None else pl.Series(familiar),
    )
    curve: list[dict[str, float]] = []
    config = {"hidden": 8, "latent": 4, "steps": 40, "eval_every": 5, "learning_rate": 0.05}
    model = find("multvae")(config, seed=3).fit(
        TrainingData(
            shoppers(),
            cases=cases,
            metric=RankingMetric(metric, left_out),
            log=lambda row: curve.append(dict(row)),
        )
    )
    measured = over_users(cases, metric, left_out)(model)
    assert measured == pytest.approx(max(row[metric] for row in curve))
    assert measured > min(row[metric] for row in curve)


def test_where_only_new_items_are_wanted_familiar_ones_take_no_place() -> None:
    ids = ["x0", "x1", "x2", "y0", "y1", "y2", "xnew", "ynew"]
    items = pl.DataFrame({"item_id": ids, "categories": [[one[0]] for one in ids]})
    rows = shoppers().filter(pl.col("item_id").is_in(ids))
    cases, familiar = asked("xnew", "ynew"), rows["item_id"].unique()
    member = {"content": {"max_new_items": 10, "popularity_blend": 0.1}}
    content = find("content")(member["content"]).fit(TrainingData(rows, items=items))
    assert (
        over_users(cases, "hit_rate@1", familiar)(content)
        == 1.0
        > over_users(cases, "hit_rate@1")(content)
    )
    many = pl.concat(
        [asked(*["xnew", "ynew"] * 20).with_columns(user_id=pl.int_range(40).cast(pl.String))]
    )
    router = find("router")({"members": [{"popularity": {}}, member], "cutoff": 1, "min_users": 5})
    router.fit(
        TrainingData(rows, items=items, cases=many, metric=RankingMetric("ndcg@1", familiar))
    )
    assert over_users(many, "hit_rate@1", familiar)(router) == 1.0


@pytest.mark.parametrize("metric", ["novelty@10", "ndcg", "ndcg@0", "coverage@10", "ndcg@ten"])
def test_what_is_no_metric_of_lists_is_refused_when_the_section_is_read(metric: str) -> None:
    with pytest.raises(ConfigError, match="no metric") as caught:
        tuning(metric=metric)
    assert "ndcg, recall, precision, f1, hit_rate, mrr, map" in caught.value.fix
    with pytest.raises(ConfigError, match="no metric"):
        find("multvae")().fit(
            TrainingData(shoppers(), cases=asked("x6"), metric=RankingMetric(metric))
        )


def test_what_params_yaml_asks_is_read_without_optuna() -> None:
    script = "import sys, augrec.stages.train; assert 'optuna' not in sys.modules, 'optuna'"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
