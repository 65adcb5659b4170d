"""Differential privacy for generators: the budget, the noise it takes, and what was spent.

**The guarantee.** Two training sets are neighbours when one lacks one user with the whole of that
user's history. What is learnt is (ε, δ)-indistinguishable between neighbours. A user is one row of
everything that is summed: a gradient, clipped to norm `max_norm`, and one row of counts, of norm at
most 1.

It holds for the stored generator and for all that is drawn from it. Reports that compare a sample
with real users (audit, evaluation) and models that are trained on real users too are not covered.

**The accounting.** One Gaussian release of counts (noise multiplier `statistics_noise`, all
users take part), then `steps` gradient sums over Poisson samples of the users (DP-SGD, Abadi et al.
2016, arXiv 1607.00133), composed by Opacus's Rényi accountant (Mironov et al. 2019, arXiv
1908.10530) and turned into (ε, δ) as in arXiv 1905.09982.

**What adds up.** Each training spends its budget anew: the samples of k trainings on the same
users cost k times ε and δ together. Options chosen by looking at trainings on these users are not
accounted for either.

**The seed must be secret.** Noise is drawn from a seeded generator, so that the same seed gives the
same bytes. With the seed the noise can be subtracted, and the guarantee is void: set
AUGREC_PRIVACY_SECRET, which is mixed into the seed of all noise and written nowhere. NumPy's and
PyTorch's generators are no cryptographic ones.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from pydantic import Field

from augrec.core.config import BaseConfig
from augrec.core.errors import ConfigError
from augrec.core.seeds import derive

SECRET = "AUGREC_PRIVACY_SECRET"
_WHERE = "privacy"
_TOLERANCE = 1e-3
_LEAST_NOISE, _MOST_NOISE = 0.05, 1e4


class PrivacyConfig(BaseConfig):
    """The budget of a differentially private training, and the domains that are not learnt from the
    data."""

    epsilon: float = Field(8.0, gt=0.0)
    """The budget: a user changes the odds of any outcome by at most exp(epsilon), up to delta."""
    delta: float | None = Field(None, gt=0.0, lt=1.0)
    """Probability that this fails; null: 1 / users^1.1."""
    max_norm: float = Field(1.0, gt=0.0)
    """A user's gradient is clipped to this norm."""
    statistics: float = Field(0.5, gt=0.0, lt=1.0)
    """Share of epsilon that the counts may spend: popularity, lengths, attributes, events,
    times."""
    max_length: int = Field(200, ge=1)
    """Longest profile that is drawn; longer ones are learnt from as if they had this length."""
    attributes: dict[str, list[str] | list[float]] = {}
    """User attributes to condition on: their values, or edges to cut numbers at; all else is
    "unknown"."""
    events: dict[str, list[float]] = {
        "view": [],
        "click": [],
        "cart": [],
        "purchase": [],
        "rating": [1.0, 2.0, 3.0, 4.0, 5.0],
    }
    """Events and the values they can have; a row's value counts as the nearest; none: rows have no
    value."""


