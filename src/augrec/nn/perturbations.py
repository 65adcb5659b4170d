"""Adversarial training: what a network looks up (item vectors, profiles, dense features) is moved
against it, and it is trained on that as well."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from pydantic import Field
from torch.nn import functional as F

from augrec.core.config import BaseConfig

_PROJECTED_STEPS = 3
_PROBE = 0.1
"""Length of the virtual adversary's first, random move, as a share of the vector's own."""


class ForwardPass(NamedTuple):
    """What a pass over a batch gives.

    Attributes:
        loss: a scalar.
        logits: float32 (…, n).
        logged: what the training curve shows.
    """

    loss: torch.Tensor
    logits: torch.Tensor
    logged: torch.Tensor


Forward = Callable[[], ForwardPass]


class PerturbationConfig(BaseConfig):
    """How far an adversary moves what the network looks up, and how much that counts."""

    adversarial_epsilon: float = Field(0.0, ge=0)
    """Length of the move of each vector that is looked up, as a share of the vector's own length; 0
    switches the adversary off."""
    adversarial_weight: float = Field(1.0, ge=0)
    """Weight λ of the loss under the adversary beside the clean loss; 0 switches it off."""
    adversarial_from: float = Field(0.5, ge=0, lt=1)
    """Share of the steps after which the adversary comes in: it helps a model that already
    ranks."""
    adversarial_method: Literal["fast", "projected", "virtual", "random"] = "fast"
    """fast: along the gradient of the loss; projected: in three steps, projected back to that
    length; virtual: along what changes the predictions most, without labels; random: in a random
    direction of the same length, the placebo of the others."""


class Lookups:
    """The places of a network where vectors that were looked up can be moved. It holds nothing
    between steps, and is no part of the weights.

    Attributes:
        recorded: what the last pass looked up, by place, while an adversary watches.
    """

    def __init__(self) -> None:
        self.watched = False
        self.recorded: dict[str, torch.Tensor] = {}
        self._moves: dict[str, torch.Tensor] | None = None

    def __call__(self, place: str, vectors: torch.Tensor) -> torch.Tensor:
        """`vectors`, float32 (…, width), as they are or as the adversary moved them."""
        if not self.watched:
            return vectors
        if self._moves is not None:
            return vectors + self._moves[place]
        if not vectors.requires_grad:  # an input, such as a profile
            vectors = vectors.detach().requires_grad_()
        self.recorded[place] = vectors
        return vectors

    def moved(self, moves: dict[str, torch.Tensor], again: Forward) -> ForwardPass:
        """A forward pass under these moves."""
        self._moves = moves
        try:
            return again()
        finally:
            self._moves = None

    def forget(self) -> None:
        """Let go of what was recorded."""
        self.watched, self.recorded = False, {}


class Adversary:
    """Mixes the clean loss L with the loss under moved vectors, L': (L + λ L') / (1 + λ).

    Each vector v that the network looks up is moved by δ with |δ| = ε |v|:

    * fast: δ along ∂L/∂v (Goodfellow, Shlens, Szegedy 2015; for recommenders APR, He et al. 2018,
      arXiv 1808.03908, with one absolute length for all vectors);
    * projected: from a random move, steps along the gradient of ε |v| / 2 each, projected back to
      the ball (Madry et al. 2018, arXiv 1706.06083);
    * virtual: δ along what changes the predictions most, one power iteration, and the mixture is L
      + λ KL(predictions | predictions under δ), without labels (Miyato et al. 2018, arXiv
      1704.03976);
    * random: any direction.

    A moved pass draws the same dropout and noise as the clean one, and the adversary's own draws
    come from a generator of its own: all methods train on the same batches. With ε or λ 0 nothing
    is computed and no byte changes.

    Args:
        config: see there.
        lookups: of the network.
        steps: of the whole training.
        seed: of the adversary's draws.
        softmax: whether a row of logits is a distribution over its last axis; otherwise each logit
            is a probability of its own.
    """

    def __init__(
        self,
        config: PerturbationConfig,
        lookups: Lookups,
        steps: int,
        seed: int,
        where: torch.device,
        *,
        softmax: bool,
    ) -> None:
        self._epsilon, self._weight = config.adversarial_epsilon, config.adversarial_weight
        self._method, self._lookups, self._softmax = config.adversarial_method, lookups, softmax
        self._first = config.adversarial_from * steps
        self._step, self._where = 0, where
        self._random = torch.Generator(where).manual_seed(seed % 2**63)

    @property
    def virtual(self) -> bool:
        """Whether logits are needed."""
        return self._method == "virtual" and bool(self._epsilon and self._weight)

    def watch(self) -> bool:
        """Begin a step; whether the adversary takes part in it."""
        self._step += 1
        self._lookups.watched = bool(self._epsilon and self._weight and self._step > self._first)
        return self._lookups.watched

    def loss(self, forward: Forward) -> tuple[torch.Tensor, torch.Tensor]:
        """The loss to descend on, clean or mixed, and what the clean pass logs. `forward` may draw
        from torch's generator."""
        watched = self.watch()
        if not watched:
            clean = forward()
            return clean.loss, clean.logged.detach()
        state = _random_state(self._where)
        clean = forward()

        def again() -> ForwardPass:
            _set_random_state(self._where, state)
            return forward()

        return self.mix(clean, again), clean.logged.detach()

    def mix(self, clean: ForwardPass, again: Forward) -> torch.Tensor:
        """The loss to descend on, after a clean pass that `watch` came before.

        Args:
            clean: what it gave.
            again: the same pass, with the same draws.
        """
        lookups = self._lookups
        if not lookups.watched:
            return clean.loss
        vectors = dict(lookups.recorded)
        lengths = {
            place: self._epsilon * v.detach().norm(dim=-1, keepdim=True)
            for place, v in vectors.items()
        }
        if self._method == "virtual":
            loss = clean.loss + self._weight * self._virtual(clean.logits.detach(), lengths, again)
        else:
            moved = lookups.moved(self._moves(clean.loss, lengths, again), again)
            loss = (clean.loss + self._weight * moved.loss) / (1 + self._weight)
        lookups.forget()
        return loss

    def _moves(
        self, clean: torch.Tensor, lengths: dict[str, torch.Tensor], again: Forward
    ) -> dict[str, torch.Tensor]:
        if self._method == "random":
            return self._anywhere(lengths)
        vectors = self._lookups.recorded
        if self._method == "fast":
            gradients = torch.autograd.grad(clean, list(vectors.values()), retain_graph=True)
            return _along(dict(zip(vectors, gradients, strict=True)), lengths)
        moves = {place: move / 2 for place, move in self._anywhere(lengths).items()}
        for _ in range(_PROJECTED_STEPS):
            slope = _slope(moves, lambda moves: self._lookups.moved(moves, again).loss)
            steps = _along(slope, {place: length / 2 for place, length in lengths.items()})
            moves = {
                place: _shorten(move + steps[place], lengths[place])
                for place, move in moves.items()
            }
        return moves

    def _virtual(
        self, logits: torch.Tensor, lengths: dict[str, torch.Tensor], again: Forward
    ) -> torch.Tensor:
        def divergence(moves: dict[str, torch.Tensor]) -> torch.Tensor:
            return _divergence(logits, self._lookups.moved(moves, again).logits, self._softmax)

        probe = {p: length * (_PROBE / self._epsilon) for p, length in lengths.items()}
        return divergence(_along(_slope(self._anywhere(probe), divergence), lengths))

    def _anywhere(self, lengths: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Random moves of these lengths."""
        drawn = {
            place: torch.randn(
                self._lookups.recorded[place].shape, device=self._where, generator=self._random
            )
            for place in lengths
        }
        return _along(drawn, lengths)


def _along(
    directions: dict[str, torch.Tensor], lengths: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    return {
        place: lengths[place] * F.normalize(direction.detach(), dim=-1, eps=1e-30)
        for place, direction in directions.items()
    }


def _shorten(move: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
    own = move.norm(dim=-1, keepdim=True).clamp(min=1e-30)
    return move * (length / own).clamp(max=1.0)


def _slope(
    moves: dict[str, torch.Tensor], value: Callable[[dict[str, torch.Tensor]], torch.Tensor]
) -> dict[str, torch.Tensor]:
    """The gradient of a value for each move."""
    leaves = {place: move.detach().requires_grad_() for place, move in moves.items()}
    gradients = torch.autograd.grad(value(leaves), list(leaves.values()))
    return dict(zip(leaves, gradients, strict=True))


def _divergence(clean: torch.Tensor, moved: torch.Tensor, softmax: bool) -> torch.Tensor:
    """Mean KL(clean | moved) over distributions, of logits (…, n)."""
    if softmax:
        p, q = clean.log_softmax(-1), moved.log_softmax(-1)
        return (p.exp() * (p - q)).sum(-1).mean()
    p = clean.sigmoid()
    return (
        p * (F.logsigmoid(clean) - F.logsigmoid(moved))
        + (1 - p) * (F.logsigmoid(-clean) - F.logsigmoid(-moved))
    ).mean()


def _random_state(where: torch.device) -> torch.Tensor:
    return torch.cuda.get_rng_state(where) if where.type == "cuda" else torch.get_rng_state()


def _set_random_state(where: torch.device, state: torch.Tensor) -> None:
    if where.type == "cuda":
        torch.cuda.set_rng_state(state, where)
    else:
        torch.set_rng_state(state)
