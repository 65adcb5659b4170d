"""Two towers of shared experts with a gate for each head: what users want and items offer, as
vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from augrec.nn.pairs import History
from augrec.nn.perturbations import Lookups
from augrec.recommenders._mmoe.features import Encoded


class Features(NamedTuple):
    """Encoded columns on a device: see `augrec.recommenders._mmoe.features.Encoded`."""

    numbers: torch.Tensor
    missing: torch.Tensor
    codes: torch.Tensor

    @classmethod
    def of(cls, encoded: Encoded, where: torch.device) -> Features:
        arrays = (encoded.numbers, encoded.missing, encoded.codes)
        return cls(*(torch.from_numpy(array).to(where) for array in arrays))

    def rows(self, rows: torch.Tensor) -> Features:
        """The rows at positions `rows`, int64 (B,)."""
        return Features(self.numbers[rows], self.missing[rows], self.codes[rows])


class Columns(nn.Module):
    """The attributes and features of users or items as one vector: numbers, flags of what is
    missing, vectors of texts.

    While training, all columns of a row are hidden with the chance `dropout`, and so is each
    single column: a network that has never seen a column missing could not be asked without it.

    Args:
        widths: how many numbers each number column stands for.
        sizes: how many codes each text column has.
        factors: length of a text's vector.
        dropout: see above.
    """

    owners: torch.Tensor

    def __init__(
        self, widths: Sequence[int], sizes: Sequence[int], factors: int, dropout: float
    ) -> None:
        super().__init__()
        self.dropout = dropout
        tables = [nn.Embedding(size, factors) for size in sizes]
        for table in tables:
            nn.init.normal_(table.weight, std=0.1)
        self.texts = nn.ModuleList(tables)
        owners = torch.repeat_interleave(
            torch.arange(len(widths)), torch.tensor(list(widths), dtype=torch.int64)
        )
        self.register_buffer("owners", owners, persistent=False)
        self.width = int(sum(widths)) + len(widths) + factors * len(sizes)

    def forward(self, features: Features) -> torch.Tensor:
        """Gives float32 (n, width)."""
        missing, codes = features.missing, features.codes
        if self.training and self.dropout:
            missing, codes = (
                missing | self._hidden(missing),
                codes.masked_fill(self._hidden(codes), 0),
            )
        numbers = features.numbers * ~missing[:, self.owners]
        parts = [table(code) for table, code in zip(self.texts, codes.unbind(1), strict=True)]
        return torch.cat([numbers, missing.float(), *parts], dim=1)

    def _hidden(self, columns: torch.Tensor) -> torch.Tensor:
        each = torch.rand(columns.shape, device=columns.device) < self.dropout
        return each | (torch.rand(len(columns), 1, device=columns.device) < self.dropout)


class Mixture(nn.Module):
    """Multi-gate mixture of experts (Ma et al. 2018): head t gives sum over k of softmax(G_t x)_k
    E_k(x).

    Expert k is E_k(x) = B_k relu(A_k x + a_k) + b_k.

    Args:
        width: of x.
        hidden: width inside an expert.
        factors: width of what comes out.
        experts: their number.
        heads: their number.
    """

    def __init__(self, width: int, hidden: int, factors: int, experts: int, heads: int) -> None:
        super().__init__()
        self.shape = (experts, heads)
        self.inside, self.gates = (
            nn.Linear(width, experts * hidden),
            nn.Linear(width, experts * heads),
        )
        self.out = nn.Parameter(torch.randn(experts, hidden, factors) * 0.1 * hidden**-0.5)
        self.shift = nn.Parameter(torch.zeros(experts, factors))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: (n, width). Gives (n, heads, factors)."""
        experts, heads = self.shape
        inside = torch.relu(self.inside(x)).view(len(x), experts, -1)  # (n, experts, hidden)
        outside = torch.einsum("nkh,khf->nkf", inside, self.out) + self.shift
        return self.gates(x).view(len(x), heads, experts).softmax(-1) @ outside


class Towers(nn.Module):
    """Logit of head t for user u and item i: (U_t(u) + h(u)) · (V_t(i) + q_i) + b_ti + c_t(u).

    U and V are mixtures of experts, h(u) is the sum of the history's vectors over its length to the
    power of `exponent`, q_i the item's vector. So the heads share the matching of histories and
    items, and each adds what is its own.

    Args:
        n_items: size of the catalogue.
        n_heads: number of heads.
        users, items: the columns of either.
        factors: length of the vectors.
        hidden, experts: of the mixtures.
        exponent: see above.
        dropout: share of a tower's inputs hidden while training.
    """

    ITEM_PARAMETERS: ClassVar = {"met.weight": 0, "offered.weight": 0, "bias": 0}

    def __init__(
        self,
        n_items: int,
        n_heads: int,
        users: Columns,
        items: Columns,
        *,
        factors: int,
        hidden: int,
        experts: int,
        exponent: float,
        dropout: float,
    ) -> None:
        super().__init__()
        self.exponent, self.dropout, self.lookup = exponent, dropout, Lookups()
        self.user_columns, self.item_columns = users, items
        self.met, self.offered = nn.Embedding(n_items, factors), nn.Embedding(n_items, factors)
        for table in (self.met, self.offered):
            nn.init.normal_(table.weight, std=0.1 * factors**-0.5)
        self.bias = nn.Parameter(torch.zeros(n_items, n_heads))
        self.user_mixture = Mixture(factors + 1 + users.width, hidden, factors, experts, n_heads)
        self.item_mixture = Mixture(factors + items.width, hidden, factors, experts, n_heads)
        self.ease = nn.Linear(factors + 1 + users.width, n_heads)
        nn.init.zeros_(self.ease.weight)
        nn.init.zeros_(self.ease.bias)

    @property
    def where(self) -> torch.device:
        return self.bias.device

    @torch.no_grad()
    def start_at(self, bias: np.ndarray) -> None:
        """Begin with these biases, float32 (n_items, n_heads)."""
        self.bias.copy_(torch.from_numpy(bias))

    def users(self, history: History, features: Features) -> tuple[torch.Tensor, torch.Tensor]:
        """Vectors (B, heads, factors) and biases (B, heads)."""
        summed = F.embedding_bag(history.items, self.met.weight, history.starts, mode="sum")
        own = self.lookup(  # (B, factors)
            "users", summed / history.lengths.clamp(min=1)[:, None] ** self.exponent
        )
        known = self.lookup("user features", self.user_columns(features))
        x = torch.cat([own, history.lengths.float().log1p()[:, None], known], dim=1)
        x = F.dropout(x, self.dropout, self.training)
        return self.user_mixture(x) + own[:, None], self.ease(x)

    def items(self, items: torch.Tensor, features: Features) -> tuple[torch.Tensor, torch.Tensor]:
        """Vectors (n, heads, factors) and biases (n, heads) of the items at positions `items`,
        int64 (n,)."""
        own = self.lookup("items", self.offered(items))
        known = self.lookup("item features", self.item_columns(features))
        x = F.dropout(torch.cat([own, known], dim=1), self.dropout, self.training)
        return self.item_mixture(x) + own[:, None], self.bias[items]
