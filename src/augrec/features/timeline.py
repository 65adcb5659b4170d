"""Counts of an entity's events before a moment, for many entities and moments at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

DAY_US = 86_400_000_000
"""Microseconds in a day."""


class Timeline:
    """Events of entities 0 … n-1, sorted by entity and time; every query is a binary search.

    Args:
        entities: entity of each event, int64 (n_events,).
        times: time of each event in µs, int64 (n_events,).
        values: value of each event, float64 (n_events,), NaN without one; None: no event has one.
    """

    def __init__(
        self, entities: np.ndarray, times: np.ndarray, values: np.ndarray | None = None
    ) -> None:
        order = np.lexsort((times, entities))
        self.entities, self.times = entities[order], times[order]
        self._moments = np.unique(times)
        self._keys = self._key(self.entities, self.times)
        values = np.full(len(order), np.nan) if values is None else values[order]
        known = ~np.isnan(values)
        self._known = np.concatenate([[0], np.cumsum(known)])
        self._sums = np.concatenate([[0.0], np.cumsum(np.where(known, values, 0.0))])

    def _key(self, entities: np.ndarray, moments: np.ndarray) -> np.ndarray:
        # ranks instead of times, so that (entity, time) fits into one integer that sorts by both
        return entities * (len(self._moments) + 1) + np.searchsorted(
            self._moments, moments, side="left"
        )

    def position(self, entities: np.ndarray, moments: np.ndarray) -> np.ndarray:
        """Index of each entity's first event at or after its moment, int64 (n,)."""
        return np.searchsorted(self._keys, self._key(entities, moments), side="left")

    def start(self, entities: np.ndarray) -> np.ndarray:
        """Index of each entity's first event, int64 (n,)."""
        return np.searchsorted(self.entities, entities, side="left")

    def count(
        self, entities: np.ndarray, moments: np.ndarray, window_us: int | None = None
    ) -> np.ndarray:
        """Number of events in [moment - window, moment), or before the moment; int64 (n,)."""
        begin = (
            self.start(entities)
            if window_us is None
            else self.position(entities, moments - window_us)
        )
        return self.position(entities, moments) - begin

    def days_since_last(self, entities: np.ndarray, moments: np.ndarray) -> np.ndarray:
        """Days from the last event before the moment, float64 (n,); infinite without one."""
        position = self.position(entities, moments)
        known = position > self.start(entities)
        return _days(moments, self.times, np.maximum(position - 1, 0), known, otherwise=np.inf)

    def days_since_first(self, entities: np.ndarray, moments: np.ndarray) -> np.ndarray:
        """Days from the first event, float64 (n,); 0 where none lies before the moment."""
        start = self.start(entities)
        known = self.position(entities, moments) > start
        return _days(moments, self.times, start, known, otherwise=0.0)

    def mean_value(self, entities: np.ndarray, moments: np.ndarray) -> np.ndarray:
        """Mean value of the events before the moment, float64 (n,); NaN if none has a value."""
        start, end = self.start(entities), self.position(entities, moments)
        known = self._known[end] - self._known[start]
        total = self._sums[end] - self._sums[start]
        return np.where(known > 0, total / np.maximum(known, 1), np.nan)


@dataclass(frozen=True)
class Grid:
    """Times of the snapshots: multiples of a step since 1970, so that later data does not move
    them.

    Attributes:
        step_us: time between two snapshots, µs.
        windows_us: how long an event counts in each window, µs.
        begin_us: the first moment of the data, µs.
        end_us: its last moment, µs.
    """

    step_us: int
    windows_us: tuple[int, ...]
    begin_us: int
    end_us: int

    @property
    def final_us(self) -> int:
        """The moment of the last snapshot, strictly after all data, µs."""
        return self.end_us + 1

    def floor(self, moment_us: int) -> int:
        """The latest grid moment at or before `moment_us`."""
        return moment_us // self.step_us * self.step_us

    def snapshots(self, events: Timeline) -> tuple[np.ndarray, np.ndarray]:
        """Entities and times (int64, int64) of the snapshots at which a count differs from the one
        before: each event begins to count at one, and leaves each window at another."""
        changes = np.concatenate(
            [(events.times + passed) // self.step_us + 1 for passed in (0, *self.windows_us)]
        )
        entities = np.tile(events.entities, 1 + len(self.windows_us))
        n_steps = self.end_us // self.step_us + 1
        inside = changes < n_steps
        keys = np.unique(entities[inside] * n_steps + changes[inside])
        return keys // n_steps, keys % n_steps * self.step_us


def _days(
    moments: np.ndarray,
    times: np.ndarray,
    positions: np.ndarray,
    known: np.ndarray,
    otherwise: float,
) -> np.ndarray:
    days = np.full(len(moments), otherwise)
    days[known] = (moments[known] - times[positions[known]]) / DAY_US
    return days
