"""What recommenders that read a history in order share: config, training loop, scores, storage."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Iterator
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn

from augrec.data.histories import Histories
from augrec.nn.averages import average_share, move_average
from augrec.nn.negatives import Drawn, NegativesConfig, Sampler, negatives
from augrec.nn.sequences import Batch, Sequences, Windows, latest
from augrec.nn.softmax import full, sampled
from augrec.nn.torch_tools import device, with_column
from augrec.recommenders._neural.base import NeuralConfig, NeuralRecommender

_SPREAD = 0.2
"""Standard deviation of an item's score at the start, beside its popularity: little, so that
popularity leads."""
_PLACES = 2**15
"""So many items are read at once when histories are scored."""


class SequentialConfig(NegativesConfig, NeuralConfig):
    """Windows, loss, and a training loop of a fixed length: every policy gets the same number of
    gradient steps."""

    factors: int = Field(64, ge=1)
    """Length of an item's vector, the same for reading and predicting it."""
    dropout: float = Field(0.3, ge=0, lt=1)
    """Share of the network's inner values hidden while training."""
    max_length: int = Field(50, ge=1)
    """So many of the latest items are read; longer training histories are cut into overlapping
    windows."""
    ahead: int = Field(30, ge=1)
    """An item is predicted from a history that ends up to so many items before it; 1: right before
    it."""
    loss: Literal["auto", "full", "sampled"] = "auto"
    """Cross-entropy over all items, over drawn ones, or full up to `max_full_items`."""
    max_full_items: int = Field(20_000, ge=1)
    """The largest catalogue that `loss: auto` takes in full."""
    negatives: int = Field(2048, ge=1)
    """Items drawn in each step for the sampled loss."""
    negative_sampler: Sampler = "popularity"
    """As for every recommender, for the sampled loss."""
    learning_rate: float = Field(2e-3, gt=0)
    """Of Adam, at its height: it grows over the first tenth of the steps, then falls to a tenth of
    it."""
    weight_decay: float = Field(0.0, ge=0)
    """Decoupled, as in AdamW; not on biases and norms."""
    average: float = Field(0.98, ge=0, lt=1)
    """What is kept of the weights' moving average in a step, less at first; the average is what is
    validated."""
    batch_size: int = Field(64, ge=1)
    """Windows in a step."""


