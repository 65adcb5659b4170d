"""Where negatives come from: drawn evenly, by popularity, from the batch, or by an adversary that
learns which are hard."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn

from augrec.core.config import BaseConfig
from augrec.nn.lookup import take
from augrec.nn.pairs import place

_NEVER = -1e9
Sampler = Literal["uniform", "popularity", "in_batch", "adversarial"]
Unmet = Callable[[torch.Tensor], torch.Tensor]


class NegativesConfig(BaseConfig):
    """Where negatives come from."""

    negative_sampler: Sampler = "uniform"
    """All items alike, in proportion to a power of popularity, the batch's other positives, or what
    an adversary picks."""
    negative_exponent: float = Field(0.75, ge=0)
    """That power: of `popularity`, and of the candidates that `adversarial` picks from."""
    negative_candidates: int = Field(4, ge=1)
    """The number of candidates that the adversary picks each negative from."""
    negative_hardness: float = Field(1.0, ge=0)
    """How much the adversary prefers what pushes the recommender hard; 0: not at all."""
    negative_learning_rate: float = Field(0.01, gt=0)
    """Of the adversary's Adam."""

    @property
    def drawn_exponent(self) -> float:
        """Negatives are as likely as about this power of their popularity."""
        return {"uniform": 0.0, "in_batch": 1.0}.get(self.negative_sampler, self.negative_exponent)


@dataclass(frozen=True)
class Drawn:
    """Items drawn as negatives; some may have been met after all.

    Attributes:
        items: int64 (…, n).
        log_chances: ln of the chance of that item in one draw, float32 (…, n): dividing by it makes
            a sum over draws an unbiased estimate of n × the sum over the catalogue.
        nudge: 0, to be added to the scores of the drawn items, so that an adversary learns what
            they did; (…, n) or a number.
        picked: ln of the chance that the adversary picked it among its candidates, with gradient;
            None: there is no adversary.
    """

    items: torch.Tensor
    log_chances: torch.Tensor
    nudge: torch.Tensor | float = 0.0
    picked: torch.Tensor | None = None


class Negatives:
    """Draws in proportion to fixed chances: `uniform` and `popularity`; draws come from torch's
    generator.

    Args:
        chances: float64 (n_items,), at least 0, not all 0.
        where: the device.
    """

    def __init__(self, chances: np.ndarray, where: torch.device) -> None:
        self._n_items = len(chances)
        self._sums = torch.from_numpy(np.cumsum(chances)).to(where)
        logs = np.log(np.maximum(chances / chances.sum(), 1e-30))
        self._log_chances = torch.from_numpy(logs).float().to(where)
        self._alike = bool((chances == 1).all())

    def for_users(
        self, positives: torch.Tensor, n: int, users: torch.Tensor, unmet: Unmet
    ) -> Drawn:
        """n negatives for every user, (B, n), which the user's positives share.

        Args:
            positives: int64 (B, P).
            n: how many.
            users: the users' vectors as each positive meets them, float32 (B, P, width); an
                adversary sees their mean.
            unmet: gives for items, int64 (B, …), whether the user never meets them.
        """
        return self._drawn(self._at_random((len(positives), n)))

    def for_all(self, positives: torch.Tensor, n: int) -> Drawn:
        """n negatives that all positives share, (n,).

        Args:
            positives: of the batch, int64 of any shape.
            n: how many.
        """
        items = (
            torch.randint(self._n_items, (n,), device=self._sums.device)
            if self._alike
            else self._at_random((n,))
        )
        return self._drawn(items)

    def learn(self, drawn: Drawn) -> None:
        """Take in what the draws did to the recommender; comes after the backward pass of its
        loss."""

    def _at_random(self, shape: tuple[int, ...]) -> torch.Tensor:
        point = torch.rand(shape, dtype=torch.float64, device=self._sums.device)
        return place(self._sums, point * self._sums[-1], self._alike).clamp(max=self._n_items - 1)

    def _drawn(self, items: torch.Tensor) -> Drawn:
        return Drawn(items, self._log_chances[items])


class _InBatch(Negatives):
    """The positives of the batch: as likely as their popularity says (Yi et al. 2019, sampling-bias
    correction)."""

    def for_users(
        self, positives: torch.Tensor, n: int, users: torch.Tensor, unmet: Unmet
    ) -> Drawn:
        return self._drawn(_some(positives, (len(positives), n)))

    def for_all(self, positives: torch.Tensor, n: int) -> Drawn:
        return self._drawn(_some(positives, (n,)))


