"""SASRec: self-attention over the items of a history, in the order they were met."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Self

import torch
from pydantic import Field, model_validator
from torch import nn
from torch.nn import functional as F

from augrec.nn.sequence_network import SequenceNetwork
from augrec.nn.sequences import Sequences
from augrec.recommenders._neural.sequential import SequentialConfig, SequentialRecommender


class SasrecConfig(SequentialConfig):
    """The blocks, and the keys of every sequential recommender."""

    factors: int = Field(32, ge=1)
    """Length of an item's vector, the same for reading and predicting it."""
    blocks: int = Field(1, ge=1)
    """Layers of attention and feed-forward."""
    heads: int = Field(2, ge=1)
    """Of attention; their number divides `factors`."""

    @model_validator(mode="after")
    def _whole_heads(self) -> Self:
        if self.factors % self.heads:
            raise ValueError(
                f"{self.factors} factors cannot be shared out among {self.heads} heads"
            )
        return self


class Sasrec(SequentialRecommender):
    """Self-attentive sequential recommendation (Kang & McAuley 2018, arXiv 1808.09781) with full
    cross-entropy.

    The loss is that of Klenitskiy & Vasilev 2023 (arXiv 2309.07602) in place of one negative for
    each positive. Positions are learned, and count from the first item read.
    """

    Config = SasrecConfig
    architecture = ("factors", "max_length", "blocks", "heads")
    search_space: ClassVar = {
        "learning_rate": {"low": 0.0005, "high": 0.01, "log": True},
        "ahead": [1, 10, 30],
        "weight_decay": [0.0, 0.01, 0.1],
        "dropout": {"low": 0.1, "high": 0.6},
        "adversarial_epsilon": [0.0, 0.1, 0.3],
    }
    regularisation: ClassVar = {"weight_decay": [0.1]}

    def _build(self) -> SequenceNetwork:
        config = self.config
        return _Network(
            len(self.items),
            config.factors,
            config.max_length,
            config.blocks,
            config.heads,
            config.dropout,
        )


class _Network(SequenceNetwork):
    """Positions are added to items; blocks of causal attention and feed-forward; a final norm."""

    def __init__(
        self, n_items: int, factors: int, length: int, blocks: int, heads: int, dropout: float
    ) -> None:
        super().__init__(n_items, factors, dropout)
        self.positions = nn.Embedding(length + 1, factors)
        nn.init.normal_(self.positions.weight, std=0.1 * factors**-0.5)
        self.blocks = nn.ModuleList([_Block(factors, heads) for _ in range(blocks)])
        self.norm = nn.LayerNorm(factors)

    def read(self, vectors: torch.Tensor, sequences: Sequences) -> torch.Tensor:
        x = self.drop(vectors + self.positions(sequences.places))
        for block in self.blocks:
            x = block(x, sequences, self.drop)
        return self.norm(x)


class _Block(nn.Module):
    """Attention and feed-forward, each of normed values; only attention needs the sequences side by
    side."""

    def __init__(self, factors: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before_attention, self.before_forward = nn.LayerNorm(factors), nn.LayerNorm(factors)
        self.project, self.merge = nn.Linear(factors, 3 * factors), nn.Linear(factors, factors)
        self.widen, self.narrow = nn.Linear(factors, 4 * factors), nn.Linear(4 * factors, factors)

    def forward(
        self, x: torch.Tensor, sequences: Sequences, drop: Callable[[torch.Tensor], torch.Tensor]
    ) -> torch.Tensor:
        x = x + drop(self._attend(x, sequences))
        return x + drop(self.narrow(F.gelu(self.widen(self.before_forward(x)))))

    def _attend(self, x: torch.Tensor, sequences: Sequences) -> torch.Tensor:
        """Each place reads itself and those before it in its sequence; float32 (N, factors)."""
        table = sequences.pad(self.project(self.before_attention(x)))  # (B, L, 3 × factors)
        query, key, value = table.unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(
            query, key, value, is_causal=True
        )  # (B, heads, L, factors / heads)
        return self.merge(sequences.unpad(mixed.transpose(1, 2).flatten(2)))
