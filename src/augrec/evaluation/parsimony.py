"""Which arm validation users choose: the simplest one that is about as good as the best.

The best of many arms by its mean alone is often the luckiest one: a lead well inside its own
standard error says little, and to follow it costs a training set that is larger and less plain
than the real data, or a larger model. So (after the one-standard-error rule: Breiman et al. 1984,
Classification and Regression Trees, section 3.4.3, with `gate.simpler_within` standard errors in
place of one):

* **Within a recommender** the simplest policy is chosen whose difference to the best on validation
  users is that small. From the simplest on: real data as it is (`none`), other
  policies on real data, those that continue the champion, placebos. In each of these classes the
  best on validation users stands for it.
* **A placebo** is chosen only if moreover it beats every policy on real data by an interval on
  validation users: the lower end of the paired confidence interval lies above 0, its level divided
  by the number of placebos, the best of which is examined. Otherwise real data are chosen, as
  above.
* **Among recommenders** the best on validation users is chosen, or the cheapest that is that close
  to it. Costs are declared by their classes, so that the same run on another machine chooses
  the same.

**The opposite fault** is a rule that falls back to what is simple whenever users are few. A mean
is the best guess of what an arm is worth however wide its interval, so the number is small by
default: `benchmarks.parsimony` counts how often the arm that it chooses is the better one, and what
a whole standard error costs where a gain is real. And popularity, to which every model is close
when users are few, has no part in the second step: it is chosen only where nothing is better on
validation users.

Standard errors are of differences paired by user, and the variance of the mean over repeated
trainings is part of them (`augrec.evaluation.paired`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from augrec.evaluation.arm import GENERATED, PLACEBO, REAL, Arm
from augrec.evaluation.config import GateConfig
from augrec.evaluation.paired import Paired, lead

AS_IT_IS: Final = "none"
"""The policy that trains on the real data as it is."""
BASELINE: Final = "popularity"
"""The recommender that gives everybody the same list."""
COSTS: Final = ("counting", "solving", "gradient_steps")
"""What training takes, from the cheapest on; see `Recommender.cost`."""

BEST: Final = "best"
SIMPLER: Final = "simpler"
PLACEBO_NOT_BETTER: Final = "placebo_not_better"
CHEAPER: Final = "cheaper"


@dataclass(frozen=True)
class Choice:
    """What was chosen, and why.

    Attributes:
        arm: the chosen one.
        best: the best on validation users.
        reason: "best"; "simpler" or "cheaper" than the best and about as good; or
            "placebo_not_better": the best is a placebo that does not beat real data by an interval.
        behind: by how much the chosen one is behind the best.
        standard_error: of that difference; None where there are too few users to have one.
    """

    arm: Arm
    best: Arm
    reason: str
    behind: float
    standard_error: float | None

    def as_json(self) -> dict[str, Any]:
        """For decision.json; arms by name."""
        return {
            "chosen": [self.arm.recommender, self.arm.policy],
            "best": [self.best.recommender, self.best.policy],
            "reason": self.reason,
            "behind": self.behind,
            "standard_error": self.standard_error,
        }


@dataclass(frozen=True)
class ValidationUsers:
    """All arms of a run on validation users.

    Attributes:
        gate: metric, confidence, closeness, least number of users.
        seed: of the bootstrap.
        paired: recommender -> its arms.
        means: (recommender, policy) -> the metric's mean over users and trainings; -inf where there
            are no users.
    """

    gate: GateConfig
    seed: int
    paired: Mapping[str, Paired]
    means: Mapping[tuple[str, str], float]

    def mean(self, arm: Arm) -> float:
        """An arm's mean."""
        return self.means[arm.recommender, arm.policy]

    def best(self, arms: Sequence[Arm]) -> Arm:
        """The arm with the highest mean; of equals the simplest, then the first."""
        return max(sorted(arms, key=simplicity), key=self.mean)

    def policy(self, arms: Sequence[Arm]) -> Choice:
        """The choice among a recommender's arms; see the module."""
        chosen = self._choose(arms, simplicity, SIMPLER)
        real = [arm for arm in arms if arm.kind == REAL]
        if chosen.arm.kind != PLACEBO or not real or self._beats(chosen.arm, real, arms):
            return chosen
        plain = self._choose(real, simplicity, SIMPLER).arm
        return self._chosen(plain, chosen.best, PLACEBO_NOT_BETTER)

    def recommender(self, arms: Sequence[Arm]) -> Choice:
        """The choice among recommenders, of each the arm that was chosen for it; see the module."""
        best = self.best(arms)
        rivals = [arm for arm in arms if arm.recommender != BASELINE or arm is best]
        return self._choose(rivals, lambda arm: COSTS.index(arm.cost), CHEAPER)

    def _choose(self, arms: Sequence[Arm], rank: Callable[[Arm], int], reason: str) -> Choice:
        """Of the arms about as good as the best those of the lowest rank, and of these the best."""
        best = self.best(arms)
        close = [arm for arm in arms if self._is_close(arm, best)]
        lowest = min(map(rank, close))
        arm = self.best([arm for arm in close if rank(arm) == lowest])
        return self._chosen(arm, best, reason if rank(arm) < rank(best) else BEST)

    def _is_close(self, arm: Arm, best: Arm) -> bool:
        if arm is best:
            return True
        behind, error = self._behind(arm, best)
        return error is None or behind <= self.gate.simpler_within * error

    def _behind(self, arm: Arm, best: Arm) -> tuple[float, float | None]:
        return lead(
            (self.paired[best.recommender], best.policy),
            (self.paired[arm.recommender], arm.policy),
            self.gate.metric,
        )

    def _chosen(self, arm: Arm, best: Arm, reason: str) -> Choice:
        behind, error = (0.0, None) if arm is best else self._behind(arm, best)
        return Choice(arm, best, reason, behind, error)

    def _beats(self, placebo: Arm, real: Sequence[Arm], arms: Sequence[Arm]) -> bool:
        tests = sum(arm.kind == PLACEBO for arm in arms)
        for other in real:
            found = self.paired[placebo.recommender].difference(
                placebo.policy,
                other.policy,
                self.gate.metric,
                confidence=1 - (1 - self.gate.confidence) / tests,
                samples=self.gate.bootstrap_samples * tests,
                seed=self.seed,
            )
            if found.n_users < self.gate.min_users or found.ci_low is None or found.ci_low <= 0:
                return False
        return True


def simplicity(arm: Arm) -> int:
    """How simple an arm's training is, from 0: real data as it is, other real data, placebo,
    generated; of each, training in full before what needs the champion."""
    kind = (REAL, PLACEBO, GENERATED).index(arm.kind)
    if arm.kind == REAL and arm.policy == AS_IT_IS and not arm.continues:
        return 0
    return 1 + 2 * kind + arm.continues
