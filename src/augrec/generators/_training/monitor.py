"""The monitor of a generator's training: tells a sound training from one that diverges, collapses,
is won by one side or teaches nothing."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from augrec.core.seeds import rng
from augrec.data.columns import Columns as C
from augrec.data.histories import ItemIndex
from augrec.data.item_pairs import ItemPairs, profile_matrix
from augrec.data.similarity import profiles

N_SAMPLED_USERS = 256
"""Users in every sample that statistics are taken of; coverage grows with their number, so it is
always the same."""

CRITIC_WINS = "critic_wins"
"""The confidence of a relativistic loss's critic: the mean of sigmoid(score of the real one - score
of the fake one) over the pairs of a batch. 0.5 is a critic that guesses; with gradient penalties it
stays near there even where it is always right. Near 1 the generator has no gradient to follow, near
0 the critic misleads it."""
CRITIC_LEADS = "critic_leads"
"""The same of a Wasserstein critic, whose scores have no scale, or of one without gradient penalty
against a loss that does not saturate. Such a critic is often near 1 in sound trainings, and the
generator still follows: only a critic that loses is an alarm."""
CRITIC_AUC = "critic_auc"
"""How often a discriminator that only selects candidates scores a real history above a synthetic
one; here too only a critic that loses is an alarm."""
_CRITICS = (CRITIC_WINS, CRITIC_LEADS, CRITIC_AUC)
_CONFIDENT = (CRITIC_WINS, CRITIC_LEADS)
_SAMPLES = ("duplicates", "coverage", "spread")

_EXPLODED = 1e6
_GREW = 1e3
_MORE_DUPLICATES = 0.2
_LEAST_COVERAGE = 0.3
_LEAST_SPREAD = 0.1
_WON, _LOST = 0.95, 0.05
_PATIENCE = 2
_PATIENCE_WITH_CRITIC = 3
_NEAR = 0.9
_MIN_PROFILE = 3
_GUESSES = 0.02
_LEAST_ROWS, _LEAST_STEPS = 4, 100
_PAIRED_ITEMS = 100
_DRAWS = 12
_PAIRS, _PAIRS_BY_POPULARITY = "pair_likeness", "pair_likeness_by_popularity"


class TrainingDiverged(Exception):
    """Something was measured that training does not recover from; the message says what."""


class TaughtNothing(Exception):
    """The whole training left the generator where it began; the message says how that is seen."""


def sample_statistics(
    positions: np.ndarray,
    lengths: np.ndarray,
    n_items: int,
    popularity: np.ndarray | None = None,
    pairs: ItemPairs | None = None,
) -> dict[str, float]:
    """Statistics of a small sample that the monitor checks.

    Args:
        positions: int (sum of lengths,), items of one user after the other.
        lengths: int (n,), distinct items of each user.
        n_items: size of the catalogue.
        popularity: (n_items,), how often each item occurs in the training data.
        pairs: which items go together in the training data.

    Returns:
        coverage: share of the catalogue that occurs.
        duplicates: share of profiles (of at least 3 items) with a near twin before them: Jaccard
            similarity of at least 0.9.
        popularity_correlation: Pearson's, of the items' counts with `popularity`, where it is
            given.
        pair_likeness: how much the items go together as in `pairs`, where they are given: see
            `ItemPairs.likeness`.
    """
    drawn = np.bincount(positions, minlength=n_items)
    statistics = {
        "coverage": float((drawn > 0).mean()),
        "duplicates": _near_duplicates(positions, lengths, n_items),
    }
    if popularity is not None:
        varied = drawn.std() > 0 and popularity.std() > 0
        statistics["popularity_correlation"] = (
            float(np.corrcoef(drawn, popularity)[0, 1]) if varied else 0.0
        )
    if pairs is not None:
        found = pairs.likeness(profile_matrix(positions, lengths, n_items))
        statistics[_PAIRS] = found or 0.0
    return statistics


def item_pairs(interactions: pl.DataFrame) -> ItemPairs:
    """Which items go together among real users, for `sample_statistics`."""
    items = ItemIndex(interactions[C.ITEM])
    return ItemPairs.of(profiles(interactions, items), _PAIRED_ITEMS)


def real_statistics(interactions: pl.DataFrame) -> dict[str, float]:
    """`sample_statistics` of real users, as many as in a sample and drawn with replacement: what a
    perfect memory of the data would give.

    With them pair_likeness_by_popularity: what users with items drawn by popularity alone have at
    most, the mean of some draws and twice their deviation.
    """
    pairs, random = item_pairs(interactions), rng(0, "watch")
    drawn = pairs.resampled(N_SAMPLED_USERS, random)
    lengths, n_items = np.diff(drawn.indptr), drawn.shape[1]
    by_popularity = [
        pairs.likeness(pairs.independent(lengths, random)) or 0.0 for _ in range(_DRAWS)
    ]
    return {
        **sample_statistics(drawn.indices, lengths, n_items, pairs=pairs),
        _PAIRS_BY_POPULARITY: float(np.mean(by_popularity) + 2 * np.std(by_popularity, ddof=1)),
    }


class TrainingMonitor:
    """Checks the rows of one training curve, one after the other.

    Args:
        reference: statistics of a sound sample, see `real_statistics`.
        steps: of the whole training.
        reference_users: whose sample that is, for messages.
    """

    def __init__(
        self, reference: Mapping[str, float], steps: int, reference_users: str = "real users"
    ) -> None:
        self._reference, self._steps, self._reference_users = reference, steps, reference_users
        self._sizes: dict[str, list[float]] = {}
        self._healthy: set[str] = set()
        self._strikes: dict[str, int] = {}
        self._rows: list[Mapping[str, float]] = []

    def check(self, row: Mapping[str, float]) -> bool:
        """Whether the training is sound at this row; False: suspicious, the next rows decide.

        Args:
            row: "step", losses of any sign and size, and what was measured: `sample_statistics`,
                the critics' confidence, "spread" (how far drawn vectors lie apart, 1 being those
                learnt from); each of them is optional.

        Raises:
            TrainingDiverged: it is not sound, has been suspicious for too long, or is at the last
                row.
            TaughtNothing: this is the last row, and at no row was the generator further than users
                drawn by popularity, nor the critic able to tell its users from real ones.
        """
        self._check_numbers(row)
        alarms = {sign: self._alarm(sign, row) for sign in (*_SAMPLES, *_CRITICS)}
        last = row["step"] >= self._steps
        for sign, alarm in alarms.items():
            self._strikes[sign] = self._strikes.get(sign, 0) + 1 if alarm else 0
            if alarm is None:
                continue
            patience = _PATIENCE_WITH_CRITIC if sign in _CRITICS else _PATIENCE
            if self._strikes[sign] >= patience or last:
                raise TrainingDiverged(alarm)
        self._rows.append(row)
        if last:
            self._check_taught()
        return not any(alarms.values())

    def _check_taught(self) -> None:
        """Compare the second half of the rows with an independent draw; too few rows or steps, or
        too little data to see the difference in a sample, decide nothing."""
        chance, real = (self._reference.get(key) for key in (_PAIRS_BY_POPULARITY, _PAIRS))
        later = [row[_PAIRS] for row in self._rows[len(self._rows) // 2 :] if _PAIRS in row]
        critic = [row[sign] for row in self._rows for sign in _CONFIDENT if sign in row]
        few = len(critic) < _LEAST_ROWS or self._steps < _LEAST_STEPS
        if chance is None or real is None or not later or few:
            return
        guesses = max(abs(share - 0.5) for share in critic) < _GUESSES
        if guesses and real > 3 * max(chance, 0.0) + _GUESSES and np.mean(later) < chance:
            raise TaughtNothing(
                "from the first row of its curve to the last the critic guessed, "
                f"and items go together in its users no more ({np.mean(later):.2f}) than in users "
                f"drawn by popularity (up to {chance:.2f}; {self._reference_users}: {real:.2f})"
            )

    def _check_numbers(self, row: Mapping[str, float]) -> None:
        for name, value in row.items():
            if not np.isfinite(value):
                raise TrainingDiverged(f"{name} is not a number")
            if name == "step":
                continue
            size, before = abs(value), self._sizes.setdefault(name, [])
            usual = max(1.0, float(np.median(before))) if before else _EXPLODED / _GREW
            if size > min(_EXPLODED, _GREW * usual):
                raise TrainingDiverged(f"{name} exploded to {value:.3g}")
            before.append(size)

    def _alarm(self, sign: str, row: Mapping[str, float]) -> str | None:
        """What is wrong with one of the measured signs, if anything is."""
        if sign not in row:
            return None
        alarm = self._limit(sign, row[sign])
        if alarm is None:
            self._healthy.add(sign)
        elif sign not in self._healthy and sign in _SAMPLES and row["step"] < self._steps / 2:
            return None  # it may not have learnt to vary yet
        return alarm

    def _limit(self, sign: str, value: float) -> str | None:
        if sign == "duplicates" and value > self._reference[sign] + _MORE_DUPLICATES:
            return (
                f"{value:.0%} of the profiles of a sample are near copies of each other; among "
                f"{self._reference_users} {self._reference[sign]:.0%}"
            )
        if sign == "coverage" and value < _LEAST_COVERAGE * self._reference[sign]:
            return (
                f"item coverage shrank: {N_SAMPLED_USERS} synthetic users have {value:.1%} of the "
                f"items, {N_SAMPLED_USERS} {self._reference_users} {self._reference[sign]:.1%}"
            )
        if sign == "spread" and value < _LEAST_SPREAD:
            return (
                f"vectors collapse to one point: drawn ones lie {value:.1%} as far apart as those "
                "to learn"
            )
        if sign == CRITIC_WINS and value > _WON:
            return f"the critic wins outright: it is {value:.1%} sure which profiles are real"
        if sign in _CRITICS and value < _LOST:
            return (
                f"the critic loses outright: it is {1 - value:.1%} sure that fake profiles are the "
                "real ones"
            )
        return None


def _near_duplicates(positions: np.ndarray, lengths: np.ndarray, n_items: int) -> float:
    if not (long := lengths >= _MIN_PROFILE).any():
        return 0.0
    chosen = profile_matrix(positions, lengths, n_items)[long]
    sizes = lengths[long]
    shared = (chosen @ chosen.T).toarray()  # (n, n)
    near = shared >= _NEAR * (sizes[:, None] + sizes[None, :] - shared)
    return float(np.tril(near, -1).any(axis=1).mean())
