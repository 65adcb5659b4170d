"""How often the gate accepted generated data on data sets of a size, before any generator is
trained.

Beside this file, acceptance.json is a table of samples of real data sets and simulated shops, made
by `benchmarks.where_it_helps`: the size of each and whether generated users passed there. Samples
of about the size of some data count in full and all others at a weight, which that benchmark
chooses; it holds the estimate against sources left out of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from augrec.core.files import read_json

_TABLE: Final = Path(__file__).with_suffix(".json")
_BOUND: Final = 0.95
_FACTOR: Final = 3


@dataclass(frozen=True)
class Sample:
    """A measured sample of a data set.

    Attributes:
        users, items, interactions: of its training rows.
        accepted: whether the gate's rules accepted generated users for a recommender.
    """

    users: int
    items: int
    interactions: int
    accepted: bool

    def is_like(self, users: int, items: int, interactions: int) -> bool:
        """Whether users, items and interactions per user are each within a factor of 3 of these."""
        ours = self.users, self.items, self.interactions / self.users
        theirs = users, items, interactions / users
        return all(a <= _FACTOR * b and b <= _FACTOR * a for a, b in zip(ours, theirs, strict=True))


@dataclass(frozen=True)
class Acceptance:
    """What was measured on data like some data.

    Attributes:
        accepted, measured: among samples of about the size.
        accepted_anywhere, measured_anywhere: among all samples.
        others: what a sample of another size weighs.
    """

    accepted: int
    measured: int
    accepted_anywhere: int
    measured_anywhere: int
    others: float

    @property
    def chance(self) -> float:
        """That the gate accepts: the mean of a beta distribution, Jeffreys' prior and the
        samples."""
        a, b = self._beta
        return a / (a + b)

    @property
    def at_most(self) -> float:
        """The 95 % upper bound of the chance."""
        from scipy.special import betaincinv

        return float(betaincinv(*self._beta, _BOUND))

    @property
    def _beta(self) -> tuple[float, float]:
        accepted = self.accepted + self.others * (self.accepted_anywhere - self.accepted)
        measured = self.measured + self.others * (self.measured_anywhere - self.measured)
        return accepted + 0.5, measured - accepted + 0.5


def acceptance(users: int, items: int, interactions: int) -> Acceptance:
    """What the table says of data of a size; each number at least 1."""
    return compare(samples(), users, items, interactions, _table()["others"])


def compare(
    samples: Sequence[Sample], users: int, items: int, interactions: int, others: float
) -> Acceptance:
    """What these samples say of data of a size, see `acceptance`."""
    like = [one for one in samples if one.is_like(users, items, interactions)]
    return Acceptance(_accepted(like), len(like), _accepted(samples), len(samples), others)


def training_seconds(generator: str, steps: int, items: int) -> float | None:
    """The CPU time in which a generator with its default sizes takes these steps, as measured with
    the table; None: it was not measured."""
    found = _table()["seconds"].get(generator)
    return None if found is None else steps * (found["step"] + found["step_item"] * items)


@cache
def samples() -> tuple[Sample, ...]:
    """The table."""
    return tuple(Sample(*row[1:]) for row in _table()["samples"])


def _accepted(samples: Iterable[Sample]) -> int:
    return sum(one.accepted for one in samples)


@cache
def _table() -> Mapping[str, Any]:
    return read_json(_TABLE)
