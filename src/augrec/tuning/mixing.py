"""The search for a mix: which samples, how many of their users, at what weight. To add nothing is
always a candidate."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Protocol

import polars as pl

from augrec.core.errors import ConfigError
from augrec.core.seeds import derive
from augrec.data.ranking import RankingMetric
from augrec.data.slices import SLICES
from augrec.data.training_data import Log, TrainingData
from augrec.recommenders.base import Recommender, find
from augrec.tuning.config import Dimension, TuningConfig
from augrec.tuning.metric import over_users
from augrec.tuning.search import SearchResult, search, table

_WHERE = "params.yaml, policies, step search"
_NOTHING = "nothing"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MixSearchData:
    """What candidates are trained and evaluated with, in addition to their rows.

    Attributes:
        cases: of validation users.
        items, users: as in `TrainingData`.
        with_features: adds point-in-time features to rows, for recommenders that read them.
        familiar: items that lists leave out, see `augrec.data.ranking.RankingMetric`.
    """

    cases: pl.DataFrame
    items: pl.DataFrame
    users: pl.DataFrame
    with_features: Callable[[pl.DataFrame], pl.DataFrame]
    familiar: pl.Series | None = None


class Candidates(Protocol):
    """What is tried; `augrec.augmentation.search` describes it."""

    config: Any

    def choices(self, without: Sequence[str]) -> list[str]:
        """Samples, alone and together, but for those to leave out."""
        ...

    def step(
        self, samples: str, ratio: float, weight: float, options: int = 0
    ) -> list[dict[str, Any]]:
        """What a candidate is in a policy: one step, or none."""
        ...


@dataclass(frozen=True)
class MixSearchResult:
    """The result of a search for a mix.

    Attributes:
        steps: the best mix, as one step of a policy; none where to add nothing was best.
        trials: trials.csv.
        facts: for policy.json.
    """

    steps: list[dict[str, Any]]
    trials: pl.DataFrame
    facts: dict[str, Any]


def search_mix(
    name: str,
    candidates: Candidates,
    build: Callable[[list[dict[str, Any]]], pl.DataFrame],
    data: MixSearchData,
    *,
    seed: int,
    blocked: Sequence[str] = (),
) -> MixSearchResult:
    """Try candidates on validation users. The first trial adds nothing; of equals the one tried
    first wins.

    Without `seconds` the same call gives the same result; `facts` records whether time ended it.

    Args:
        name: the policy's.
        candidates: what is tried.
        build: gives the training set of the policy with these steps where the search stands.
        data: what candidates are trained and evaluated with.
        seed: of the search and of the trainings.
        blocked: samples that are left out; where none is left, to add nothing is the only
            candidate.

    Raises:
        ConfigError: the search cannot be made as it is described.
        InputError: no validation users were held out.
    """
    config = candidates.config
    kind, options = _proxy(config.recommender)
    space, every = _candidates(candidates, blocked)
    trials = min(config.trials, len(every))
    _log.info(
        "%s: at most %d trainings for %d candidates, in at most %s seconds",
        name,
        trials,
        len(every),
        config.seconds,
    )
    found = search(
        _trainer(kind(options, seed=derive(seed, name, "proxy")), candidates, build, data),
        over_users(_of_slice(data.cases, config.slice), config.metric, data.familiar),
        space,
        every if len(every) == trials else every[:1],
        TuningConfig(
            trials=trials, seconds=config.seconds, metric=config.metric, pruning=config.pruning
        ),
        seed=derive(seed, name, "search"),
    )
    steps = candidates.step(**found.best.parameters)
    facts = {
        "recommender": kind.name(),
        "n_candidates": len(every),
        "chosen": steps[0]["mix"] if steps else None,
        "blocked": list(blocked),
    }
    return MixSearchResult(steps, table(found.trials), _facts(found, config) | facts)


def _trainer(
    proxy: Recommender,
    candidates: Candidates,
    build: Callable[[list[dict[str, Any]]], pl.DataFrame],
    data: MixSearchData,
) -> Callable[[Mapping[str, Any], Log], Recommender]:
    """Trains a copy of `proxy` on a candidate's rows; candidates that add nothing share one
    model."""
    without: list[Recommender] = []
    metric = RankingMetric(candidates.config.metric, data.familiar)

    def fit(values: Mapping[str, Any], log: Log) -> Recommender:
        if not values["weight"] and without:
            return without[0]
        rows = build(candidates.step(**values))
        model = type(proxy)(proxy.config.model_dump(), seed=proxy.seed)
        rows = data.with_features(rows) if model.reads_features else rows
        model.fit(
            TrainingData(
                rows,
                users=data.users,
                items=data.items,
                cases=data.cases,
                metric=metric,
                log=log,
            )
        )
        if not values["weight"]:
            without.append(model)
        return model

    return fit


def _facts(found: SearchResult, config: Any) -> dict[str, Any]:
    """What policy.json says of the search itself."""
    return {
        "metric": config.metric,
        "slice": config.slice,
        "value": found.best.value,
        "without": found.trials[0].value,
        "trial": found.best.number,
        "n_trials": len(found.trials),
        "seconds": config.seconds,
        "out_of_time": found.out_of_time,
    }


def _candidates(
    one: Candidates, blocked: Sequence[str]
) -> tuple[dict[str, Dimension], list[dict[str, Any]]]:
    """Optuna's search space, and every candidate, the one that adds nothing first."""
    left, ratios = one.choices(blocked), list(dict.fromkeys(one.config.ratios))
    samples = left or [_NOTHING]
    weights = [weight for weight in dict.fromkeys(one.config.weights) if weight > 0] if left else []
    options = list(range(len(one.config.options)))
    choices = {"samples": samples, "ratio": ratios, "weight": [0.0, *weights]}
    if len(options) > 1:
        choices["options"] = options
    space = {name: Dimension(name, None, tuple(values)) for name, values in choices.items()}
    every: dict[str, dict[str, Any]] = {}  # by their steps: options may not concern a sample
    for weight, ratio, place, some in product(weights, ratios, options, samples):
        values = {"samples": some, "ratio": ratio, "weight": weight, "options": place}
        values = {name: value for name, value in values.items() if name in space}
        every.setdefault(json.dumps(one.step(**values)), values)
    nothing = {name: values[0] for name, values in choices.items()}
    return space, [nothing, *every.values()]


def _proxy(
    described: Mapping[str, Mapping[str, Any] | None],
) -> tuple[type[Recommender], Mapping[str, Any]]:
    if len(described) != 1:
        raise ConfigError(
            "a search takes one recommender",
            where=f"{_WHERE}.recommender",
            fix="write it as {multvae: {steps: 400}}",
        )
    [(name, options)] = described.items()
    return find(name), options or {}


def _of_slice(cases: pl.DataFrame, name: str | None) -> pl.DataFrame:
    if name is None:
        return cases
    if name not in SLICES:
        raise ConfigError(
            f"there is no slice {name!r}",
            where=f"{_WHERE}.slice",
            fix=f"one of {', '.join(SLICES)}, or null",
        )
    return cases.filter(pl.col("slice") == name)
