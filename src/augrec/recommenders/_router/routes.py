"""Which members of a router serve which users, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from augrec.data.slices import SLICES


@dataclass
class Routes:
    """What is chosen for each of the S slices of `augrec.data.slices` among M members.

    Attributes:
        labels: the members' labels.
        weights: of each member's scores, float64 (S, M).
        validated: each member's NDCG on validation users, alone, float64 (S, M); NaN: not measured.
        n_users: validation users, int64 (S,).
        gains: what blending gained on users that had no part in choosing it, float64 (S,).
        new_shares: the share of a list for new items, float64 (S,).
        placing: the member that ranks new items, int64 (S,); -1: they are not ranked apart.
    """

    labels: list[str]
    weights: np.ndarray
    validated: np.ndarray
    n_users: np.ndarray
    gains: np.ndarray
    new_shares: np.ndarray
    placing: np.ndarray

    @classmethod
    def empty(cls, labels: list[str]) -> Routes:
        """Nothing is chosen yet."""
        shape, n = (len(SLICES), len(labels)), len(SLICES)
        return cls(
            labels,
            np.zeros(shape),
            np.full(shape, np.nan),
            np.zeros(n, np.int64),
            np.zeros(n),
            np.zeros(n),
            np.zeros(n, np.int64),
        )

    def choices(self, metric: str) -> dict[str, dict[str, Any]]:
        """For each slice what was chosen, and by what evidence, as JSON has it.

        Args:
            metric: the name of what `validated` holds.
        """
        return {
            name: {
                "weights": self._weights(place),
                "n_users": int(self.n_users[place]),
                metric: {
                    label: value
                    for label, value in zip(
                        self.labels, self.validated[place].tolist(), strict=True
                    )
                    if np.isfinite(value)
                },
                "gain_of_blending": float(self.gains[place]),
                "new_item_share": float(self.new_shares[place]),
                "new_items_by": self.labels[self.placing[place]]
                if self.placing[place] >= 0
                else None,
            }
            for place, name in enumerate(SLICES)
        }

    def percentages(self) -> dict[str, int]:
        """The percentage of each member in each slice, by percent_slice_label."""
        return {
            f"percent_{name.strip('+')}_{label}": round(100 * weight)
            for place, name in enumerate(SLICES)
            for label, weight in self._weights(place).items()
        }

    def summary(self, place: int) -> str:
        """One slice in words, for the log."""
        parts = [f"{weight:.2g} {label}" for label, weight in self._weights(place).items()]
        return f"{' + '.join(parts)} ({self.n_users[place]} validation users)"

    def state(self) -> dict[str, np.ndarray]:
        """Arrays to store."""
        arrays = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return arrays | {"labels": np.array(self.labels, dtype=str)}

    @classmethod
    def from_state(cls, state: dict[str, np.ndarray]) -> Routes:
        """Restore what `state` gave."""
        arrays = {name: state[name] for name in cls.__dataclass_fields__}
        return cls(**{**arrays, "labels": state["labels"].tolist()})

    def _weights(self, place: int) -> dict[str, float]:
        weights = zip(self.labels, self.weights[place].tolist(), strict=True)
        return {label: weight for label, weight in weights if weight}
