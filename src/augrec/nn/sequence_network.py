"""The base of networks that read items in order, and a fast dropout."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from augrec.nn.perturbations import Lookups
from augrec.nn.sequences import Sequences

_SPREAD = 0.2
"""Standard deviation of the part of an item's initial score that is not its popularity: small, so
that popularity decides."""


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
        self.dropout, self.lookup = dropout, Lookups()
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
        vectors = self.lookup("items", self.items(sequences.items))
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
