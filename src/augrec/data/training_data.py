"""Training data: the one input of `fit`, for generators and recommenders."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
import scipy.sparse as sp
from pydantic import Field

from augrec.core.component import Component
from augrec.core.config import BaseConfig
from augrec.core.data_shape import DataShape
from augrec.core.errors import InputError
from augrec.data.columns import TIME, require
from augrec.data.columns import Columns as C
from augrec.data.histories import Histories, ItemIndex
from augrec.data.outcomes import last_known
from augrec.data.ranking import RankingMetric

_DAY_US = 86_400_000_000

Log = Callable[[Mapping[str, float]], None]
"""Receives one row of a training curve, e.g. {"step": 100, "loss": 3.2, "ndcg@10": 0.21}.

A generator's training may go back: a step that was logged before is then logged again, and that row
and those after it are void.
"""


class Hardware(BaseConfig):
    """The section `hardware` of params.yaml: what a training may use."""

    devices: int = Field(default=1, ge=1)
    """GPUs that train together, or processes where there is no GPU."""
    precision: Literal["auto", "full", "bf16"] = "auto"
    """bf16: mixed precision; auto takes it where the GPU has it."""
    capture: bool = True
    """Whether a training step may be replayed as one CUDA graph."""


def ignore(row: Mapping[str, float]) -> None:
    """A log that keeps nothing."""


@dataclass(frozen=True, eq=False)
class TrainingData:
    """What a generator or a recommender learns from.

    The properties derive what many recommenders need, each once and when it is first asked for.

    Attributes:
        interactions: canonical interactions of training users. For a generator all rows are real.
            For a recommender `weight` and `observed` are honoured where present; a row of weight 0
            counts as absent; one with `negative` says that the user saw the item and left it;
            features of the moment (columns user__… and item__…) and `outcomes` are optional.
        users: attributes of training users, one row a user; None: there are none.
        items: the items table, see `augrec.data.columns.ITEMS`; None: there is none.
        cases: validation cases, see `augrec.data.cases`, to choose a checkpoint by; None: the last
            one is kept. Generators never get any.
        metric: how cases are measured.
        previous: a fitted component of the same kind whose weights training starts from.
        since: learn only from users who did something from this moment on, outcomes included; what
            they did before is read as history. Catalogue and popularity are those of all rows. If
            no user did anything since, all rows are learnt.
        older: with `since`, the weight of what those users did before it; 0: it is only read.
        decided: a fitted component of the same kind, whose decisions on validation users are taken
            over: how long to train, whom a router sends where. Nothing is measured on `cases` then,
            which may be among the interactions.
        tastes: the taste groups of the run, a fitted `augrec.recommenders._taste.tastes.Tastes`;
            None: there are none.
        log: receives the training curve.
        checkpoints: the folder to keep checkpoints in, and to resume from; None: none are kept.
        hardware: what training may use.
    """

    interactions: pl.DataFrame
    _: KW_ONLY
    users: pl.DataFrame | None = None
    items: pl.DataFrame | None = None
    cases: pl.DataFrame | None = None
    metric: RankingMetric = field(default_factory=RankingMetric)
    previous: Component | None = None
    since: datetime | None = None
    older: float = 0.0
    decided: Component | None = None
    tastes: Component | None = None
    log: Log = ignore
    checkpoints: Path | None = None
    hardware: Hardware = field(default_factory=Hardware)

    @cached_property
    def positives(self) -> pl.DataFrame:
        """The interactions that count: neither negative nor of weight 0.

        Raises:
            InputError: columns are missing, a weight is negative or not a number, or no row counts.
        """
        rows = self.interactions
        require(rows, {C.USER: pl.String, C.ITEM: pl.String}, where="training interactions")
        if C.NEGATIVE in rows.columns:
            rows = rows.filter(~pl.col(C.NEGATIVE))
        weights = row_weights(rows)
        if not (np.isfinite(weights) & (weights >= 0)).all():
            raise InputError(
                "weights must be numbers of at least 0",
                where="training interactions, column weight",
                fix="check the `weight` options of the policy in params.yaml",
            )
        rows = rows.filter(pl.Series(weights > 0, dtype=pl.Boolean))
        if rows.is_empty():
            raise InputError(
                "there is nothing to learn from",
                where="training interactions",
                fix="check the data window",
            )
        return rows

    @cached_property
    def catalogue(self) -> ItemIndex:
        """The items of `positives`."""
        return ItemIndex(self.positives[C.ITEM])

    @cached_property
    def popularity(self) -> np.ndarray:
        """Each catalogue item's share of the weight of `positives`, float32 (n_items,)."""
        return self.popularity_in(self.catalogue)

    def popularity_in(self, items: ItemIndex, weights: np.ndarray | None = None) -> np.ndarray:
        """Popularity in another catalogue, or by other weights.

        Args:
            items: a catalogue that holds all items of `positives`.
            weights: of the rows of `positives`, float64 (n,); None: their own.

        Returns:
            float32 (n_items,); it sums to 1, and is 0 for items without interactions.
        """
        weights = row_weights(self.positives) if weights is None else weights
        total = np.bincount(items.encode(self.positives[C.ITEM]), weights, len(items))
        return (total / total.sum()).astype(np.float32)

    @cached_property
    def shape(self) -> DataShape:
        """The size of `positives`, and the columns there are of users and items."""
        rows, items, users = self.positives, self.items, self.users
        described = [] if items is None else [name for name in items.columns if name != C.ITEM]
        of_users, of_items = (
            rows.group_by(key).len()["len"].cast(pl.Float64).to_numpy() for key in (C.USER, C.ITEM)
        )
        user_length, item_length = (float((n**2).sum() / len(rows)) for n in (of_users, of_items))
        wanted = None if self.cases is None else self.cases["targets"].list.len().mean()
        return DataShape(
            n_users=len(of_users),
            n_items=len(of_items),
            n_interactions=len(rows),
            n_listed_items=0 if items is None else len(items),
            item_columns=frozenset(
                name for name in described if items is not None and items[name].count() > 0
            ),
            user_columns=frozenset(() if users is None else users.columns) - {C.USER},
            user_length=user_length,
            item_length=item_length,
            user_variance=long_row_variance(of_users, item_length),
            item_variance=long_row_variance(of_items, user_length),
            n_targets=wanted if isinstance(wanted, float) else None,
        )

    @cached_property
    def learnt(self) -> pl.DataFrame:
        """The rows of `positives` to learn from: all of them, or, with `since`, those of the users
        who did something since, with older rows weighing `older` times what they did."""
        rows = self.positives
        if self.since is None:
            return rows
        recent = last_known(rows) >= self.since
        users = rows.filter(recent).select(C.USER).unique()
        if users.is_empty():
            return rows
        weights = row_weights(rows) * np.where(recent, 1.0, self.older)
        return rows.with_columns(pl.Series(C.WEIGHT, weights, dtype=pl.Float32)).join(
            users, on=C.USER, how="semi", maintain_order="left"
        )

    @cached_property
    def histories(self) -> Histories:
        """The histories of the users of `learnt`, with their attributes, over `catalogue`."""
        return Histories.from_interactions(self.learnt, self.catalogue).with_user_features(
            self.users
        )

    @cached_property
    def named_negatives(self) -> sp.csr_matrix | None:
        """The negatives that the interactions name for each user of `histories`: 0/1 float32
        (n_users, n_items); None: there are none. Unknown users and items are left out."""
        if C.NEGATIVE not in self.interactions.columns:
            return None
        ids = {C.USER: self.histories.users.tolist()}
        users = pl.DataFrame(ids, schema={C.USER: pl.String}).with_row_index("place")
        rows = self.interactions.filter(C.NEGATIVE).select(C.USER, C.ITEM).join(users, on=C.USER)
        position = self.catalogue.encode(rows[C.ITEM])
        known = position >= 0
        entries = (rows["place"].to_numpy()[known], position[known])
        shape = (len(users), len(self.catalogue))
        matrix = sp.csr_matrix((np.ones(len(entries[0]), np.float32), entries), shape=shape)
        return matrix if matrix.nnz else None


