"""Train a recommender on a policy's training set, as often as `run.repetitions` says where anything
in it is random."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from math import prod
from pathlib import Path
from typing import Any

import polars as pl

from augrec.core.config import parse, read_params, section
from augrec.core.files import read_json, whole_directory, write_curve, write_json
from augrec.core.seeds import derive
from augrec.data.columns import REAL
from augrec.data.columns import Columns as C
from augrec.data.outcomes import last_known
from augrec.data.ranking import RankingMetric, familiar_items
from augrec.data.split import VALID
from augrec.data.training_data import Log, TrainingData
from augrec.recommenders._taste.tastes import Tastes
from augrec.recommenders.base import Recommender, find
from augrec.stages import _champion, _left_out, _repetitions, _tastes
from augrec.stages._inputs import (
    TRAINING_SET,
    read_resolved,
    read_table,
    with_features,
)
from augrec.stages.runner import run, tell_curve
from augrec.tuning.config import Space, TuningConfig, grid_of, space_of, starting_points

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Arm:
    """What all trainings of a recommender under a policy have in common."""

    own: Recommender
    start: _champion.Start
    cases: pl.DataFrame
    items: pl.DataFrame
    users: pl.DataFrame
    metric: RankingMetric
    tastes: Tastes | None
    name: str

    def fit(
        self, rows: pl.DataFrame, values: Mapping[str, Any], seed: int, log: Log
    ) -> Recommender:
        """A model with some values of the config in place of its own."""
        model = type(self.own)({**self.own.config.model_dump(), **values}, seed=seed)
        start = self.start
        return model.fit(
            TrainingData(
                rows,
                users=self.users,
                items=self.items,
                cases=self.cases,
                metric=self.metric,
                previous=start.model,
                since=start.since,
                older=start.older,
                tastes=self.tastes,
                log=log,
            )
        )


@dataclass(frozen=True)
class _Trained:
    """A model, its curve, the values that were chosen for it, trials.csv, and what training.json
    says of the choice."""

    model: Recommender
    curve: list[dict[str, float]]
    values: Mapping[str, Any]
    n_rows: int
    trials: pl.DataFrame | None = None
    facts: dict[str, Any] | None = None


def main(recommender: str, policy: str) -> None:
    """Write models/recommenders/<recommender>/<policy>: the model, curve.csv, training.json and,
    after a search, trials.csv.

    Every policy gets the same seeds and the same search, so that two equal training sets give two
    equal models. Further trainings, with the values chosen for the first, differ by chance alone;
    where neither the policy nor the recommender draws anything there are none. The model is that of
    the training that validation users prefer, so that what may be promoted is what was chosen; the
    others go to models/repetitions/<recommender>/<policy>/<number>.
    """
    training_set = Path("data/augmented") / policy
    target = Path("models/recommenders") / recommender / policy
    further = _repetitions.MODELS / recommender / policy
    left_out, settings = _left_out.selected("recommenders", recommender)
    if _left_out.passed_on(left_out or _left_out.read(training_set), target, further):
        return
    params = read_params()
    resolved = read_resolved("recommenders", recommender)
    tuning = _tuning(params, recommender, resolved)
    start = _champion.start(training_set, find(recommender))
    own = _own(params, recommender, resolved["config"] | settings, start)
    metric = RankingMetric(tuning.metric, familiar_items(Path("data/prepared")))
    arm = _Arm(
        own,
        start,
        cases=read_table(TRAINING_SET / f"cases_{VALID}.parquet", "training_set"),
        items=pl.read_parquet("data/prepared/items.parquet"),
        users=read_table(TRAINING_SET / "users.parquet", "training_set"),
        metric=metric,
        tastes=_tastes.read(),
        name=f"{recommender}/{policy}",
    )
    rows = _with_features(arm.own, pl.read_parquet(training_set / "interactions.parquet"))
    _log.info("training %s on %s: %d rows", recommender, policy, len(rows))
    first = _first(arm, rows, tuning, params["seed"])
    trained = [first, *_repeat(arm, rows, first.values, training_set, params)]
    reached = _on_validation_users(arm, trained)
    preferred = reached.index(max(reached)) if reached else 0
    kept = trained.pop(preferred)
    with whole_directory(target) as draft:
        kept.model.save(draft)
        write_curve(draft / "curve.csv", kept.curve)
        if first.trials is not None:
            first.trials.write_csv(draft / "trials.csv")
        facts = {
            "recommender": recommender,
            "policy": read_json(training_set / "policy.json"),
            "cost": kept.model.cost,
            "seed": kept.model.seed,
            "n_rows": kept.n_rows,
            "n_trials": 0 if first.trials is None else len(first.trials),
            "settings": settings,
            "tuning": first.facts,
            "start": start.facts,
            "trained_until": _trained_until(rows, start.since),
            "repetitions": 1 + len(trained),
            "preferred": {"training": preferred, "metric": tuning.metric, "values": reached},
        }
        write_json(
            draft / "training.json",
            facts | {"choices": kept.model.choices()} | kept.model.describe(),
        )
    with whole_directory(further) as draft:
        for number, other in enumerate(trained, start=1):
            other.model.save(draft / str(number))


def _tuning(
    params: Mapping[str, Any], recommender: str, resolved: Mapping[str, Any]
) -> TuningConfig:
    """How the recommender is searched: `tuning` of params.yaml, with what `configure` wrote of
    it."""
    presets = {name: {recommender: values} for name, values in resolved["presets"].items()}
    found = {
        "spaces": {recommender: resolved["search_space"]},
        "regularisation": {recommender: resolved["regularisation"]},
        "presets": presets,
    }
    return parse(TuningConfig, section(params, "tuning") | found, "tuning")


def _own(
    params: Mapping[str, Any], recommender: str, config: Mapping[str, Any], start: _champion.Start
) -> Recommender:
    """The recommender with its config; one that continues the champion keeps the shapes of its
    weights."""
    kind, options = find(recommender), dict(config)
    if start.model is not None:
        config = start.model.config.model_dump()
        options |= {key: config[key] for key in kind.architecture}
    return kind(options, seed=_repetitions.seed_of(params["seed"], 0, "train", recommender))


def _with_features(own: Recommender, rows: pl.DataFrame) -> pl.DataFrame:
    return with_features(rows) if own.reads_features else rows


def _first(arm: _Arm, rows: pl.DataFrame, tuning: TuningConfig, seed: int) -> _Trained:
    """Repetition 0: with its own values, or the best of a search or of the grid of
    regularisation."""
    fixed = arm.own.architecture if arm.start.model is not None else ()
    searched, grid = (
        space_of(tuning, type(arm.own)),
        grid_of(tuning, arm.own),
    )  # both are checked, whichever is used
    space = searched if tuning.trials else grid
    space = {key: one for key, one in space.items() if key not in fixed}
    if tuning.trials:
        return _search(arm, rows, tuning, space, starting_points(tuning, arm.own, space), seed)
    n_points = prod(len(one.choices) for one in space.values())
    if n_points == 1 or arm.cases.is_empty():
        curve: list[dict[str, float]] = []
        model = arm.fit(rows, {}, arm.own.seed, lambda row: _keep(arm, curve, row))
        return _Trained(model, curve, {}, len(rows))
    whole = tuning.model_copy(update={"trials": n_points, "seconds": None, "pruning": False})
    own = {key: getattr(arm.own.config, key) for key in space}
    found = _search(arm, rows, whole, space, [own], seed)
    tried = [] if found.trials is None else found.trials.select("value", *space).to_dicts()
    return replace(found, trials=None, facts={**(found.facts or {}), "grid": tried})


def _search(
    arm: _Arm,
    rows: pl.DataFrame,
    tuning: TuningConfig,
    space: Space,
    starts: list[dict[str, Any]],
    seed: int,
) -> _Trained:
    from augrec.tuning.metric import over_users
    from augrec.tuning.search import search, table

    found = search(
        lambda values, log: arm.fit(rows, values, arm.own.seed, log),
        over_users(arm.cases, tuning.metric, arm.metric.familiar),
        space,
        starts,
        tuning,
        seed=derive(seed, "tuning", arm.own.name()),
    )
    facts = {
        "metric": tuning.metric,
        "value": found.best.value,
        "trial": found.best.number,
        "own_value": found.trials[0].value,
        "out_of_time": found.out_of_time,
        "chosen": found.best.parameters,
    }
    return _Trained(
        found.model,
        found.curve,
        found.best.parameters,
        len(rows),
        table(found.trials),
        facts,
    )


def _repeat(
    arm: _Arm,
    rows: pl.DataFrame,
    values: Mapping[str, Any],
    training_set: Path,
    params: Mapping[str, Any],
) -> list[_Trained]:
    """Repetitions 1, 2, …; none where nothing is random."""
    trained = []
    for number in range(1, _repetitions.count(params)):
        redrawn = _repetitions.read_rows(training_set, number)
        if redrawn is None and not arm.own.draws:
            break
        seed = _repetitions.seed_of(params["seed"], number, "train", arm.own.name())
        again = rows if redrawn is None else _with_features(arm.own, redrawn)
        _log.info("repetition %d: %d rows", number, len(again))
        curve: list[dict[str, float]] = []
        model = arm.fit(again, values, seed, _into(curve))
        trained.append(_Trained(model, curve, values, len(again)))
    return trained


def _into(curve: list[dict[str, float]]) -> Log:
    return lambda row: curve.append(dict(row))


def _on_validation_users(arm: _Arm, trained: Sequence[_Trained]) -> list[float]:
    """What each of several trainings reaches on validation users; empty where there is nothing to
    choose, or nobody to choose by."""
    if len(trained) == 1 or arm.cases.is_empty():
        return []
    from augrec.tuning.metric import over_users

    measure = over_users(arm.cases, arm.metric.name, arm.metric.familiar)
    return [measure(one.model) for one in trained]


def _trained_until(interactions: pl.DataFrame, since: datetime | None) -> str | None:
    """The latest real moment the weights know of: that of the rows, or of a champion that was
    trained on later ones."""
    latest = last_known(interactions.filter(pl.col(C.ORIGIN) == REAL)).max()
    if not isinstance(latest, datetime):  # there are no real rows
        latest = since
    return None if latest is None else max(latest, since or latest).isoformat()


def _keep(arm: _Arm, curve: list[dict[str, float]], row: Mapping[str, float]) -> None:
    curve.append(dict(row))
    tell_curve("recommender", arm.name, row)


if __name__ == "__main__":
    run(main)
