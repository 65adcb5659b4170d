"""GRU4Rec: a recurrent network over the items of a history, in the order they were met."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from augrec.nn.sequence_network import SequenceNetwork
from augrec.nn.sequences import Sequences
from augrec.recommenders._neural.sequential import SequentialConfig, SequentialRecommender


class Gru4recConfig(SequentialConfig):
    """The recurrent layers, and the keys of every sequential recommender."""

    hidden: int = Field(128, ge=1)
    """Width of the recurrent state."""
    layers: int = Field(1, ge=1)
    """Recurrent layers."""


class Gru4rec(SequentialRecommender):
    """Gated recurrent units over histories (Hidasi et al. 2016, arXiv 1511.06939) with full
    cross-entropy.

    The loss in place of the paper's pairwise ones is that of Hidasi & Karatzoglou 2018 (arXiv
    1706.03847).
    """

    Config = Gru4recConfig
    architecture = ("factors", "hidden", "layers")
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
            len(self.items), config.factors, config.hidden, config.layers, config.dropout
        )


class _Network(SequenceNetwork):
    """Item vectors → recurrent layers → a state of the vectors' length."""

    def __init__(
        self, n_items: int, factors: int, hidden: int, layers: int, dropout: float
    ) -> None:
        super().__init__(n_items, factors, dropout)
        self.recur = nn.GRU(
            factors, hidden, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0
        )
        self.narrow = nn.Linear(hidden, factors)
        self.norm = nn.LayerNorm(factors)

    def read(self, vectors: torch.Tensor, sequences: Sequences) -> torch.Tensor:
        table = sequences.pad(self.drop(vectors))  # (B, L, factors)
        if 2 * len(vectors) > table.shape[0] * table.shape[1]:
            table, _ = self.recur(table)
        else:  # mostly padding: slower steps, but fewer
            lengths = sequences.lengths.cpu()
            packed = pack_padded_sequence(table, lengths, batch_first=True, enforce_sorted=False)
            table, _ = pad_packed_sequence(self.recur(packed)[0], batch_first=True)
        return self.norm(self.narrow(self.drop(sequences.unpad(table))))
