"""People who decide together, as far as a run has tables of them: which strategy would serve them
with the run's winner."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from augrec.data.columns import Columns as C
from augrec.data.group_choices import (
    KNOWN,
    PERIOD,
    Histories,
    group_cases,
    members_of,
)
from augrec.data.split import TEST, VALID
from augrec.evaluation.config import GateConfig
from augrec.groups.trial import Evidence, run_trial
from augrec.recommenders.base import Recommender, load
from augrec.stages._inputs import read_table

_log = logging.getLogger(__name__)


def trial_of(prepared: Path, winner: Path, gate: GateConfig, seed: int) -> dict[str, Any]:
    """What `augrec.groups.trial.run_trial` finds; and how many groups and choices there are.

    Args:
        prepared: data/prepared, which has tables of groups.
        winner: the folder of the model that would serve.
        gate: how sure the gate must be.
        seed: of all draws.
    """
    groups = read_table(prepared / "groups.parquet", "prepare")
    choices = read_table(prepared / "group_choices.parquet", "prepare")
    withheld = read_table(prepared / "group_withheld.parquet", "prepare")
    interactions = read_table(prepared / "interactions.parquet", "prepare")
    members, model = members_of(groups), load(winner)
    evidence = Evidence(
        valid=group_cases(choices, members, VALID),
        test=group_cases(choices, members, TEST),
        histories=Histories(interactions.select(C.USER, C.ITEM, C.TIMESTAMP), withheld),
        members=members,
        users=interactions[C.USER].unique().sort().to_list(),
        popularity={
            VALID: _popularity(model, choices, [KNOWN]),
            TEST: _popularity(model, choices, [KNOWN, VALID]),
        },
    )
    found = run_trial(
        model,
        evidence,
        min_groups=gate.min_users,
        simpler_within=gate.simpler_within,
        confidence=gate.confidence,
        samples=gate.bootstrap_samples,
        seed=seed,
    )
    counts = {"n_groups": len(members), "n_choices": len(choices)}
    _log.info(
        "groups: %s with %s choices; judged on %s (validation) and %s (test)",
        f"{len(members):,}",
        f"{len(choices):,}",
        f"{found['n']['valid']:,}",
        f"{found['n']['test']:,}",
    )
    return counts | found


def _popularity(model: Recommender, choices: pl.DataFrame, periods: list[str]) -> np.ndarray:
    """How often groups had chosen each item, float64 (n,)."""
    items = choices.filter(pl.col(PERIOD).is_in(periods))[C.ITEM]
    places = model.items.encode(items)
    return np.bincount(places[places >= 0], minlength=len(model.items)).astype(np.float64)
