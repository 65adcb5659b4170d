"""The membership attacks on a sample, each with a control: the same attack on users drawn by
popularity alone, who hold no information about any training user."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp

from augrec.audit.config import AuditConfig
from augrec.audit.inputs import ProfileSets
from augrec.audit.membership import Attack, area, attack, effective_size, length_weights
from augrec.audit.nearest import nearest, some_rows
from augrec.core.seeds import rng
from augrec.data.popularity_sampling import draw_distinct

_ANYTHING = (0.0, 1.0)


@dataclass(frozen=True)
class AttackResult:
    """The stronger attack, by its area minus the bias that its control shows.

    Attributes:
        best: its figures.
        control: its area on users drawn by popularity alone.
        by_name: the area of each attack, "plain" and "calibrated".
        n_effective: effective number of users on the smaller side.
        interval, tpr_interval: of its area and its true-positive rate; (0, 1) with too few users.
    """

    best: Attack
    control: float
    by_name: dict[str, float]
    n_effective: float
    interval: tuple[float, float]
    tpr_interval: tuple[float, float]

    @property
    def bias(self) -> float:
        """How far the control's area lies above 0.5: the two groups of users differ by
        themselves."""
        return max(self.control - 0.5, 0.0)

    def roc(self) -> dict[str, Any]:
        """The ROC curve, for the page."""
        return {
            "false_positive_rate": self.best.false_positive_rate.tolist(),
            "true_positive_rate": self.best.true_positive_rate.tolist(),
        }


@dataclass(frozen=True)
class Scores:
    """Profile lengths of n users, int (n,), and their likeness to the nearest profile, float64
    (n,): of the sample (`sample`), of users drawn by popularity alone (`control`), and of training
    users other than themselves (`training`)."""

    lengths: np.ndarray
    sample: np.ndarray
    control: np.ndarray
    training: np.ndarray

    def by_attack(self, likeness: np.ndarray) -> dict[str, np.ndarray]:
        """The score of each attack, given the likeness to a sample."""
        return {"plain": likeness, "calibrated": likeness - self.training}


class Attacker:
    """Attacks with a sample: distinguishes one group of users from another.

    Args:
        sets: the training users, held-out users and the sample.
        config, seed: settings, and the seed of what is drawn.
    """

    def __init__(self, sets: ProfileSets, config: AuditConfig, seed: int) -> None:
        self._sets, self._config, self._seed = sets, config, seed

    def attack_members(self) -> AttackResult | None:
        """Distinguish members from held-out users; None with fewer than two users on a side or no
        profile length in common."""
        return self._attack(self._members, self._scores(self._sets.non_members))

    def attack_held_out(self, held_out: sp.csr_matrix) -> AttackResult | None:
        """Distinguish held-out users, 0/1 (n, n_items), from members as if they were the members;
        None as for `attack_members`."""
        return self._attack(self._scores(held_out), self._members)

    @cached_property
    def _members(self) -> Scores:
        return self._scores(self._sets.members)

    @cached_property
    def _control(self) -> sp.csr_matrix:
        """As many users of the same lengths as the sample's, who take items by popularity alone."""
        sets = self._sets
        popularity = np.asarray(sets.members.sum(axis=0)).ravel().astype(np.float64)
        lengths = np.minimum(np.diff(sets.synthetic.indptr), (popularity > 0).sum())
        positions = draw_distinct(lengths, popularity, rng(self._seed, "control"))
        rows = np.repeat(np.arange(len(lengths)), lengths)
        return sp.csr_matrix(
            (np.ones(len(rows), np.float32), (rows, positions)), shape=sets.synthetic.shape
        )

    def _scores(self, table: sp.csr_matrix) -> Scores:
        """Of at most `max_users` of them."""
        sets, k = self._sets, self._config.neighbours
        rows = some_rows(table.shape[0], self._config.max_users, rng(self._seed, "attacked"))
        asked, own = table[rows], rows if table is sets.members else None
        return Scores(
            lengths=np.diff(asked.indptr),
            sample=nearest(asked, sets.synthetic, k)[0],
            control=nearest(asked, self._control, k)[0],
            training=nearest(asked, sets.members, k, own=own)[0],
        )

    def _attack(self, first: Scores, second: Scores) -> AttackResult | None:
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
            *(side.by_attack(side.control).items() for side in (first, second)), strict=True
        )
        against = {name: area(a, b, *weights) for (name, a), (_, b) in controls}
        best = max(found, key=lambda name: found[name].auc - max(against[name] - 0.5, 0.0))
        n_effective = min(map(effective_size, weights))
        enough, chosen = n_effective >= config.min_attacked, found[best]
        return AttackResult(
            best=chosen,
            control=against[best],
            by_name={name: result.auc for name, result in found.items()},
            n_effective=n_effective,
            interval=(chosen.low, chosen.high) if enough else _ANYTHING,
            tpr_interval=(chosen.tpr_low, chosen.tpr_high) if enough else _ANYTHING,
        )