class _Adversary(Negatives):
    """Picks each negative from candidates by a generator trained against the recommender.

    A candidate i is picked for the user vector u with chance π_i ∝ exp(c_i + e_i · u). As every
    recommender represents users by a vector of its own, the generator holds vectors of items only.
    With g the size of the loss's gradient by the score of the picked item, it maximises E[hardness
    × ln g] + entropy(π) by REINFORCE with the batch's mean as baseline (IRGAN, Wang et al. 2017;
    KBGAN, Cai & Wang 2018), whose optimum is π ∝ g^hardness.

    False negatives: what the user is known to meet is never picked for the user; g stops growing
    where an item is already ranked above the positive, so items that only a person who likes them
    would rank so high are not sought; and candidates come by a power of popularity, as an item many
    know and this user left is a negative more surely.
    """

    def __init__(
        self, chances: np.ndarray, config: NegativesConfig, where: torch.device, width: int
    ) -> None:
        super().__init__(chances, where)
        self._n, self._hardness = config.negative_candidates, config.negative_hardness
        self._bias = nn.Parameter(torch.zeros(self._n_items, device=where))
        self._vectors = nn.Parameter(torch.zeros(self._n_items, width, device=where))
        self._optimiser = torch.optim.Adam(
            [self._bias, self._vectors][: 1 + (width > 0)],
            config.negative_learning_rate,
            fused=True,
        )

    def for_users(
        self, positives: torch.Tensor, n: int, users: torch.Tensor, unmet: Unmet
    ) -> Drawn:
        candidates = self._at_random((len(positives), n, self._n))
        vectors = take(self._vectors, candidates)  # (B, n, candidates, width)
        mean = users.detach().mean(1)[:, None, :, None]
        scores = (vectors @ mean)[..., 0] + take(self._bias, candidates)
        return self._pick(candidates, scores.masked_fill(~unmet(candidates), _NEVER))

    def for_all(self, positives: torch.Tensor, n: int) -> Drawn:
        candidates = self._at_random((n, self._n))
        return self._pick(candidates, take(self._bias, candidates))

    def learn(self, drawn: Drawn) -> None:
        assert isinstance(drawn.nudge, torch.Tensor) and drawn.picked is not None
        push = drawn.nudge.grad
        if push is None or not (counted := push > 0).any():
            return
        shared = push.dim() == 1  # there the loss was divided by the chances, and so was the push
        sizes = (
            (push[counted].log() + drawn.log_chances[counted]) if shared else push[counted].log()
        )
        picked = drawn.picked[counted]
        gain = self._hardness * sizes - picked.detach()
        self._optimiser.zero_grad()
        (-(gain - gain.mean()) * picked).mean().backward()
        self._optimiser.step()

    def _pick(self, candidates: torch.Tensor, scores: torch.Tensor) -> Drawn:
        """One of the last axis, by the softmax of `scores`, float32 (…, n, candidates)."""
        noise = -torch.empty_like(candidates, dtype=torch.float32).exponential_().log()  # Gumbel's
        choice = (scores.detach() + noise).argmax(-1, keepdim=True)
        items = candidates.gather(-1, choice)[..., 0]
        picked = scores.log_softmax(-1).gather(-1, choice)[..., 0]
        chances = self._log_chances[items] + picked.detach() + math.log(self._n)
        nudge = torch.zeros_like(chances, requires_grad=True)
        return Drawn(items, chances, nudge, picked)


def negatives(
    config: NegativesConfig, popularity: np.ndarray, where: torch.device, width: int = 0
) -> Negatives:
    """The sampler that the config asks for.

    Args:
        config: the recommender's.
        popularity: float32 (n_items,), not all 0.
        where: the device.
        width: of the users' vectors that an adversary gets; 0: it learns of items alone.
    """
    chances = popularity.astype(np.float64) ** config.drawn_exponent
    match config.negative_sampler:
        case "in_batch":
            return _InBatch(chances, where)
        case "adversarial":
            return _Adversary(chances, config, where, width)
        case _:
            return Negatives(chances, where)


def _some(items: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """Of the items, any shape, each as likely as the next."""
    return items.flatten()[torch.randint(items.numel(), shape, device=items.device)]
