"""What recommenders that read a history in order share: config, training loop, scores, storage."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Iterator
from functools import partial
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn

from augrec.core.config import Auto
from augrec.core.data_shape import DataShape
from augrec.data.histories import Histories
from augrec.data.training_data import TrainingData
from augrec.nn.arrays import with_column
from augrec.nn.averages import average_share, move_average
from augrec.nn.negatives import Drawn, NegativesConfig, Sampler, negatives
from augrec.nn.perturbations import ForwardPass
from augrec.nn.sequence_network import SequenceNetwork
from augrec.nn.sequences import WindowBatch, Windows, latest
from augrec.nn.softmax import full, sampled
from augrec.recommenders._neural.base import NeuralConfig, NeuralRecommender

_PLACES = 2**15
"""The number of items that are read at once when histories are scored."""


class SequentialConfig(NegativesConfig, NeuralConfig):
    """Windows, loss, and a training loop of a fixed length: every policy gets the same number of
    gradient steps."""

    factors: int = Field(64, ge=1)
    """Length of an item's vector, the same for reading and predicting it."""
    dropout: float = Field(0.3, ge=0, lt=1)
    """Share of the network's inner values hidden while training."""
    max_length: int = Field(50, ge=1)
    """The number of latest items that are read; longer training histories are cut into overlapping
    windows."""
    ahead: Annotated[int, Field(ge=1)] | Auto = "auto"
    """An item is predicted from a history that ends at most this number of items before it; 1:
    right before it. auto: as many as a validation case wants, see `reach`."""
    loss: Literal["auto", "full", "sampled"] = "auto"
    """Cross-entropy over all items, over drawn ones, or full up to `max_full_items`."""
    max_full_items: int = Field(20_000, ge=1)
    """The largest catalogue that `loss: auto` takes in full."""
    negatives: int = Field(2048, ge=1)
    """Items drawn in each step for the sampled loss."""
    negative_sampler: Sampler = "popularity"
    """As for every recommender, for the sampled loss."""
    learning_rate: float = Field(5e-3, gt=0)
    """Of Adam, at its height: it grows over the first tenth of the steps, then falls to a tenth of
    it."""
    weight_decay: float = Field(0.0, ge=0)
    """Decoupled, as in AdamW; not on biases and norms."""
    average: float = Field(0.98, ge=0, lt=1)
    """What is kept of the weights' moving average in a step, less at first; the average is what is
    validated."""
    batch_size: int = Field(64, ge=1)
    """Windows in a step."""

    passes: ClassVar[int] = 60
    most: ClassVar[int] = 12_000

    def share_read(self, shape: DataShape) -> float:
        """A step reads the latest items of each of its windows: a small share of many long
        histories, so that within 4,000 steps training would read a million rows 13 times."""
        return shape.share_read(self.batch_size, self.max_length)


_FURTHEST = 30


def reach(shape: DataShape, config: SequentialConfig) -> int:
    """How far ahead to predict: a model is evaluated on all items that a case wants, so it learns
    from histories that end as far before an item as those cases do, at most 30. Where one item is
    wanted, as in leave-last-out, that is the next one; without cases too: on MovieLens 100k that
    loses less than one percent where all later items are wanted, and 30 loses a third where the
    next one is."""
    return int(min(max(round(shape.n_targets or 1), 1), _FURTHEST))


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
    rules: ClassVar = {**NeuralRecommender.rules, "ahead": reach}

    @abstractmethod
    def _build(self) -> SequenceNetwork:
        """A fresh network."""

    def _descend(self, data: TrainingData) -> Iterator[torch.Tensor]:
        """Take the gradient steps; yield the loss of each, per unit of weight. `self._network`
        keeps the average."""
        config, network = self.config, copy.deepcopy(self._network).train()
        windows = Windows(data.histories, config.max_length, self._device)
        all_items = config.loss == "full" or (
            config.loss == "auto" and len(self.items) <= config.max_full_items
        )
        sampler = None if all_items else negatives(config, self.popularity, self._device)
        optimiser = torch.optim.AdamW(
            _groups(network, config.weight_decay), lr=config.learning_rate, fused=True
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimiser, lambda step: _rate((step + 1) / config.steps)
        )
        adversary = self._adversary(network.lookup, softmax=True)
        for step, batch in enumerate(windows.draw(config.batch_size, config.steps, config.ahead)):
            drawn = None if sampler is None else sampler.for_all(batch.targets, config.negatives)
            weight = len(batch.windows.lengths) * windows.weight
            loss, logged = adversary.loss(
                partial(_loss, network, batch, drawn, weight, all_logits=adversary.virtual)
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            if sampler is not None and drawn is not None:
                sampler.learn(drawn)
            schedule.step()
            move_average(self._network, network, average_share(config.average, step))
            yield logged

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


def _loss(
    network: SequenceNetwork,
    batch: WindowBatch,
    drawn: Drawn | None,
    weight: float,
    *,
    all_logits: bool,
) -> ForwardPass:
    """The sum over a batch's targets, per unit of weight; with drawn items it is sampled."""
    states = network(batch.windows)[batch.states]  # (T, factors)
    given = states, network.items.weight, network.bias, batch.targets, batch.weights
    loss = (full(*given) if drawn is None else sampled(*given, drawn)) / weight
    logits = torch.addmm(network.bias, states, network.items.weight.T) if all_logits else states
    return ForwardPass(loss, logits, loss)


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
