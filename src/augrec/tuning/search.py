"""The search: ask Optuna for values, train with them, report the result."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any, Literal

import optuna
import polars as pl

from augrec.core.errors import AugrecError
from augrec.data.training_data import Log
from augrec.recommenders.base import Recommender
from augrec.tuning.config import Dimension, Space, TuningConfig

State = Literal["complete", "repeated", "pruned", "failed", "stopped"]
Fit = Callable[[Mapping[str, Any], Log], Recommender]
"""Trains with some values of the config in place of its own; the log receives the training
curve."""

_STARTUP, _CHECKPOINTS = 4, 2
"""No trial is pruned before this many others have ended, nor before this many checkpoints of its
own."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trial:
    """One config that was tried.

    Attributes:
        number: from 0, in order.
        state: complete; repeated: these values were tried before; pruned: worse than the median;
            failed: training refused these values; stopped: out of time.
        value: the metric; None unless complete or repeated.
        parameters: the values tried.
    """

    number: int
    state: State
    value: float | None
    parameters: dict[str, Any]


@dataclass(frozen=True)
class SearchResult:
    """The result of a search.

    Attributes:
        model: the best trial's, as it was fitted.
        curve: its training curve.
        best: its trial.
        trials: all of them.
        out_of_time: whether `seconds` ended the search, so that a faster machine might have found
            another model.
    """

    model: Recommender
    curve: list[dict[str, float]]
    best: Trial
    trials: list[Trial]
    out_of_time: bool


class _OutOfTimeError(Exception):
    """Ends a running trial."""


