"""Train the winner once more, on every interaction there is: data/prepared, reports/decision.json
and the measured model -> models/refit.

What was measured was trained without held-out users and without the latest interactions. A service
that stopped there would not know an item that is newer than the beginning of validation. So what
validation users decided is kept (the policy, values of the config, how long to train, whom a router
sends where), and the training is done again with all rows, as `refit` of scikit-learn's searches
does. Nobody is left to measure this model on: the numbers of the report are those of the model that
was measured, and champion and challenger are compared by those, too.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import polars as pl

from augrec.augmentation.base import Policy, PolicyInputs
from augrec.core.config import parse, read_params, section
from augrec.core.data_shape import DataShape
from augrec.core.errors import PermanentError
from augrec.core.files import read_json, whole_directory, write_json
from augrec.core.seeds import derive
from augrec.data.columns import INTERACTIONS
from augrec.data.columns import Columns as C
from augrec.data.outcomes import with_outcomes
from augrec.data.training_data import TrainingData
from augrec.recommenders._taste.tastes import Tastes
from augrec.recommenders.base import Recommender, load
from augrec.stages import _champion, _tastes
from augrec.stages._configs import AugmentationConfig
from augrec.stages._inputs import read_resolved, read_table, with_features_of
from augrec.stages._samples import Samples
from augrec.stages.runner import run

MODEL: Final = Path("models/refit/model")
"""The model; missing where the measured one serves."""
FACTS: Final = Path("models/refit/refit.json")
"""{"refit": whether there is a model, "reason": if not, why; else "n_rows", "n_users", "until": the
latest interaction, "values": of the config, chosen on validation users}."""
_PREPARED = Path("data/prepared")
_log = logging.getLogger(__name__)


def main() -> None:
    """Write models/refit: the model, and refit.json."""
    params = read_params()
    winner = read_json(Path("reports/decision.json"))["winner"]
    facts: dict[str, Any] = {"refit": False, "reason": "run.refit is false"}
    model = None
    if params["run"].get("refit", True):
        try:
            model, facts = _refit(params, winner["recommender"], winner["policy"])
        except PermanentError as error:
            facts["reason"] = f"it cannot be trained on all interactions: {error.what}"
            _log.warning("the measured model will serve; %s", facts["reason"])
    with whole_directory(FACTS.parent) as draft:
        if model is not None:
            model.save(draft / MODEL.name)
        write_json(draft / FACTS.name, facts)


def _refit(
    params: Mapping[str, Any], recommender: str, policy: str
) -> tuple[Recommender, dict[str, Any]]:
    measured = Path("models/recommenders") / recommender / policy
    decided, training = load(measured), read_json(measured / "training.json")
    start = _champion.start(Path("data/augmented") / policy, type(decided))
    real = read_table(_PREPARED / "interactions.parquet", "prepare").select(INTERACTIONS.keys())
    users, items, cases = (
        read_table(_PREPARED / f"{name}.parquet", "prepare")
        for name in ("users", "items", "cases_valid")
    )
    shape = TrainingData(real, users=users, items=items, cases=cases).shape
    own, values = _settled(decided, training, shape)
    own.check_fits(shape)
    tastes = _tastes.read()
    rows = _rows(params, policy, training["policy"]["steps"], real, tastes)
    if own.reads_features:
        rows = _with_features(rows, real)
    _log.info(
        "training %s on %s once more: %s rows, %s users",
        recommender,
        policy,
        *(f"{n:,}" for n in (len(rows), real[C.USER].n_unique())),
    )
    model = own.fit(
        TrainingData(
            rows,
            users=users,
            items=items,
            cases=cases,
            previous=start.model,
            since=start.since,
            older=start.older,
            decided=decided,
            tastes=tastes,
        )
    )
    until = real[C.TIMESTAMP].max()
    return model, {
        "refit": True,
        "reason": None,
        "n_rows": len(rows),
        "n_users": real[C.USER].n_unique(),
        "n_items": len(model.items),
        "until": until.isoformat(),  # type: ignore[union-attr]
        "values": values,
        **model.describe(),
    }


def _settled(
    decided: Recommender, training: Mapping[str, Any], shape: DataShape
) -> tuple[Recommender, dict[str, Any]]:
    """The recommender, with rules applied to the shape of all data, and the values that validation
    users chose; a multiple of what a rule gave is the same multiple of what it gives now."""
    kind, resolved = type(decided), read_resolved("recommenders", decided.name())["config"]
    kept = decided.config.model_dump()
    resolved |= {key: kept[key] for key in kind.architecture}
    own = kind(resolved, seed=decided.seed)
    now, then = own.settle(shape), training["settings"]
    values: dict[str, Any] = {}
    for key, value in ((training["tuning"] or {}).get("chosen") or {}).items():
        in_units_of_rule = key in now and isinstance(then.get(key), int | float) and then[key]
        values[key] = type(value)(value * now[key] / then[key]) if in_units_of_rule else value
    return kind({**own.config.model_dump(), **values}, seed=decided.seed), values


def _rows(
    params: Mapping[str, Any],
    policy: str,
    steps: list[Any],
    real: pl.DataFrame,
    tastes: Tastes | None,
) -> pl.DataFrame:
    """What the policy makes of all interactions; a sample that was drawn for fewer users is taken
    whole."""
    config = parse(AugmentationConfig, section(params, "augmentation"), "augmentation")
    samples = Samples(section(params, "run").get("generators") or [], policy)
    inputs = PolicyInputs(
        real,
        samples,
        config.max_ratio,
        samples.sample_table,
        short_samples=True,
        tastes=tastes,
    )
    return Policy(policy, steps, seed=derive(params["seed"], "augment")).apply(inputs)


def _with_features(rows: pl.DataFrame, real: pl.DataFrame) -> pl.DataFrame:
    """Add to real rows their features as of that moment, and all that came of them; nulls to the
    others."""
    from augrec.features.store import point_in_time  # Feast takes seconds to import

    events = read_table(_PREPARED / "events.parquet", "prepare")
    found = with_outcomes(point_in_time(Path(), real), events)
    return with_features_of(found, rows)


if __name__ == "__main__":
    run(main)
