"""What a component learns from: one object for generators and recommenders."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

import polars as pl
from pydantic import Field

from augrec.core.component import Component
from augrec.core.config import BaseConfig
from augrec.data.ranking import Judging

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


@dataclass(frozen=True)
class TrainingData:
    """What a generator or a recommender learns from.

    Attributes:
        interactions: canonical interactions of training users. For a recommender `weight` and
            `observed` are honoured where present, and features of the moment (columns user__… and
            item__…) and `outcomes` may stand beside them. For a generator all rows are real.
        users: attributes of training users, one row a user; None: there are none.
        items: the items table, see `augrec.data.columns.ITEMS`; None: there is none.
        cases: validation cases, see `augrec.data.cases`, to choose a checkpoint by; generators
            never get any.
        metric: how cases are measured.
        previous: a fitted component of the same kind whose weights training begins at.
        since: with `previous`, learn only what users did from this moment on.
        older: with `since`, the weight of what those users did before it.
        log: receives the training curve.
        checkpoints: the folder to keep checkpoints in, and to go on from; None: none are kept.
        hardware: what training may use.
    """

    interactions: pl.DataFrame
    users: pl.DataFrame | None = None
    items: pl.DataFrame | None = None
    cases: pl.DataFrame | None = None
    metric: Judging = field(default_factory=Judging)
    previous: Component | None = None
    since: datetime | None = None
    older: float = 0.0
    log: Log = ignore
    checkpoints: Path | None = None
    hardware: Hardware = field(default_factory=Hardware)