def search(
    fit: Fit,
    measure: Callable[[Recommender], float],
    space: Space,
    starts: Sequence[Mapping[str, Any]],
    config: TuningConfig,
    *,
    seed: int,
) -> SearchResult:
    """Try configs and keep the best; of two equally good ones the earlier. Without `seconds` the
    same call finds the same.

    Sampled by a tree-structured Parzen estimator (Bergstra et al. 2011) from `seed`. A finite space
    with no more points than trials is tried whole. A trial that training refuses counts as failed,
    and the search goes on.

    Args:
        fit: trains a model; may be ended through the log it is given, where its curve has
            `config.metric`.
        measure: the quality of a model; more is better.
        space: the search space.
        starts: values tried before all others, see `starting_points`.
        config: bounds and pruning.
        seed: of the sampler.

    Raises:
        AugrecError: no trial succeeded; the first one's error.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pruner = (
        optuna.pruners.MedianPruner(n_startup_trials=_STARTUP, n_warmup_steps=_CHECKPOINTS)
        if config.pruning
        else optuna.pruners.NopPruner()
    )
    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed % 2**32), pruner=pruner
    )
    planned, n_trials = [dict(start) for start in starts], config.trials
    if (points := _points(space, config.trials)) is not None:
        planned += [point for point in points if point not in planned]
        n_trials = len(planned)
    for start in planned:
        study.enqueue_trial(start)
    run = _Run(fit, measure, config)
    for number in range(n_trials):
        if number and run.is_late():
            run.out_of_time = True
            break
        asked = study.ask()
        trial = run.attempt(asked, {name: _suggest(asked, one) for name, one in space.items()})
        study.tell(asked, trial.value, _OPTUNA_STATES.get(trial.state))
        _log.info(_sentence(trial, n_trials, run.best, config.metric))
    if run.best is None or run.model is None:
        raise run.errors[0]
    return SearchResult(run.model, run.curve, run.best, run.trials, run.out_of_time)


_OPTUNA_STATES = {
    "pruned": optuna.trial.TrialState.PRUNED,
    "stopped": optuna.trial.TrialState.FAIL,
    "failed": optuna.trial.TrialState.FAIL,
}


class _Run:
    """The trials so far, and the best of them."""

    def __init__(
        self, fit: Fit, measure: Callable[[Recommender], float], config: TuningConfig
    ) -> None:
        self._fit, self._measure, self._metric = fit, measure, config.metric
        self._deadline = None if config.seconds is None else time.monotonic() + config.seconds
        self.trials: list[Trial] = []
        self.errors: list[AugrecError] = []
        self.model: Recommender | None = None
        self.curve: list[dict[str, float]] = []
        self.best: Trial | None = None
        self.out_of_time = False

    def is_late(self) -> bool:
        return self._deadline is not None and time.monotonic() > self._deadline

    def attempt(self, asked: optuna.Trial, parameters: dict[str, Any]) -> Trial:
        known = next(
            (
                old.value
                for old in self.trials
                if old.parameters == parameters and old.value is not None
            ),
            None,
        )
        if known is not None:
            return self._keep(Trial(asked.number, "repeated", known, parameters))
        curve: list[dict[str, float]] = []
        try:
            model = self._fit(parameters, lambda row: self._record(asked, curve, row))
        except optuna.TrialPruned:
            return self._keep(Trial(asked.number, "pruned", None, parameters))
        except _OutOfTimeError:
            self.out_of_time = True
            return self._keep(Trial(asked.number, "stopped", None, parameters))
        except AugrecError as error:
            _log.warning("trial %d: %s", asked.number, error)
            self.errors.append(error)
            return self._keep(Trial(asked.number, "failed", None, parameters))
        trial = self._keep(Trial(asked.number, "complete", self._measure(model), parameters))
        if self.best is None or trial.value > self.best.value:  # type: ignore[operator]
            self.best, self.model, self.curve = trial, model, curve
        return trial

    def _keep(self, trial: Trial) -> Trial:
        self.trials.append(trial)
        return trial

    def _record(
        self, asked: optuna.Trial, curve: list[dict[str, float]], row: Mapping[str, float]
    ) -> None:
        """Record a row of the training curve; end the trial where it is out of time or pruned."""
        curve.append(dict(row))
        validated = row.get(self._metric)
        if validated is not None:
            asked.report(validated, step=sum(self._metric in one for one in curve))
        if self.best is None:  # the first trial is always completed
            return
        if self.is_late():
            raise _OutOfTimeError
        if validated is not None and asked.should_prune():
            raise optuna.TrialPruned


def table(trials: Sequence[Trial]) -> pl.DataFrame:
    """trials.csv: trial, state, value, and a column for each parameter, its values as JSON."""
    return pl.DataFrame(
        [
            {
                "trial": one.number,
                "state": one.state,
                "value": one.value,
                **{name: json.dumps(value) for name, value in one.parameters.items()},
            }
            for one in trials
        ],
        schema_overrides={"trial": pl.Int64, "value": pl.Float64},
    )


def _suggest(trial: optuna.Trial, one: Dimension) -> Any:
    if one.range is None:
        return trial.suggest_categorical(one.name, one.choices)
    if one.whole:
        return trial.suggest_int(
            one.name, int(one.range.low), int(one.range.high), log=one.range.log
        )
    return trial.suggest_float(one.name, one.range.low, one.range.high, log=one.range.log)


def _points(space: Space, trials: int) -> list[dict[str, Any]] | None:
    """Every config of a space that has no more than `trials`, such as an empty one; else None."""
    if any(one.range is not None for one in space.values()):
        return None
    if prod(len(one.choices) for one in space.values()) > trials:
        return None
    return [
        dict(zip(space, values, strict=True))
        for values in product(*(one.choices for one in space.values()))
    ]


def _sentence(trial: Trial, n_trials: int, best: Trial | None, metric: str) -> str:
    tried = ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in trial.parameters.items()
    )
    came = trial.state if trial.value is None else f"{metric} {trial.value:.4f}"
    so_far = f"; best {best.value:.4f}, trial {best.number}" if best else ""
    return f"trial {trial.number + 1} of {n_trials}: {tried or 'as it is'}: {came}{so_far}"