def long_row_variance(lengths: np.ndarray, other_length: float) -> float:
    """Σ v³ / Σ v² over rows, v being the sum of the variances p (1 - p) in a row of n entries if
    each is there by chance: with the probability p that the row's and the column's activity give.

    Args:
        lengths: n of each row, float64.
        other_length: Σ n² / Σ n of the columns.
    """
    variances = lengths * np.clip(1 - lengths * other_length / lengths.sum(), 0, 1)
    squares = float((variances**2).sum())
    return float((variances**3).sum()) / squares if squares else 0.0


def row_weights(interactions: pl.DataFrame) -> np.ndarray:
    """The weight of each row, float64 (n,); 1 without a column `weight`, NaN where it is null."""
    if C.WEIGHT not in interactions.columns:
        return np.ones(len(interactions))
    return interactions[C.WEIGHT].cast(pl.Float64).fill_null(np.nan).to_numpy()


def recency(
    interactions: pl.DataFrame, half_life_days: float | None, window_days: float | None
) -> np.ndarray:
    """The weight of each row by its age, the time before the newest interaction: 2^(-age /
    half_life_days), and 0 from an age of window_days on.

    Args:
        interactions: with timestamps, unless both others are None.
        half_life_days: None: no decay.
        window_days: None: no end.

    Returns:
        float64 (n,) in [0, 1]; 1 for the newest.

    Raises:
        InputError: there are no timestamps and they are needed.
    """
    if half_life_days is None and window_days is None:
        return np.ones(len(interactions))
    require(
        interactions,
        {C.TIMESTAMP: TIME},
        where="training interactions, for half_life_days or window_days",
    )
    times = interactions[C.TIMESTAMP].dt.epoch("us").to_numpy()
    age_days = (times.max() - times) / _DAY_US
    counts = np.ones(len(times)) if half_life_days is None else np.exp2(-age_days / half_life_days)
    return counts if window_days is None else np.where(age_days < window_days, counts, 0.0)
