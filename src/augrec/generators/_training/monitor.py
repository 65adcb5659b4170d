"""The guard of a generator's training: tells ordinary training from a broken, collapsed or
one-sided one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
import scipy.sparse as sp

from augrec.core.seeds import rng
from augrec.data.columns import Columns as C

LOOK_AT_USERS = 256
"""How many users a look draws; coverage grows with their number, so every look draws as many."""

CRITIC_WINS = "critic_wins"
"""How surely the critic of the relativistic loss tells real from fake: the mean of sigmoid(score of
the real one - score of the fake one) over the pairs of a batch. 0.5 is a critic that guesses; with
gradient penalties it stays near there even where it is always right. Near 1 nothing is left for the
generator to follow, near 0 the critic leads it astray."""
CRITIC_LEADS = "critic_leads"
"""The same of a Wasserstein critic, whose scores have no scale, or of one without gradient penalty
against a loss that does not saturate. Such a critic is often near 1 in sound trainings and the
generator still follows, so that no more than losing is judged."""
CRITIC_AUC = "critic_auc"
"""How often a discriminator that only chooses scores a real history above a made one; losing is
judged alone here too."""
_CRITICS = (CRITIC_WINS, CRITIC_LEADS, CRITIC_AUC)
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


class Trouble(Exception):
    """What was seen that training does not recover from."""


def look(
    positions: np.ndarray, lengths: np.ndarray, n_items: int, popularity: np.ndarray | None = None
) -> dict[str, float]:
    """What is watched in a small sample.

    Args:
        positions: int (sum of lengths,), items of one user after the other.
        lengths: int (n,), distinct items of each user.
        n_items: size of the catalogue.
        popularity: (n_items,), how often each item occurs in the training data.

    Returns:
        coverage: share of the catalogue that somebody has.
        duplicates: share of profiles (of 3 items or more) that have a near twin before them:
            Jaccard 0.9 or more.
        popularity_correlation: Pearson's, of the items' counts with `popularity`, where it is
            given.
    """
    drawn = np.bincount(positions, minlength=n_items)
    found = {
        "coverage": float((drawn > 0).mean()),
        "duplicates": _near_duplicates(positions, lengths, n_items),
    }
    if popularity is not None:
        varied = drawn.std() > 0 and popularity.std() > 0
        found["popularity_correlation"] = (
            float(np.corrcoef(drawn, popularity)[0, 1]) if varied else 0.0
        )
    return found


def look_at_real(interactions: pl.DataFrame) -> dict[str, float]:
    """The same of as many real users, drawn with replacement: what a perfect memory of the data
    would show."""
    users = interactions[C.USER].unique().sort()
    chosen = users.gather(rng(0, "watch").integers(0, len(users), LOOK_AT_USERS)).alias(C.USER)
    rows = (
        interactions.select(C.USER, C.ITEM)
        .join(chosen.unique().to_frame(), on=C.USER, how="semi")
        .unique()
    )
    drawn = (
        chosen.to_frame()
        .with_row_index("row")
        .join(rows, on=C.USER)
        .select("row", pl.col(C.ITEM).rank("dense").cast(pl.Int64) - 1)
        .sort("row", C.ITEM)
    )
    lengths = np.bincount(drawn["row"].to_numpy(), minlength=LOOK_AT_USERS)
    return look(drawn[C.ITEM].to_numpy(), lengths, interactions[C.ITEM].n_unique())


class Watch:
    """Follows the rows of one training curve.

    Args:
        usual: what `look` finds in a sample that is sound: see `look_at_real`.
        steps: of the whole training.
        people: whose sample that is.
    """

    def __init__(self, usual: Mapping[str, float], steps: int, people: str = "real people") -> None:
        self._usual, self._steps, self._people = usual, steps, people
        self._sizes: dict[str, list[float]] = {}
        self._healthy: set[str] = set()
        self._strikes: dict[str, int] = {}

    def see(self, row: Mapping[str, float]) -> bool:
        """Whether all is well at this row; False: in doubt, the next rows will tell.

        Args:
            row: "step", losses of any sign and size, and what was looked at: `look`'s signs, the
                critics', "spread" (how far drawn vectors lie apart, 1 being those learnt from);
                none of them must be there.

        Raises:
            Trouble: it is not, or the doubt has lasted, or it is the last row's.
        """
        self._check_numbers(row)
        doubts = {sign: self._doubt(sign, row) for sign in (*_SAMPLES, *_CRITICS)}
        last = row["step"] >= self._steps
        for sign, doubt in doubts.items():
            self._strikes[sign] = self._strikes.get(sign, 0) + 1 if doubt else 0
            if doubt is None:
                continue
            patience = _PATIENCE_WITH_CRITIC if sign in _CRITICS else _PATIENCE
            if self._strikes[sign] >= patience or last:
                raise Trouble(doubt)
        return not any(doubts.values())

    def _check_numbers(self, row: Mapping[str, float]) -> None:
        for name, value in row.items():
            if not np.isfinite(value):
                raise Trouble(f"{name} is not a number")
            if name == "step":
                continue
            size, before = abs(value), self._sizes.setdefault(name, [])
            usual = max(1.0, float(np.median(before))) if before else _EXPLODED / _GREW
            if size > min(_EXPLODED, _GREW * usual):
                raise Trouble(f"{name} exploded to {value:.3g}")
            before.append(size)

    def _doubt(self, sign: str, row: Mapping[str, float]) -> str | None:
        """What is wrong with one sign, if anything is."""
        if sign not in row:
            return None
        doubt = self._limit(sign, row[sign])
        if doubt is None:
            self._healthy.add(sign)
        elif sign not in self._healthy and sign in _SAMPLES and row["step"] < self._steps / 2:
            return None  # it may not have learnt to vary yet
        return doubt

    def _limit(self, sign: str, value: float) -> str | None:
        if sign == "duplicates" and value > self._usual[sign] + _MORE_DUPLICATES:
            return (
                f"{value:.0%} of the profiles of a sample are near copies of each other; "
                f"of as many {self._people} {self._usual[sign]:.0%}"
            )
        if sign == "coverage" and value < _LEAST_COVERAGE * self._usual[sign]:
            return (
                f"item coverage shrank: {LOOK_AT_USERS} synthetic users have {value:.1%} of the "
                "items, "
                f"as many {self._people} {self._usual[sign]:.1%}"
            )
        if sign == "spread" and value < _LEAST_SPREAD:
            return (
                f"vectors collapse to one place: drawn ones lie {value:.1%} as far apart as "
                "those to learn"
            )
        if sign == CRITIC_WINS and value > _WON:
            return f"the critic wins outright: it is {value:.1%} sure which profiles are real"
        if sign in _CRITICS and value < _LOST:
            return (
                f"the critic loses outright: it is {1 - value:.1%} sure that fake profiles are "
                "the real ones"
            )
        return None


def _near_duplicates(positions: np.ndarray, lengths: np.ndarray, n_items: int) -> float:
    if not (long := lengths >= _MIN_PROFILE).any():
        return 0.0
    ends = np.concatenate([[0], np.cumsum(lengths)])
    matrix = sp.csr_matrix(
        (np.ones(len(positions), np.float32), positions, ends), (len(lengths), n_items)
    )
    profiles, sizes = matrix[long], lengths[long]
    shared = (profiles @ profiles.T).toarray()  # (n, n)
    near = shared >= _NEAR * (sizes[:, None] + sizes[None, :] - shared)
    return float(np.tril(near, -1).any(axis=1).mean())
