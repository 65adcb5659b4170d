"""Differences between a recommender's arms, paired by user, with both sources of variance: users,
and training."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from augrec.core.errors import InputError
from augrec.evaluation.bootstrap import Difference, Noise, difference
from augrec.evaluation.repetitions import Arms, Spread, UserValues, pooled, values_of
from augrec.evaluation.user_means import OVERALL


class Paired:
    """One recommender's arms on the same users.

    A paired bootstrap over users holds the models fixed: two arms whose data are of equal worth,
    but whose trainings drew differently, do differ for a large enough number of users, and one of
    them would win. So the variance of a training's mean goes into each interval: s² (1 / R of the
    candidate + 1 / R of the comparator), R being the repetitions and s² pooled over the
    recommender's arms. The part of s² from each user's own values is subtracted on the users' side:
    users and trainings are crossed random factors, Var = users + trainings - both (Cornfield and
    Tukey 1956, Annals of Mathematical Statistics 27, 907-949; on which chance a comparison must
    hold: Bouthillier et al. 2021, arXiv 2103.03098). An arm that draws nothing has no such
    variance. A generator's sample is a draw that is not repeated: its arms always have it.

    Args:
        arms: policy -> rows of `augrec.evaluation.metrics.evaluate` for each repetition.
        generated: the policies that use a generator's sample.
    """

    def __init__(self, arms: Arms, generated: Collection[str] = ()) -> None:
        self._arms, self._generated = arms, frozenset(generated)
        self._known: dict[tuple[str, str, str], UserValues] = {}

    def has(self, policy: str) -> bool:
        """Whether an arm is among them."""
        return policy in self._arms

    def measured(self, metric: str) -> bool:
        """Whether a metric was measured in all arms."""
        return all(metric in table.columns for tables in self._arms.values() for table in tables)

    def values(self, policy: str, metric: str, slice_name: str = OVERALL) -> UserValues:
        """The values of an arm's users.

        Raises:
            InputError: its repetitions were measured on different users.
        """
        key = policy, metric, slice_name
        if key not in self._known:
            self._known[key] = values_of(self._arms[policy], metric, slice_name)
        return self._known[key]

    def spread(
        self, metric: str, slice_name: str = OVERALL, members: np.ndarray | None = None
    ) -> Spread:
        """The variance that training adds to the mean of a metric over the users of a slice, or
        over those `members` of it, bool (n,)."""
        tables = (self.values(policy, metric, slice_name).table for policy in self._arms)
        return pooled([table if members is None else table[:, members] for table in tables])

    def sds(
        self,
        policies: Sequence[str],
        metric: str,
        slice_name: str,
        members: np.ndarray | None = None,
    ) -> np.ndarray:
        """What training adds to the mean of each of some arms, as standard deviations, float64
        (m,)."""
        return np.sqrt(self.spread(metric, slice_name, members).variance * self._shares(policies))

    def noise(
        self,
        candidate: str,
        comparator: str,
        metric: str,
        slice_name: str,
        members: np.ndarray | None = None,
    ) -> Noise:
        """What training adds to the difference of two arms."""
        spread = self.spread(metric, slice_name, members)
        share = float(self._shares((candidate, comparator)).sum())
        return Noise(
            float(np.sqrt(spread.variance * share)), max(1, spread.degrees), spread.apart * share
        )

    def training(self, policy: str, metric: str, slice_name: str) -> tuple[float, float]:
        """What training adds to the variance of one arm's mean, and the part of it from its effect
        on each user separately."""
        spread, share = self.spread(metric, slice_name), float(self._shares((policy,))[0])
        return spread.variance * share, spread.apart * share

    def _shares(self, policies: Sequence[str]) -> np.ndarray:
        """1 / repetitions of each arm that draws anything, else 0."""
        repeated = np.array([len(self._arms[policy]) for policy in policies])
        drawn = (repeated > 1) | np.array([policy in self._generated for policy in policies])
        return drawn / repeated

    def difference(
        self,
        candidate: str,
        comparator: str,
        metric: str,
        slice_name: str = OVERALL,
        *,
        confidence: float,
        samples: int,
        seed: int,
        members: np.ndarray | None = None,
    ) -> Difference:
        """Candidate minus comparator, each the mean over its repetitions.

        Args:
            candidate, comparator: policies.
            metric: a column of their tables.
            slice_name: one slice, or "overall".
            confidence, samples, seed: see `augrec.evaluation.bootstrap.interval`.
            members: only these of the slice's users, bool (n,).

        Raises:
            InputError: the two were not measured on the same users.
        """
        ours, theirs = (
            self.values(policy, metric, slice_name) for policy in (candidate, comparator)
        )
        _require_same_users(ours, theirs, slice_name)
        noise = self.noise(candidate, comparator, metric, slice_name, members)
        sides = (one.mean if members is None else one.mean[members] for one in (ours, theirs))
        return difference(*sides, confidence=confidence, samples=samples, seed=seed, noise=noise)


def lead(
    one: tuple[Paired, str], other: tuple[Paired, str], metric: str, slice_name: str = OVERALL
) -> tuple[float, float | None]:
    """The mean of one arm minus that of another, of the same or another recommender, and its
    standard error over users and trainings; None with fewer than two users.

    Raises:
        InputError: the two were not measured on the same users.
    """
    ours, theirs = (paired.values(policy, metric, slice_name) for paired, policy in (one, other))
    _require_same_users(ours, theirs, slice_name)
    gains = ours.mean - theirs.mean
    if len(gains) < 2:
        return float(gains.sum()), None
    training = [paired.training(policy, metric, slice_name) for paired, policy in (one, other)]
    of_users = gains.var(ddof=1) / len(gains) - sum(apart for _, apart in training)
    variance = max(0.0, float(of_users)) + sum(total for total, _ in training)
    return float(gains.mean()), float(np.sqrt(variance))


def _require_same_users(ours: UserValues, theirs: UserValues, slice_name: str) -> None:
    if not np.array_equal(ours.users, theirs.users):
        raise InputError(
            "the two models were not measured on the same users",
            where=f"slice {slice_name}",
            fix="evaluate both on the same cases",
        )
