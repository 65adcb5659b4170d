"""Train a recommender on a policy's training set."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from augrec.component import available
from augrec.data.split import VALID
from augrec.errors import ConfigError
from augrec.files import read_json, whole_directory, write_json
from augrec.recommenders.base import find
from augrec.seeds import derive
from augrec.stages._training_set import FOLDER, read_table, with_features
from augrec.stages.runner import read_params, run

_log = logging.getLogger(__name__)


def main(recommender: str, policy: str) -> None:
    """Write models/recommenders/<recommender>/<policy>: the model, curve.csv and training.json.

    Every policy gets the same seed, so that two equal training sets give two equal models.
    """
    params = read_params()
    training_set = Path("data/augmented") / policy
    interactions = pl.read_parquet(training_set / "interactions.parquet")
    cases = read_table(FOLDER / f"cases_{VALID}.parquet", "training_set")
    items = pl.read_parquet("data/prepared/items.parquet")
    users = read_table(FOLDER / "users.parquet", "training_set")
    model = find(recommender)(_config(params, recommender), seed=derive(params["seed"], "train", recommender))
    if model.reads_features:
        interactions = with_features(interactions)
    curve: list[dict[str, float]] = []
    _log.info("training %s on %s: %d rows", recommender, policy, len(interactions))
    model.fit(interactions, cases=cases, items=items, users=users, log=lambda row: _keep(curve, row))
    with whole_directory(Path("models/recommenders") / recommender / policy) as draft:
        model.save(draft)
        _write_curve(draft / "curve.csv", curve)
        facts = {
            "recommender": recommender,
            "policy": read_json(training_set / "policy.json"),
            "seed": model.seed,
        }
        write_json(draft / "training.json", facts | {"n_rows": len(interactions)} | model.describe())


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
