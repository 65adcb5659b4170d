"""The networks of the sequence generator: an encoder of rows in order, the generator of the next
row, the critic of whole sequences."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from augrec.nn.sequence_network import dropout
from augrec.nn.sequences import Sequences

Kind = Literal["gru", "transformer"]
EncoderState = Any
"""What a body carries from the rows before; `keep` cuts it to the first sequences of a batch."""

_SPREAD = 0.2


@dataclass(frozen=True)
class NetworkShape:
    """Sizes of a network.

    Attributes:
        kind: "gru" or "transformer".
        n_items, n_kinds, n_gaps, n_eras: sizes of the vocabularies.
        condition: width of the condition.
        factors: length of the vectors.
        hidden: width of the recurrent state, or inside the feed-forward layers.
        layers: recurrent layers, or blocks.
        heads: of attention.
        length: rows read at once.
        dropout: share of the inner values hidden while training.
    """

    kind: Kind
    n_items: int
    n_kinds: int
    n_gaps: int
    n_eras: int
    condition: int
    factors: int
    hidden: int
    layers: int
    heads: int
    length: int
    dropout: float


def critic_shape(shape: NetworkShape) -> NetworkShape:
    """The same, with the length as the only condition."""
    return replace(shape, condition=1)


class SequenceEncoder(nn.Module):
    """Encodes a condition and then rows in order; the state at each place depends on all rows up to
    it, and on no later one."""

    def __init__(self, shape: NetworkShape) -> None:
        super().__init__()
        self.dropout, factors = shape.dropout, shape.factors
        self.items = nn.Embedding(shape.n_items, factors)
        self.kinds = nn.Embedding(shape.n_kinds, factors)
        self.gaps = nn.Embedding(shape.n_gaps + 1, factors)
        self.start = nn.Parameter(torch.empty(1, factors))
        self.condition = nn.Linear(shape.condition, factors)
        self.body: _Recurrent | _Attentive = (
            _Recurrent(shape) if shape.kind == "gru" else _Attentive(shape)
        )
        self.norm = nn.LayerNorm(factors)
        for table in (self.items.weight, self.kinds.weight, self.gaps.weight, self.start):
            nn.init.normal_(table, std=_SPREAD * factors**-0.5)

    def tokens(self, items: Tensor, kinds: Tensor, gaps: Tensor) -> Tensor:
        """Vectors float32 (..., factors) of rows int64 (...)."""
        return self.items(items) + self.kinds(kinds) + self.gaps(gaps)

    def read(
        self, vectors: Tensor, condition: Tensor, state: EncoderState = None
    ) -> tuple[Tensor, EncoderState]:
        """States float32 (B, L, factors) of B sequences of the same L places.

        Args:
            vectors: float32 (B, L, factors), of tokens or `start`.
            condition: float32 (B, width).
            state: of the places before; None: there are none.
        """
        x = self._drop(vectors + self.condition(condition)[:, None])
        x, state = self.body(x, state, self._drop)
        return self.norm(x), state

    def read_all(self, tokens: Tensor, condition: Tensor, sequences: Sequences) -> Tensor:
        """States float32 (N, factors) at all places of sequences of different lengths, from their
        vectors (N, factors)."""
        started = tokens.index_copy(
            0, sequences.firsts, self.start.expand(len(sequences.lengths), -1)
        )
        states, _ = self.read(sequences.pad(started), condition)
        return sequences.unpad(states)

    def _drop(self, x: Tensor) -> Tensor:
        return dropout(x, self.dropout) if self.training and self.dropout else x


class SequenceGenerator(SequenceEncoder):
    """p(row | condition, rows before) = p(gap | …) p(item | …, gap, era) p(kind | …, item); the
    first row has an era in place of a gap.

    Items are read and predicted with the same vectors, which `nn.softmax` takes.
    """

    def __init__(self, shape: NetworkShape) -> None:
        super().__init__(shape)
        factors = shape.factors
        self.bias = nn.Parameter(torch.zeros(shape.n_items))
        self.next_gaps, self.eras = (
            nn.Embedding(shape.n_gaps + 1, factors),
            nn.Embedding(shape.n_eras, factors),
        )
        self.to_gap, self.to_start = (
            nn.Linear(factors, shape.n_gaps),
            nn.Linear(factors, shape.n_eras),
        )
        self.to_kind = nn.Sequential(
            nn.Linear(2 * factors, factors), nn.ReLU(), nn.Linear(factors, shape.n_kinds)
        )
        for table in (self.next_gaps.weight, self.eras.weight):
            nn.init.normal_(table, std=_SPREAD * factors**-0.5)

    @torch.no_grad()
    def start_at(self, popularity: Tensor) -> None:
        """Start with every item as likely as it is popular, float32 (n_items,)."""
        self.bias.copy_(popularity.clamp(min=1e-12).log())

    def at(self, state: Tensor, gap: Tensor, era: Tensor) -> Tensor:
        """The state once the time of the next row is drawn, float32 (T, factors)."""
        return state + self.next_gaps(gap) + self.eras(era)

    def item_scores(self, state: Tensor) -> Tensor:
        """Logits float32 (T, n_items) from states of `at`."""
        return torch.addmm(self.bias, state, self.items.weight.T)

    def kind_scores(self, state: Tensor, item: Tensor, allowed: Tensor) -> Tensor:
        """Logits float32 (T, K) from states of `at` and items (T,); -inf where `allowed`, bool (T,
        K), is not."""
        scores = self.to_kind(torch.cat([state, self.items(item)], 1))
        return scores.masked_fill(~allowed, -torch.inf)


class SequenceCritic(SequenceEncoder):
    """How real a sequence looks: the log odds that it is a real user's, from the mean over its
    places."""

    def __init__(self, shape: NetworkShape) -> None:
        super().__init__(shape)
        self.score = nn.Sequential(
            nn.Linear(2 * shape.factors, shape.factors),
            nn.LeakyReLU(0.2),
            nn.Linear(shape.factors, 1),
        )

    def forward(self, tokens: Tensor, condition: Tensor, sequences: Sequences) -> Tensor:
        """Scores float32 (B,) of sequences from the vectors of their places, float32 (N,
        factors)."""
        states = self.read_all(tokens, condition, sequences)
        states = torch.cat([states, states.square()], 1)  # (N, 2 × factors)
        row = torch.repeat_interleave(sequences.lengths)
        means = torch.zeros(
            len(sequences.lengths), states.shape[1], device=states.device
        ).index_add(0, row, states)
        return self.score(means / sequences.lengths[:, None]).squeeze(1)


class _Recurrent(nn.Module):
    """Gated recurrent units, then back to the length of the vectors; with a residual connection."""

    def __init__(self, shape: NetworkShape) -> None:
        super().__init__()
        inner = shape.dropout if shape.layers > 1 else 0.0
        self.recur = nn.GRU(
            shape.factors, shape.hidden, shape.layers, batch_first=True, dropout=inner
        )
        self.narrow = nn.Linear(shape.hidden, shape.factors)

    def forward(self, x: Tensor, state: EncoderState, drop: Any) -> tuple[Tensor, EncoderState]:
        """(B, L, factors) to the same."""
        y, state = self.recur(x, state)
        return x + self.narrow(drop(y)), state

    def keep(self, state: EncoderState, n: int) -> EncoderState:
        """The state of the first n sequences."""
        return state[:, :n].contiguous()


class _Attentive(nn.Module):
    """Blocks of causal attention and feed-forward layers over learned positions; its state is keys
    and values."""

    def __init__(self, shape: NetworkShape) -> None:
        super().__init__()
        self.positions = nn.Embedding(shape.length + 1, shape.factors)
        nn.init.normal_(self.positions.weight, std=0.1 * shape.factors**-0.5)
        self.blocks = nn.ModuleList([_Block(shape) for _ in range(shape.layers)])

    def forward(self, x: Tensor, state: EncoderState, drop: Any) -> tuple[Tensor, EncoderState]:
        """(B, L, factors) to the same; with a state, L is 1."""
        before = 0 if state is None else state[0][0].shape[2]
        x = x + self.positions.weight[before : before + x.shape[1]]
        memory = []
        for number, block in enumerate(self.blocks):
            x, kept = block(x, None if state is None else state[number], drop)
            memory.append(kept)
        return x, memory

    def keep(self, state: EncoderState, n: int) -> EncoderState:
        """The state of the first n sequences."""
        return [(keys[:n], values[:n]) for keys, values in state]


class _Block(nn.Module):
    def __init__(self, shape: NetworkShape) -> None:
        super().__init__()
        factors, self.heads = shape.factors, shape.heads
        self.before_attention, self.before_forward = nn.LayerNorm(factors), nn.LayerNorm(factors)
        self.project, self.merge = nn.Linear(factors, 3 * factors), nn.Linear(factors, factors)
        self.widen, self.narrow = nn.Linear(factors, shape.hidden), nn.Linear(shape.hidden, factors)

    def forward(self, x: Tensor, memory: Any, drop: Any) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        split = self.project(self.before_attention(x)).unflatten(2, (3, self.heads, -1))
        query, key, value = split.permute(2, 0, 3, 1, 4)  # (B, heads, L, factors / heads) each
        if memory is not None:
            key, value = torch.cat([memory[0], key], 2), torch.cat([memory[1], value], 2)
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=memory is None)
        x = x + drop(self.merge(mixed.transpose(1, 2).flatten(2)))
        return x + drop(self.narrow(functional.gelu(self.widen(self.before_forward(x))))), (
            key,
            value,
        )
