"""How often the gate accepted generated data on data sets of a size, before any generator is
trained.

Beside this file, acceptance.json is a table of samples of real data sets and simulated shops, made
by `benchmarks.where_it_helps`: the size of each and whether generated users passed there. Data are
compared with the samples of about their size, each count within a factor; that benchmark chooses
the factor and holds the estimate against samples left out of it.
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
_OTHERS: Final = 0.1


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

    def is_like(self, users: int, items: int, interactions: int, factor: float) -> bool:
        """Whether users, items and interactions per user are each within a factor of these."""
        ours = self.users, self.items, self.interactions / self.users
        theirs = users, items, interactions / users
        return all(a <= factor * b and b <= factor * a for a, b in zip(ours, theirs, strict=True))


@dataclass(frozen=True)
class Acceptance:
    """What was measured on data like some data.

    Attributes:
        accepted, measured: among samples of about the size.
        accepted_anywhere, measured_anywhere: among all samples.
    """

    accepted: int
    measured: int
    accepted_anywhere: int
    measured_anywhere: int

    @property
    def chance(self) -> float:
        """That the gate accepts: the mean of a beta distribution, Jeffreys' prior with the samples
        of about the size; each of the others counts as `_OTHERS` of one."""
        a, b = self._beta
        return a / (a + b)

    @property
    def at_most(self) -> float:
        """The 95 % upper bound of the chance."""
        from scipy.special import betaincinv

        return float(betaincinv(*self._beta, _BOUND))

    @property
    def _beta(self) -> tuple[float, float]:
        accepted = self.accepted + _OTHERS * (self.accepted_anywhere - self.accepted)
        measured = self.measured + _OTHERS * (self.measured_anywhere - self.measured)
        return accepted + 0.5, measured - accepted + 0.5


def acceptance(users: int, items: int, interactions: int) -> Acceptance:
    """What the table says of data of a size; each number at least 1."""
    table = _table()
    return compare(_samples(), users, items, interactions, table["factor"])


def compare(
    samples: Sequence[Sample], users: int, items: int, interactions: int, factor: float
) -> Acceptance:
    """What these samples say of data of a size, see `acceptance`."""
    like = [one for one in samples if one.is_like(users, items, interactions, factor)]
    return Acceptance(_accepted(like), len(like), _accepted(samples), len(samples))


def training_seconds(generator: str, steps: int, items: int) -> float | None:
    """The CPU time in which a generator with its default sizes takes these steps, as measured with
    the table; None: it was not measured."""
    found = _table()["seconds"].get(generator)
    return None if found is None else steps * (found["step"] + found["step_item"] * items)


def sizes() -> tuple[int, int]:
    """The smallest and the largest number of users in the table."""
    users = [one.users for one in _samples()]
    return min(users), max(users)


def _accepted(samples: Iterable[Sample]) -> int:
    return sum(one.accepted for one in samples)


@cache
def _samples() -> list[Sample]:
    return [Sample(*row) for row in _table()["samples"]]


@cache
def _table() -> Mapping[str, Any]:
    return read_json(_TABLE)  # type: ignore[no-any-return]
