"""The membership attacks carried out on a sample, each beside the same attack on a sample that
knows nobody."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp

from augrec.audit.config import AuditConfig
from augrec.audit.inputs import People
from augrec.audit.membership import Attack, area, attack, effective_size, length_weights
from augrec.audit.nearest import nearest, some_rows
from augrec.core.seeds import rng
from augrec.data.popularity_sampling import draw_distinct

_ANYTHING = (0.0, 1.0)


@dataclass(frozen=True)
class Attacked:
    """The attack that succeeds best once its success against nobody is taken off.

    Attributes:
        best: its figures.
        control: its area on users drawn by popularity alone.
        by_name: the area of each attack, "plain" and "calibrated".
        n_effective: how many equally weighted people the smaller side is worth.
        interval, tpr_interval: of its area and its true-positive rate; (0, 1) with too few people
            to know.
    """

    best: Attack
    control: float
    by_name: dict[str, float]
    n_effective: float
    interval: tuple[float, float]
    tpr_interval: tuple[float, float]

    @property
    def bias(self) -> float:
        """How far the attack succeeds against nobody: the two groups of people differ by
        themselves."""
        return max(self.control - 0.5, 0.0)

    def roc(self) -> dict[str, Any]:
        """The ROC curve, to be drawn."""
        return {
            "false_positive_rate": self.best.false_positive_rate.tolist(),
            "true_positive_rate": self.best.true_positive_rate.tolist(),
        }


@dataclass(frozen=True)
class Scores:
    """What is known of n people: lengths int (n,), and float64 (n,) the likeness to the nearest in
    the sample (`sample`), among users drawn by popularity alone (`nobody`), and among training
    users other than themselves (`usual`)."""

    lengths: np.ndarray
    sample: np.ndarray
    nobody: np.ndarray
    usual: np.ndarray

    def by_attack(self, likeness: np.ndarray) -> dict[str, np.ndarray]:
        """The score of each attack, given the likeness to a sample."""
        return {"plain": likeness, "calibrated": likeness - self.usual}


class Attacker:
    """Holds a sample, and tells by it one group of people from another.

    Args:
        people: the training users, held-out users and the sample.
        config, seed: knobs, and the seed of what is drawn.
    """

    def __init__(self, people: People, config: AuditConfig, seed: int) -> None:
        self._people, self._config, self._seed = people, config, seed

    def find_members(self) -> Attacked | None:
        """Tell members from held-out users; None with fewer than two people on a side or no profile
        length in common."""
        return self._attack(self._members, self._scores(self._people.others))

    def find_strangers(self, strangers: sp.csr_matrix) -> Attacked | None:
        """Tell strangers, 0/1 (n, n_items), from members as if they were the members; None as for
        `find_members`."""
        return self._attack(self._scores(strangers), self._members)

    @cached_property
    def _members(self) -> Scores:
        return self._scores(self._people.members)

    @cached_property
    def _nobody(self) -> sp.csr_matrix:
        """As many users of the same lengths as the sample's, who take items by popularity alone."""
        people = self._people
        popularity = np.asarray(people.members.sum(axis=0)).ravel().astype(np.float64)
        lengths = np.minimum(np.diff(people.synthetic.indptr), (popularity > 0).sum())
        positions = draw_distinct(lengths, popularity, rng(self._seed, "control"))
        rows = np.repeat(np.arange(len(lengths)), lengths)
        return sp.csr_matrix(
            (np.ones(len(rows), np.float32), (rows, positions)), shape=people.synthetic.shape
        )

    def _scores(self, table: sp.csr_matrix) -> Scores:
        """Of at most `max_users` of them."""
        people, k = self._people, self._config.neighbours
        rows = some_rows(table.shape[0], self._config.max_users, rng(self._seed, "attacked"))
        asked, own = table[rows], rows if table is people.members else None
        return Scores(
            lengths=np.diff(asked.indptr),
            sample=nearest(asked, people.synthetic, k)[0],
            nobody=nearest(asked, self._nobody, k)[0],
            usual=nearest(asked, people.members, k, own=own)[0],
        )

    def _attack(self, first: Scores, second: Scores) -> Attacked | None:
        if min(len(first.lengths), len(second.lengths)) < 2:
            return None
        weights = length_weights(first.lengths, second.lengths)
        if not weights[0].any():
            return None
        config = self._config
        knobs: dict[str, Any] = {
            "samples": config.bootstrap_samples,
            "confidence": config.confidence,
        }
        scores = zip(
            *(side.by_attack(side.sample).items() for side in (first, second)), strict=True
        )
        found = {
            name: attack(a, b, *weights, seed=self._seed, **knobs) for (name, a), (_, b) in scores
        }
        controls = zip(
            *(side.by_attack(side.nobody).items() for side in (first, second)), strict=True
        )
        against = {name: area(a, b, *weights) for (name, a), (_, b) in controls}
        best = max(found, key=lambda name: found[name].auc - max(against[name] - 0.5, 0.0))
        n_effective = min(map(effective_size, weights))
        enough, chosen = n_effective >= config.min_attacked, found[best]
        return Attacked(
            best=chosen,
            control=against[best],
            by_name={name: result.auc for name, result in found.items()},
            n_effective=n_effective,
            interval=(chosen.low, chosen.high) if enough else _ANYTHING,
            tpr_interval=(chosen.tpr_low, chosen.tpr_high) if enough else _ANYTHING,
        )