@dataclass(frozen=True)
class Budget:
    """The noise a training takes, and what it costs.

    Attributes:
        delta: probability that the guarantee fails.
        statistics_noise: standard deviation of the counts' noise, where a user's row has norm
            at most 1.
        noise: standard deviation of the noise of a sum of gradients, in `max_norm`.
        sample_rate: probability of a user to be in a step.
        steps: their number.
        secret: whether AUGREC_PRIVACY_SECRET went into the seed of the noise.
    """

    delta: float
    statistics_noise: float
    noise: float
    sample_rate: float
    steps: int
    secret: bool

    @classmethod
    def plan(cls, config: PrivacyConfig, n_users: int, batch_size: int, steps: int) -> Budget:
        """The least noise that keeps to the budget.

        Raises:
            ConfigError: no noise does, or delta guarantees nothing to n_users users.
        """
        delta = config.delta if config.delta is not None else max(n_users, 1) ** -1.1
        if n_users < 2 or delta * n_users >= 1:
            raise ConfigError(
                f"delta = {delta:.3g} guarantees nothing to {n_users} users: one of them may be "
                "published",
                where=f"{_WHERE}.delta",
                fix="ask for less than 1 / users, or leave it null",
            )
        rate = min(1.0, batch_size / n_users)
        total = config.epsilon
        counts = _least_noise(
            lambda s: spent([(s, 1.0, 1)], delta), config.statistics * total, total
        )
        noise = _least_noise(
            lambda s: spent([(counts, 1.0, 1), (s, rate, steps)], delta), total, total
        )
        return cls(delta, counts, noise, rate, steps, SECRET in os.environ)

    def epsilon(self, steps: int | None = None) -> float:
        """What the counts and a number of steps spend; all steps when absent."""
        taken = self.steps if steps is None else steps
        return spent(
            [
                (self.statistics_noise, 1.0, 1),
                *([(self.noise, self.sample_rate, taken)] if taken else []),
            ],
            self.delta,
        )

    def facts(self, config: PrivacyConfig, public: Mapping[str, str]) -> dict[str, object]:
        """The guarantee as it is stored with a sample; `public`: what it does not cover."""
        return {
            "epsilon": self.epsilon(),
            "epsilon_asked": config.epsilon,
            "delta": self.delta,
            "unit": "user: one user more or less, with the whole history",
            "covers": "the generator and its samples; no reports, and no models that saw real "
            "users too",
            "mechanism": "noisy counts, then DP-SGD with Poisson sampling",
            "accountant": "rdp",
            "max_norm": config.max_norm,
            "noise_multiplier": self.noise,
            "sample_rate": self.sample_rate,
            "steps": self.steps,
            "statistics_noise": self.statistics_noise,
            "seed": f"mixed with {SECRET}"
            if self.secret
            else "that of params.yaml, which must be secret",
            "public": dict(public),
        }

    def state(self) -> dict[str, np.ndarray]:
        """Arrays to store."""
        return {"privacy": np.array([*vars(self).values()], np.float64)}

    @classmethod
    def from_state(cls, state: Mapping[str, np.ndarray]) -> Budget:
        """Read back what `state` gave."""
        delta, statistics_noise, noise, sample_rate, steps, secret = state["privacy"].tolist()
        return cls(delta, statistics_noise, noise, sample_rate, int(steps), bool(secret))


def spent(history: Sequence[tuple[float, float, int]], delta: float) -> float:
    """Epsilon at `delta` of sums with Gaussian noise; of each kind of sum its noise multiplier,
    sample rate and number."""
    return _spent(tuple(history), delta)


@lru_cache(maxsize=1024)
def _spent(history: tuple[tuple[float, float, int], ...], delta: float) -> float:
    from opacus.accountants import RDPAccountant

    accountant = RDPAccountant()
    accountant.history = list(history)
    with warnings.catch_warnings():  # that a finer grid of orders would give a smaller epsilon
        warnings.filterwarnings("ignore", message="Optimal order is")
        return float(accountant.get_epsilon(delta=delta))


def secret_seed(seed: int, name: str) -> int:
    """Seed in [0, 2**63) of the noise called `name`, which depends on AUGREC_PRIVACY_SECRET if it
    is set."""
    secret = os.environ.get(SECRET, "")
    digest = hashlib.sha256(f"{secret}:{derive(seed, name)}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _least_noise(cost: Callable[[float], float], asked: float, budget: float) -> float:
    """The smallest noise multiplier, up to a thousandth, that costs at most `asked`."""
    high = 1.0
    while cost(high) > asked:
        high *= 2
        if high > _MOST_NOISE:
            raise ConfigError(
                f"no amount of noise keeps to epsilon = {budget:g} and what counts may spend of it",
                where=f"{_WHERE}.epsilon",
                fix="ask for a larger epsilon or delta, or train with fewer steps or smaller "
                "batches",
            )
    low = high / 2
    while low > _LEAST_NOISE and cost(low) <= asked:
        high, low = low, low / 2
    while high - low > _TOLERANCE * high:
        middle = (low + high) / 2
        low, high = (low, middle) if cost(middle) <= asked else (middle, high)
    return high