class SequenceNetwork(nn.Module):
    """Reads items in order; a subclass implements `read`. Items are read and predicted with the
    same vectors.

    Attributes:
        items: the items' vectors.
        start: what is read before the first item, so that a state comes before it; (1, factors).
        bias: what is added to each item's score.
    """

    ITEM_PARAMETERS: ClassVar[dict[str, int]] = {"items.weight": 0, "bias": 0}

    def __init__(self, n_items: int, factors: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.items = nn.Embedding(n_items, factors)
        self.start = nn.Parameter(torch.empty(1, factors))
        self.bias = nn.Parameter(torch.zeros(n_items))
        for table in (self.items.weight, self.start):
            nn.init.normal_(table, std=_SPREAD * factors**-0.5)

    @property
    def where(self) -> torch.device:
        return self.bias.device

    @torch.no_grad()
    def start_at(self, popularity: np.ndarray) -> None:
        """Begin with every user's items as likely as they are popular: float32 (n_items,)."""
        self.bias.copy_(torch.from_numpy(popularity).clamp(min=1e-12).log())

    def forward(self, sequences: Sequences) -> torch.Tensor:
        """States, float32 (N, factors): at each place what has been read up to there."""
        vectors = self.items(sequences.items)
        return self.read(
            vectors.index_copy(0, sequences.firsts, self.start.expand(len(sequences.lengths), -1)),
            sequences,
        )

    def last(self, sequences: Sequences) -> torch.Tensor:
        """The state after the last item of each sequence, float32 (B, factors)."""
        return self(sequences)[sequences.firsts + sequences.lengths - 1]

    @abstractmethod
    def read(self, vectors: torch.Tensor, sequences: Sequences) -> torch.Tensor:
        """States for the vectors at the sequences' places, float32 (N, factors) both; none depends
        on a later vector."""

    def drop(self, x: torch.Tensor) -> torch.Tensor:
        """Dropout while training."""
        return dropout(x, self.dropout) if self.training and self.dropout else x


class SequentialRecommender(NeuralRecommender):
    """Predicts each item of a history from those before it, by cross-entropy over the catalogue.

    Minimises the mean over windows of Σ_t w_t -log softmax(h_s(t) · E^T + b)[i_t], where h_s is the
    network's state after s items, E its item vectors, w_t the weight of the entry, and s(t) the
    number of inputs before it, or up to `ahead` - 1 fewer, at random. Entries that are targets only
    are never read. An item met twice counts where it was met last. The score of an item is its
    log-probability.

    A subclass implements `_build`.
    """

    Config: ClassVar[type[NeuralConfig]] = SequentialConfig

    @abstractmethod
    def _build(self) -> SequenceNetwork:
        """A fresh network on the device."""

    def _descend(self, histories: Histories) -> Iterator[torch.Tensor]:
        """Take the gradient steps; yield the loss of each, per unit of weight. `self._network`
        keeps the average."""
        config, network = self.config, copy.deepcopy(self._network).train()
        windows = Windows(histories, config.max_length, device())
        all_items = config.loss == "full" or (
            config.loss == "auto" and len(self.items) <= config.max_full_items
        )
        sampler = None if all_items else negatives(config, self.popularity, device())
        optimiser = torch.optim.AdamW(
            _groups(network, config.weight_decay), lr=config.learning_rate, fused=True
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimiser, lambda step: _rate((step + 1) / config.steps)
        )
        for step, batch in enumerate(windows.draw(config.batch_size, config.steps, config.ahead)):
            drawn = None if sampler is None else sampler.for_all(batch.targets, config.negatives)
            loss = _loss(network, batch, drawn)
            loss = loss / (len(batch.windows.lengths) * windows.weight)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            if sampler is not None and drawn is not None:
                sampler.learn(drawn)
            schedule.step()
            move_average(self._network, network, average_share(config.average, step))
            yield loss.detach()

    def _scores(self, histories: Histories) -> np.ndarray:
        network = self._network
        with torch.inference_mode():
            scores = torch.addmm(network.bias, self._states(histories), network.items.weight.T)
            return scores.log_softmax(1).cpu().numpy()

    @torch.inference_mode()
    def _states(self, histories: Histories) -> torch.Tensor:
        """The network's state after each history, (B, factors)."""
        network, size = self._network, max(1, _PLACES // self.config.max_length)
        states = [
            network.last(latest(batch, self.config.max_length, network.where))
            for batch in histories.batches(size)
        ]
        return torch.cat([network.items.weight[:0], *states])

    def item_factors(self) -> np.ndarray:
        """The items' vectors and biases."""
        return with_column(self._network.items.weight, self._network.bias)

    def user_factors(self, histories: Histories) -> np.ndarray:
        """The states after the histories, and a one."""
        states = self._states(histories)
        return with_column(states, states.new_ones(len(states)))


def _loss(network: SequenceNetwork, batch: Batch, drawn: Drawn | None) -> torch.Tensor:
    """The sum over a batch's targets; with drawn items it is sampled."""
    states = network(batch.windows)[batch.states]  # (T, factors)
    given = states, network.items.weight, network.bias, batch.targets, batch.weights
    return full(*given) if drawn is None else sampled(*given, drawn)


def dropout(x: torch.Tensor, share: float) -> torch.Tensor:
    """Zeroes this share of x, to a 256th, and scales up the rest.

    One random byte for each value: on a CPU several times faster than torch's own.
    """
    limit = min(255, round(share * 256))
    words = torch.empty(-(-x.numel() // 8), dtype=torch.int64, device=x.device).random_(
        -(2**63), None
    )
    kept = words.view(torch.uint8)[: x.numel()].view(x.shape) >= limit
    return x * kept.to(x.dtype).mul_(256 / (256 - limit))


def _groups(network: nn.Module, decay: float) -> list[dict]:
    """Matrices decay; biases, norms and other vectors do not."""
    parameters = list(network.parameters())
    return [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]


def _rate(share: float) -> float:
    """Of the learning rate, after this share of the steps: up in a straight line, then down a
    cosine."""
    if share < 0.1:
        return share / 0.1
    return 0.1 + 0.45 * (1 + float(np.cos(np.pi * (share - 0.1) / 0.9)))
