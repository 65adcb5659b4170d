"""The contract of selectors: a number for each user of a sample, by which users are drawn or
weighted."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
import scipy.sparse as sp

from augrec.core import component
from augrec.core.component import Configured
from augrec.core.errors import ConfigError
from augrec.core.seeds import derive
from augrec.data.columns import Columns as C
from augrec.data.histories import ItemIndex
from augrec.data.similarity import profiles
from augrec.recommenders._taste.tastes import Tastes


@dataclass(frozen=True)
class Pool:
    """The users there are to choose from; user i of every array is the i-th in sorted order of
    their ids.

    Attributes:
        name: of the generator or operation that made them.
        rows: their canonical interactions, sorted by user.
        real: the real training interactions.
        sample_table: gives a further table of the generator's sample by name; None where there is
            none.
        tastes: the taste groups of the run; None: there are none.
    """

    name: str
    rows: pl.DataFrame
    real: pl.DataFrame
    sample_table: Callable[[str], pl.DataFrame | None]
    tastes: Tastes | None = None

    @cached_property
    def users(self) -> pl.Series:
        """Ids, sorted."""
        return self.rows[C.USER].unique().sort()

    @cached_property
    def items(self) -> ItemIndex:
        """Every item of real and synthetic users."""
        return ItemIndex(pl.concat([self.real[C.ITEM], self.rows[C.ITEM]]))

    @cached_property
    def profiles(self) -> sp.csr_matrix:
        """0/1 float32 (n, n_items)."""
        return profiles(self.rows, self.items)

    @cached_property
    def real_profiles(self) -> sp.csr_matrix:
        """Those of real users, 0/1 float32 (n_real, n_items)."""
        return profiles(self.real, self.items)

    @cached_property
    def popularity(self) -> np.ndarray:
        """Real users of each item, float64 (n_items,)."""
        return np.asarray(self.real_profiles.sum(axis=0), np.float64).ravel()


class Selector(Configured, ABC):
    """Gives each user of a pool a number of at least 0."""

    @abstractmethod
    def values(self, pool: Pool) -> np.ndarray:
        """In proportion to which users are drawn or weighted, float64 (n,); 0 leaves a user out."""


Steps = Sequence[Mapping[str, Mapping[str, Any] | None]]
"""As params.yaml has them: [{selector: {option: value}}, …]."""


def build(steps: Steps, *, seed: int, where: str) -> list[Selector]:
    """The selectors of a list in params.yaml.

    Raises:
        ConfigError: a step names no selector, or several, or an unknown option.
    """
    built = []
    for place, step in enumerate(steps):
        if len(step) != 1:
            raise ConfigError(
                "each step names one selector",
                where=f"params.yaml, {where}[{place}]",
                fix="write it as `- selector: {option: value}`",
            )
        [(name, config)] = step.items()
        kind = component.find(__package__, name, Selector)  # type: ignore[type-abstract]
        built.append(kind(config, seed=derive(seed, where, place, name)))
    return built


def product(selectors: Sequence[Selector], pool: Pool) -> np.ndarray:
    """Of all selectors' values, float64 (n,); ones without a selector."""
    values = np.ones(len(pool.users))
    for selector in selectors:
        values = values * selector.values(pool)
    return values


def best(scores: np.ndarray, keep: float) -> np.ndarray:
    """Which hold the highest scores, bool (n,): the share `keep` of them, of equals those that come
    first."""
    kept = np.zeros(len(scores), np.bool_)
    kept[np.argsort(-scores, kind="stable")[: round(keep * len(scores))]] = True
    return kept
