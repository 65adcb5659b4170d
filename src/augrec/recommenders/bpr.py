"""BPR: factors of items, trained to rank what a user met above what not; users are sums of their
history."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from augrec.core.data_shape import DataShape
from augrec.data.histories import Histories
from augrec.data.training_data import TrainingData
from augrec.nn.arrays import with_column
from augrec.nn.lookup import sums, take
from augrec.nn.named_negatives import NamedNegatives
from augrec.nn.negatives import Drawn, Negatives, NegativesConfig, negatives
from augrec.nn.pairs import History, Pairs
from augrec.nn.perturbations import ForwardPass, Lookups
from augrec.recommenders._neural.base import NeuralConfig, NeuralRecommender


class BprConfig(NegativesConfig, NeuralConfig):
    """Size and sampling."""

    renamed: ClassVar = {"introduced": "named_negatives_share"}

    factors: int = Field(64, ge=1)
    """Length of the vectors."""
    history_exponent: float = Field(0.5, ge=0, le=1)
    """A history of n items is the sum of its vectors divided by n to this power; 1: their mean."""
    negatives: int = Field(32, ge=1)
    """Negatives drawn for each user of a step; all the user's positives are ranked above all of
    them."""
    named_negatives_share: float = Field(0.5, ge=0, le=1)
    """Share of a user's negatives that are taken from those the training set names for the user, if
    it names any."""
    learning_rate: float = Field(0.02, gt=0)
    """Of Adam at the first step; it falls evenly to 0."""
    weight_decay: float = Field(1.2, ge=0)
    """Decoupled, as in AdamW: a step shrinks the vectors, not the biases, by learning_rate ×
    weight_decay."""
    batch_size: int = Field(128, ge=1)
    """Users in a step."""
    positives: int = Field(32, ge=1)
    """Positives drawn for each of them."""

    passes: ClassVar[int] = 60

    def share_read(self, shape: DataShape) -> float:
        """A step reads some interactions of each of its users."""
        return shape.share_read(self.batch_size, self.positives)


class Bpr(NeuralRecommender):
    """Factorisation by Bayesian personalised ranking (Rendle et al. 2009).

    The score of item i for history H is b_i + q_i · Σ_{j in H} p_j / |H|^a with two vectors p, q
    for each item, as in FISM (Kabbur, Ning, Karypis 2013): no vector belongs to a user, so unseen
    users need no fitting and the model does not grow with them. It minimises the mean of
    softplus(s_un - s_ui) over positives i and negatives n of the same user, where i is taken out of
    H. A positive is drawn in proportion to its weight; entries that are targets only are never part
    of H.

    An adversary (`augrec.nn.perturbations.Adversary`) moves the user's, the positive's and the
    negative's vectors.
    """

    Config = BprConfig
    architecture = ("factors",)
    search_space: ClassVar = {
        "learning_rate": {"low": 0.003, "high": 0.1, "log": True},
        "weight_decay": {"low": 0.05, "high": 8.0, "log": True},
        "negative_sampler": ["uniform", "popularity", "adversarial"],
        "negative_exponent": [0.5, 0.75],
        "adversarial_epsilon": [0.0, 0.1, 0.3],
    }
    regularisation: ClassVar = {"weight_decay": ["x0.25"]}

    def _initialise(self, data: TrainingData) -> None:
        self._network.start_at(self.popularity, 1 - self.config.drawn_exponent)

    def _descend(self, data: TrainingData) -> Iterator[torch.Tensor]:
        config, network = self.config, self._network
        pairs = Pairs(data.histories, self._device)
        named = None
        if data.named_negatives is not None:
            share = config.named_negatives_share
            named = NamedNegatives(data.named_negatives, share, self._device)
        sampler = negatives(config, self.popularity, self._device, config.factors)
        vectors: dict[str, Any] = {"params": [network.met.weight, network.offered.weight]}
        biases: dict[str, Any] = {"params": [network.bias], "weight_decay": 0.0}
        optimiser = torch.optim.AdamW(
            [vectors, biases], lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, config.steps)
        adversary = self._adversary(self._network.lookup, softmax=False)
        for _ in range(config.steps):
            forward, drawn = self._batch(pairs, sampler, named)
            loss, logged = adversary.loss(forward)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            sampler.learn(drawn)
            yield logged

    def _batch(
        self, pairs: Pairs, sampler: Negatives, named: NamedNegatives | None
    ) -> tuple[Callable[[], ForwardPass], Drawn]:
        """The loss on a fresh batch, and its negatives."""
        config = self.config
        batch = pairs.draw(config.batch_size, config.positives)
        users = self._network.users(batch.history, batch.positives, batch.met)  # (B, P, f)
        unmet = partial(pairs.unmet, batch.users)
        drawn = sampler.for_users(batch.positives, config.negatives, users, unmet)
        items = drawn.items if named is None else named.put(batch.users, drawn.items)
        real = unmet(items)
        offered, bias = self._network.offered.weight, self._network.bias
        vectors = {
            "users": users,
            "positives": take(offered, batch.positives),
            "negatives": take(offered, items),
        }
        against = take(bias, items) + drawn.nudge * (items == drawn.items)  # (B, N)
        biases = against[:, None] - take(bias, batch.positives)[:, :, None]
        return partial(_bpr, self._network.lookup, vectors, biases, real), drawn

    def _scores(self, histories: Histories) -> np.ndarray:
        with torch.inference_mode():
            return (
                self._network(History.of(histories.matrix(), self._network.bias.device))
                .cpu()
                .numpy()
            )

    def item_factors(self) -> np.ndarray:
        """The vectors of items offered, and their biases."""
        return with_column(self._network.offered.weight, self._network.bias)

    def user_factors(self, histories: Histories) -> np.ndarray:
        """What stands before those vectors, and a one."""
        with torch.inference_mode():
            users = self._network.vectors(History.of(histories.matrix(), self._network.bias.device))
            return with_column(users, users.new_ones(len(users)))

    def _build(self) -> _Network:
        return _Network(len(self.items), self.config.factors, self.config.history_exponent)


class _Network(nn.Module):
    """Two vectors for each item, for being in a history and for being offered, and a bias."""

    ITEM_PARAMETERS: ClassVar = {"met.weight": 0, "offered.weight": 0, "bias": 0}

    def __init__(self, n_items: int, factors: int, exponent: float) -> None:
        super().__init__()
        self.exponent, self.lookup = exponent, Lookups()
        self.met, self.offered = nn.Embedding(n_items, factors), nn.Embedding(n_items, factors)
        self.bias = nn.Parameter(torch.zeros(n_items))
        for table in (self.met, self.offered):
            nn.init.normal_(table.weight, std=0.1 * factors**-0.5)

    @torch.no_grad()
    def start_at(self, popularity: np.ndarray, power: float) -> None:
        """Begin with biases power × ln popularity, float32 (n_items,): the optimum where no vector
        says anything."""
        self.bias.copy_(power * torch.from_numpy(popularity).clamp(min=1e-12).log())

    def users(self, history: History, positives: torch.Tensor, met: torch.Tensor) -> torch.Tensor:
        """Users' vectors for each of their positives, int64 (B, P), which are left out where `met`:
        (B, P, factors)."""
        rest = self._sum(history)[:, None] - take(self.met.weight, positives) * met[:, :, None]
        lengths = (history.lengths[:, None] - met.long()).clamp(min=1)
        return rest / lengths[:, :, None] ** self.exponent

    def forward(self, history: History) -> torch.Tensor:
        """Scores, float32 (B, n_items)."""
        return self.vectors(history) @ self.offered.weight.T + self.bias

    def vectors(self, history: History) -> torch.Tensor:
        """Users' vectors from all of their history: (B, factors)."""
        return self._sum(history) / history.lengths.clamp(min=1)[:, None] ** self.exponent

    def _sum(self, history: History) -> torch.Tensor:
        return sums(self.met.weight, history.items, history.starts, history.lengths)  # (B, factors)


def _bpr(
    lookup: Lookups, vectors: dict[str, torch.Tensor], biases: torch.Tensor, real: torch.Tensor
) -> ForwardPass:
    """The mean loss over pairs of a positive and one of the user's real negatives, bool (B, N).

    Args:
        lookup: where an adversary moves them.
        vectors: the users', as each positive meets them (B, P, f), the positives' (B, P, f) and the
            negatives' (B, N, f).
        biases: what is added to a negative's score less a positive's, (B, P, N).
        real: the negatives that count, bool (B, N).
    """
    users, positives, negatives = (lookup(place, each) for place, each in vectors.items())
    own = (users * positives).sum(-1, keepdim=True)
    worse = torch.baddbmm(biases, users, negatives.mT) - own  # (B, P, N)
    n_pairs = (real.sum() * positives.shape[1]).clamp(min=1)
    loss = (F.softplus(worse) * real[:, None]).sum() / n_pairs
    return ForwardPass(loss, worse, loss)
