"""Judge a synthetic sample: measure, hold against the limits, keep what the report draws."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl
import scipy.sparse as sp

from augrec.audit.config import AuditConfig
from augrec.audit.diversity import diversity
from augrec.audit.fidelity import fidelity, mix_fidelity
from augrec.audit.nearest import profiles
from augrec.audit.privacy import People, privacy
from augrec.data.columns import INTERACTIONS, REAL, require
from augrec.data.columns import Columns as C
from augrec.data.histories import ItemIndex
from augrec.data.split import ROLE, VALID
from augrec.errors import ConfigError, InputError
from augrec.seeds import derive, rng

_logger = logging.getLogger(__name__)
_MAX_RANKS = 2000
_LENGTH_BINS = 30


@dataclass(frozen=True)
class Evidence:
    """What a sample is judged by.

    Attributes:
        training: canonical interactions of the users the generator learned from.
        interactions: canonical interactions of everybody.
        held_out: user_id and role; only users whose role is "valid" are used, never test users.
        valid_from, test_from: the cuts of the split, UTC; None where time is not cut for all alike.
        items: the items table, for category shares; optional.
    """

    training: pl.DataFrame
    interactions: pl.DataFrame
    held_out: pl.DataFrame
    valid_from: datetime | None
    test_from: datetime | None
    items: pl.DataFrame | None = None


def judge(
    sample: pl.DataFrame, evidence: Evidence, config: AuditConfig, *, generator: str, seed: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Audit a sample.

    Args:
        sample: canonical interactions drawn from the generator.
        evidence: what to compare with.
        config: knobs and limits.
        generator: its name.
        seed: of subsamples and bootstraps.

    Returns:
        The verdict (audit.json: generator, passed, failed_limits, fidelity, diversity, privacy, limits) and the
        distributions (distributions.json). `distributions` holds `popularity` {real, synthetic}: shares of interactions
        by rank; `lengths` and `neighbours`: histograms with their edges; `roc`; `events`, `categories`: names and shares.

    Raises:
        InputError: the sample is empty, not canonical, or holds items that no training user touched.
        ConfigError: a limit names no measure.
    """
    require(sample, INTERACTIONS, where=f"the sample of {generator}")
    items = ItemIndex(evidence.training[C.ITEM])
    _check_items(sample, items, generator)
    others, footing = _non_members(evidence, items, config.min_non_members)
    people = People(profiles(evidence.training, items), others, profiles(sample, items))
    mixes, shares = mix_fidelity(evidence.training, sample, evidence.items)
    guarded, drawn = privacy(people, config, derive(seed, "privacy"))
    measures: dict[str, dict[str, Any]] = {
        "fidelity": {**fidelity(people.members, people.synthetic, config.top_items), **mixes},
        "diversity": diversity(
            people.members,
            people.synthetic,
            max_users=config.max_users,
            min_profile=config.min_profile,
            random=rng(seed, "diversity"),
        ),
        "privacy": {**guarded, "footing": footing},
    }
    failed = failed_limits(
        {name: value for part in measures.values() for name, value in part.items()}, config.limits
    )
    verdict = {
        "generator": generator,
        "passed": not failed,
        "failed_limits": failed,
        "limits": config.limits,
        **measures,
    }
    return verdict, {**_shapes(people), **drawn, **shares}


def failed_limits(measures: Mapping[str, Any], limits: Mapping[str, float]) -> list[str]:
    """Names of the limits that are not kept, in their order; a measure that is None keeps none.

    Raises:
        ConfigError: a limit is not "min_" or "max_" and a number's name.
    """
    failed = []
    for name, limit in limits.items():
        kind, _, measure = name.partition("_")
        if kind not in ("min", "max") or measure not in measures or isinstance(measures[measure], str):
            known = ", ".join(key for key, value in measures.items() if not isinstance(value, str))
            raise ConfigError(
                f"{name!r} is no limit of the audit",
                where="params.yaml, audit.limits",
                fix=f"write min_ or max_ and one of: {known}",
            )
        value = measures[measure]
        if value is None:
            _logger.warning("%s could not be measured, so its limit is not kept", measure)
            failed.append(name)
        elif value < limit if kind == "min" else value > limit:
            failed.append(name)
    return failed


def _non_members(evidence: Evidence, items: ItemIndex, least: int) -> tuple[sp.csr_matrix, str]:
    """Profiles of held-out validation users, and over which time they are taken.

    Members are known by what they did before validation begins, so others are too ("before_validation"): the same time,
    the same fashions. Where too few have such a history, what they did in the validation period counts as well
    ("before_test"); fashions may then tell them from members, which `control_auc` shows and the calibrated attack
    makes up for. Without cuts members are known by everything they did, and so are others ("everything").
    """
    valid = evidence.held_out.filter(pl.col(ROLE) == VALID)
    rows = evidence.interactions.join(valid, on=C.USER, how="semi").filter(
        pl.col(C.ITEM).is_in(items.ids.tolist())
    )
    if evidence.valid_from is None or evidence.test_from is None:
        return profiles(rows, items), "everything"
    before = profiles(rows.filter(pl.col(C.TIMESTAMP) < evidence.valid_from), items)
    if before.shape[0] >= least:
        return before, "before_validation"
    return profiles(rows.filter(pl.col(C.TIMESTAMP) < evidence.test_from), items), "before_test"


def _check_items(sample: pl.DataFrame, items: ItemIndex, generator: str) -> None:
    if sample.is_empty():
        raise InputError(
            "the sample is empty", where=f"the sample of {generator}", fix="raise synthesis.ratio"
        )
    if (sample[C.ORIGIN] == REAL).any():
        raise InputError(
            "some rows of the sample claim to be real",
            where=f"the sample of {generator}",
            fix="draw the sample again",
        )
    unknown = int((items.encode(sample[C.ITEM]) < 0).sum())
    if unknown:
        raise InputError(
            f"{unknown} rows hold items that no training user touched",
            where=f"the sample of {generator}",
            fix="train the generator on this training set and draw again",
        )


def _shapes(people: People) -> dict[str, Any]:
    """Popularity by rank and the histogram of profile lengths."""
    tables = {"real": people.members, "synthetic": people.synthetic}
    shares = {
        name: np.sort(np.asarray(table.sum(axis=0)).ravel() / max(table.nnz, 1))[::-1][:_MAX_RANKS].tolist()
        for name, table in tables.items()
    }
    lengths = {name: np.diff(table.indptr) for name, table in tables.items()}
    longest = max(part.max() for part in lengths.values())
    width = -(-longest // _LENGTH_BINS)
    edges = np.arange(1, longest + 1 + width, width)
    counts = {name: np.histogram(part, edges)[0].tolist() for name, part in lengths.items()}
    return {"popularity": shares, "lengths": {"edges": edges.tolist(), **counts}}
