"""What a generator learns from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import polars as pl

from augrec.data.training_data import Hardware

Log = Callable[[Mapping[str, float]], None]
"""Receives one row of a training curve, e.g. {"step": 100, "critic": 0.7, "generator": 0.9}.

A step that was told before is told again where training went back: its row, and those after it, are
void then.
"""


@dataclass(frozen=True)
class Lesson:
    """What a generator learns from.

    Attributes:
        interactions: canonical interactions of training users, all of them real.
        users: user attributes to condition on, one row a user; None: there are none.
        items: what is known of the items (see `augrec.data.columns.ITEMS`); None: nothing.
        log: receives the training curve.
        checkpoints: a folder for the latest sound state of the training, which an interrupted
            training of the same configuration and data goes on from; None: none is kept.
        hardware: how many devices train together, and in which precision.
    """

    interactions: pl.DataFrame
    users: pl.DataFrame | None
    items: pl.DataFrame | None
    log: Log
    checkpoints: Path | None
    hardware: Hardware = field(default_factory=Hardware)

    def part(self, name: str, *, after: int = 0) -> Lesson:
        """The lesson for one of several trainings in turn: checkpoints of its own, a curve that
        goes on after `after` steps."""
        return replace(
            self,
            log=lambda row: self.log({**row, "step": row["step"] + after}),
            checkpoints=None if self.checkpoints is None else self.checkpoints / name,
        )
