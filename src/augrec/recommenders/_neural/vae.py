"""What variational autoencoders of histories share: config, batches, training loop, scores,
storage."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import nn

from augrec.core.data_shape import DataShape
from augrec.data.histories import Histories
from augrec.data.training_data import TrainingData
from augrec.nn.memory import check_memory
from augrec.nn.perturbations import Lookups
from augrec.nn.profile_batches import ProfileBatch, ProfileBatches
from augrec.recommenders._neural.base import LARGE_CATALOGUES, NeuralConfig, NeuralRecommender

_NUMBERS_AT_ONCE = 6
"""For each user and item of a batch, while a step is taken."""


class VaeConfig(NeuralConfig):
    """The network and its training."""

    hidden: int = Field(200, ge=1)
    """Width of the hidden layers."""
    latent: int = Field(64, ge=1)
    """Width of the latent code."""
    dropout: float = Field(0.5, ge=0, lt=1)
    """Share of a history hidden from the encoder while training."""
    truncate: float = Field(0.5, ge=0, le=1)
    """Share of the training histories cut to their first 1 to 5 items, while all the user's items
    stay the target."""
    learning_rate: float = Field(2e-3, gt=0)
    """Of Adam."""
    weight_decay: float = Field(0.0, ge=0)
    """Decoupled, as in AdamW."""
    batch_size: int = Field(128, ge=1)
    """Users in a step."""

    passes: ClassVar[int] = 50

    def share_read(self, shape: DataShape) -> float:
        """A step reads whole users."""
        return shape.share_read(self.batch_size)


class VaeNetwork(nn.Module):
    """A subclass's `forward` takes what was read, 0/1 (B, n_items), and gives logits (B, n_items)
    and KL (B,)."""

    def __init__(self, latent: int, n_items: int) -> None:
        super().__init__()
        self.lookup = Lookups()
        self.write = nn.Linear(latent, n_items)

    @property
    def where(self) -> torch.device:
        return self.write.weight.device

    @torch.no_grad()
    def start_at(self, popularity: np.ndarray) -> None:
        """Begin with every user's items as likely as they are popular: float32 (n_items,), all
        above 0."""
        self.write.bias.copy_(torch.from_numpy(popularity).clamp(min=1e-12).log())


class Vae(NeuralRecommender):
    """A subclass implements `_build` and `_descend_on`; the network scores a history by the logits
    of its mean code."""

    architecture: ClassVar[tuple[str, ...]] = ("hidden", "latent")

    _network: VaeNetwork

    def check_fits(self, shape: DataShape) -> None:
        """Refuse a catalogue whose batches of users × items do not fit in memory."""
        config = self.config
        check_memory(
            self.section(),
            self._device,
            shape.n_items,
            learnt=2 * config.hidden,
            averaged=0,
            batch=_NUMBERS_AT_ONCE * config.batch_size,
            instead=LARGE_CATALOGUES,
        )

    def _fit(self, data: TrainingData) -> None:
        self.check_fits(data.shape)
        super()._fit(data)

    @abstractmethod
    def _build(self) -> VaeNetwork:
        """A fresh network."""

    @abstractmethod
    def _descend_on(self, batches: Iterator[ProfileBatch]) -> Iterator[torch.Tensor]:
        """Take a gradient step on each batch; yields (loss, KL), detached, after each."""

    def _descend(self, data: TrainingData) -> Iterator[torch.Tensor]:
        config = self.config
        examples = ProfileBatches(data.histories, self._device)
        return self._descend_on(examples.batches(config.batch_size, config.steps, config.truncate))

    def _losses(self) -> Sequence[str]:
        return ["loss", "kl"]

    def profile_slopes(self, histories: Histories) -> np.ndarray:
        """Of -Σ_i x_i log softmax(f(x))_i for the items x of each user, by the input alone."""
        own = torch.from_numpy((histories.matrix().toarray() > 0).astype(np.float32))
        own = own.to(self._network.where)
        read = own.clone().requires_grad_()
        logits, _ = self._network(read)
        loss = -(logits.log_softmax(1) * own).sum()
        (slopes,) = torch.autograd.grad(loss, read)
        return slopes.cpu().numpy()

    def _scores(self, histories: Histories) -> np.ndarray:
        seen = histories.matrix()
        seen.data[:] = 1
        with torch.inference_mode():
            logits, _ = self._network(torch.from_numpy(seen.toarray()).to(self._network.where))
        return logits.cpu().numpy()
