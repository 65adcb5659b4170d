"""Vectors of users and items in one space, by deep networks over behaviour and content."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from augrec.nn.lookup import sums, take
from augrec.nn.sequences import Sequences


class FeatureNetwork(nn.Module):
    """h_l = σ(W_l h_{l-1} + b_l) with σ = tanh, the last layer without it.

    For an item h_0 is a free vector and its content; for a user h_0 is the sum of the vectors of
    the n items met, over √n. A user's score of an item is the product of their vectors and a bias.

    Attributes:
        content: see `augrec.recommenders._taste.content`, float32 (n_items, content_width).
    """

    content: torch.Tensor

    def __init__(
        self, n_items: int, width: int, content_width: int, hidden: int, dropout: float
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.free = nn.Parameter(torch.empty(n_items, width))
        nn.init.normal_(self.free, std=0.2 * width**-0.5)
        self.register_buffer("content", torch.zeros(n_items, content_width))
        self.item = _layers(width + content_width, hidden, width)
        self.user = _layers(width, hidden, width)
        self.bias = nn.Parameter(torch.zeros(n_items))

    @torch.no_grad()
    def start_at(self, popularity: np.ndarray) -> None:
        """Begin with every item as likely as it is popular: float32 (n_items,), all above 0."""
        self.bias.copy_(torch.from_numpy(popularity).clamp(min=1e-12).log())

    def items(self) -> torch.Tensor:
        """The items' vectors, (n_items, width)."""
        return self.free + self.item(torch.cat([self.free, self.content], 1))

    def users(self, x: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """The vectors of users who met x, 0/1 (B, n_items): (B, width)."""
        x = F.dropout(F.normalize(x, dim=1), self.dropout, self.training)
        return self.user(x @ items)

    def users_of(self, sequences: Sequences, items: torch.Tensor) -> torch.Tensor:
        """The same of listed distinct items, without a dense table of users × catalogue."""
        lengths = sequences.lengths - 1
        real = torch.ones(len(sequences.items), dtype=torch.bool, device=items.device)
        real[sequences.firsts] = False
        starts = lengths.cumsum(0) - lengths
        total = sums(items, sequences.items[real], starts, lengths)
        return self.user(total / lengths.clamp(min=1).sqrt()[:, None])

    def logits(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """(B, n_items) of vectors of users, (B, width)."""
        return users @ items.T + self.bias


class LiveNetwork(nn.Module):
    """h_t = GRU(h_{t-1}, x_t) over the vectors of the items of a history, in their order; each h_t
    gives a vector in the space of users, which moves the user's."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.start = nn.Parameter(torch.zeros(1, width))
        self.recur = nn.GRU(width, width, batch_first=True)
        self.out = nn.Linear(width, width)
        self.dropout = dropout

    def forward(self, sequences: Sequences, items: torch.Tensor) -> torch.Tensor:
        """The vector after each place, (N, width)."""
        vectors = take(items, sequences.items)
        start = self.start.expand(len(sequences.lengths), -1)
        table = sequences.pad(vectors.index_copy(0, sequences.firsts, start))
        table = F.dropout(table, self.dropout, self.training)
        states, _ = self.recur(table)
        return self.out(F.dropout(sequences.unpad(states), self.dropout, self.training))

    def last(self, sequences: Sequences, items: torch.Tensor) -> torch.Tensor:
        """The vector after the last item of each, (B, width)."""
        return self(sequences, items)[sequences.firsts + sequences.lengths - 1]


def _layers(read: int, hidden: int, written: int) -> nn.Sequential:
    layers = [nn.Linear(read, hidden), nn.Linear(hidden, written)]
    for layer in layers:
        nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(layer.bias)
    return nn.Sequential(layers[0], nn.Tanh(), layers[1])
