"""What variational autoencoders of histories share: config, batches, training loop, scores, storage."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import scipy.sparse as sp
import torch
from pydantic import Field
from torch import nn

from augrec.data.histories import Histories
from augrec.recommenders._neural import NeuralConfig, NeuralRecommender
from augrec.recommenders._torch import Rows, device

_COLD = 5
"""A truncated history holds at most so many items."""


class VaeConfig(NeuralConfig):
    """The network and its training."""

    hidden: int = Field(200, ge=1)
    """Width of the hidden layers."""
    latent: int = Field(64, ge=1)
    """Width of the latent code."""
    dropout: float = Field(0.5, ge=0, lt=1)
    """Share of a history hidden from the encoder while training."""
    truncate: float = Field(0.5, ge=0, le=1)
    """Share of the training histories cut to their first 1 to 5 items, while all the user's items stay the target."""
    learning_rate: float = Field(2e-3, gt=0)
    """Of Adam."""
    weight_decay: float = Field(0.0, ge=0)
    """Decoupled, as in AdamW."""
    batch_size: int = Field(128, ge=1)
    """Users in a step."""


@dataclass(frozen=True)
class Batch:
    """B users.

    Attributes:
        x: what the encoder reads, 0/1 (B, n_items), and `whole`, the same before histories were truncated.
        w: the weights of all their items, which are to be predicted, (B, n_items).
        weights: mean weight of each user's entries, (B,).
    """

    x: torch.Tensor
    whole: torch.Tensor
    w: torch.Tensor
    weights: torch.Tensor


class VaeNetwork(nn.Module):
    """A subclass's `forward` takes what was read, 0/1 (B, n_items), and gives logits (B, n_items) and KL (B,)."""

    def __init__(self, latent: int, n_items: int) -> None:
        super().__init__()
        self.write = nn.Linear(latent, n_items)

    @property
    def where(self) -> torch.device:
        return self.write.weight.device

    @torch.no_grad()
    def start_at(self, popularity: np.ndarray) -> None:
        """Begin with every user's items as likely as they are popular: float32 (n_items,), all above 0."""
        self.write.bias.copy_(torch.from_numpy(popularity).clamp(min=1e-12).log())


class Vae(NeuralRecommender):
    """A subclass implements `_build` and `_descend_on`; the network scores a history by the logits of its mean code."""

    architecture: ClassVar[tuple[str, ...]] = ("hidden", "latent")

    _network: VaeNetwork

    @abstractmethod
    def _build(self) -> VaeNetwork:
        """A fresh network on the device."""

    @abstractmethod
    def _descend_on(self, batches: Iterator[Batch]) -> Iterator[torch.Tensor]:
        """Take a gradient step on each batch; yields (loss, KL), detached, after each."""

    def _descend(self, histories: Histories) -> Iterator[torch.Tensor]:
        config = self.config
        examples = Examples(histories, device())
        return self._descend_on(examples.batches(config.batch_size, config.steps, config.truncate))

    def _losses(self) -> Sequence[str]:
        return ["loss", "kl"]

    def _scores(self, histories: Histories) -> np.ndarray:
        seen = histories.matrix()
        seen.data[:] = 1
        with torch.inference_mode():
            logits, _ = self._network(torch.from_numpy(seen.toarray()).to(self._network.where))
        return logits.cpu().numpy()


class Examples:
    """Training users as dense batches.

    Args:
        histories: of the training users; entries that are targets only are never read.
        where: the device; draws come from torch's generator.
    """

    def __init__(self, histories: Histories, where: torch.device) -> None:
        targets = histories.matrix()
        weights = np.asarray(targets.sum(1)).ravel() / targets.getnnz(1)
        self._n, self._where = len(histories), where
        self._places, self._targets = Rows(_places(histories), where), Rows(targets, where)
        self._weights = torch.from_numpy(weights).float().to(where)

    def batches(self, size: int, steps: int, truncate: float) -> Iterator[Batch]:
        """`steps` batches of `size` users; every user once before any comes again."""
        for users in _users(self._n, size, steps, self._where):
            yield self.batch(users, truncate)

    def batch(self, users: torch.Tensor, truncate: float) -> Batch:
        """The users at positions `users`, int64 (B,); the share `truncate` of them is read no further than `_COLD` items."""
        place = self._places.dense(users)  # (B, n_items): 1 for the first item met, 0 for those that were not
        whole = read = place > 0
        if truncate:
            cut = torch.rand(len(users), device=self._where) < truncate
            longest = torch.randint(1, _COLD + 1, (len(users),), device=self._where)
            read = whole & (~cut[:, None] | (place <= longest[:, None]))
        return Batch(read.float(), whole.float(), self._targets.dense(users), self._weights[users])


def _places(histories: Histories) -> sp.csr_matrix:
    """Float32 (n, n_items): the place of each observed item in its user's history, counted from 1, at its first meeting."""
    kept = histories.keep(histories.observed)
    places = np.arange(len(kept.items)) - np.repeat(kept.indptr[:-1], kept.lengths)
    rows = np.repeat(np.arange(len(kept)), kept.lengths)
    _, first = np.unique(rows * np.int64(kept.n_items) + kept.items, return_index=True)
    values = (places[first] + 1).astype(np.float32)
    return sp.csr_matrix((values, (rows[first], kept.items[first])), shape=(len(kept), kept.n_items))


def _users(n: int, size: int, steps: int, where: torch.device) -> Iterator[torch.Tensor]:
    taken = 0
    while True:
        for users in torch.randperm(n).to(where).split(size):
            if taken == steps:
                return
            taken += 1
            yield users
