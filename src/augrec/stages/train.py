"""Train a recommender on a policy's training set."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from augrec.component import available
from augrec.data.columns import REAL
from augrec.data.columns import Columns as C
from augrec.data.config import parse
from augrec.data.split import VALID
from augrec.errors import ConfigError
from augrec.files import read_json, whole_directory, write_json
from augrec.recommenders.base import Log, Recommender, find
from augrec.seeds import derive
from augrec.stages import _champion
from augrec.stages._training_set import FOLDER, read_table, with_features
from augrec.stages.runner import read_params, run
from augrec.tuning.config import Space, TuningConfig, space_of, starting_points

Fit = Callable[[Mapping[str, Any], Log], Recommender]
"""Trains with some values of the config in place of params.yaml's."""

_log = logging.getLogger(__name__)


def main(recommender: str, policy: str) -> None:
    """Write models/recommenders/<recommender>/<policy>: the model, curve.csv, training.json and, after a search, trials.csv.

    Every policy gets the same seed and the same search, so that two equal training sets give two equal models.
    """
    params = read_params()
    training_set = Path("data/augmented") / policy
    kind, options = find(recommender), dict(_config(params, recommender))
    tuning = parse(TuningConfig, params.get("tuning") or {}, "tuning")
    space = space_of(tuning, kind)
    interactions = pl.read_parquet(training_set / "interactions.parquet")
    cases = read_table(FOLDER / f"cases_{VALID}.parquet", "training_set")
    known = {
        "cases": cases,
        "items": pl.read_parquet("data/prepared/items.parquet"),
        "users": read_table(FOLDER / "users.parquet", "training_set"),
    }
    start = _champion.start(training_set, kind)
    if start.model is not None:  # its weights have the shapes they have
        config = start.model.config.model_dump()
        options |= {key: config[key] for key in kind.architecture}
        space = {key: one for key, one in space.items() if key not in kind.architecture}
    own = kind(options, seed=derive(params["seed"], "train", recommender))
    if own.reads_features:
        interactions = with_features(interactions)

    def fit(values: Mapping[str, Any], log: Log) -> Recommender:
        model = kind({**options, **values}, seed=own.seed)
        return model.fit(interactions, **known, start=start.model, since=start.since, log=log)

    _log.info("training %s on %s: %d rows", recommender, policy, len(interactions))
    if tuning.trials:
        model, curve, trials, facts = _search(fit, own, cases, tuning, space, params["seed"])
    else:
        curve, trials, facts = [], None, None
        model = fit({}, lambda row: _keep(curve, row))
    with whole_directory(Path("models/recommenders") / recommender / policy) as draft:
        model.save(draft)
        _write_curve(draft / "curve.csv", curve)
        if trials is not None:
            trials.write_csv(draft / "trials.csv")
        told = {
            "recommender": recommender,
            "policy": read_json(training_set / "policy.json"),
            "seed": model.seed,
            "n_rows": len(interactions),
            "n_trials": 0 if trials is None else len(trials),
            "tuning": facts,
            "start": start.facts,
            "trained_until": _trained_until(interactions, start.since),
        }
        write_json(draft / "training.json", told | {"choices": model.choices()} | model.describe())


def _search(
    fit: Fit, own: Recommender, cases: pl.DataFrame, tuning: TuningConfig, space: Space, seed: int
) -> tuple[Recommender, list[dict[str, float]], pl.DataFrame, dict[str, Any]]:
    """The best model found, its curve, trials.csv, and what training.json says of the search."""
    from augrec.tuning.metric import over_users
    from augrec.tuning.search import search, table

    found = search(
        fit,
        over_users(cases, tuning.metric),
        space,
        starting_points(tuning, own, space),
        tuning,
        seed=derive(seed, "tuning", own.name()),
    )
    facts = {
        "metric": tuning.metric,
        "value": found.best.value,
        "trial": found.best.number,
        "own_value": found.trials[0].value,
        "out_of_time": found.out_of_time,
    }
    return found.model, found.curve, table(found.trials), facts


def _trained_until(interactions: pl.DataFrame, since: datetime | None) -> str | None:
    """The latest real moment the weights know of: that of the rows, or of a champion that was trained on later ones."""
    latest = interactions.filter(pl.col(C.ORIGIN) == REAL)[C.TIMESTAMP].max()
    if not isinstance(latest, datetime):  # there are no real rows
        latest = since
    return None if latest is None else max(latest, since or latest).isoformat()


def _config(params: Mapping[str, dict], recommender: str) -> dict:
    if recommender not in params["recommenders"]:
        raise ConfigError(f"{recommender!r} has no section", where="params.yaml, recommenders",
                          fix=f"add it; there are {', '.join(available('augrec.recommenders'))}")  # fmt: skip
    return params["recommenders"][recommender] or {}


def _keep(curve: list[dict[str, float]], row: Mapping[str, float]) -> None:
    curve.append(dict(row))
    _log.info(" ".join(f"{name} {value:.4g}" for name, value in row.items()))


def _write_curve(path: Path, curve: list[dict[str, float]]) -> None:
    """One line a row; only the header "step" for a model without a training loop."""
    table = (
        pl.DataFrame(curve, infer_schema_length=None) if curve else pl.DataFrame(schema={"step": pl.Int64})
    )
    table.write_csv(path)


if __name__ == "__main__":
    run(main)
