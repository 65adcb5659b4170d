"""What the networks of the sequence generator learn from: rows on the device, cut into windows and
pieces."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from augrec.data.histories import Histories
from augrec.generators._sequence.networks import Critic, Writer
from augrec.generators._sequence.tokens import Rows, Tokens
from augrec.nn.negatives import Negatives
from augrec.nn.sequences import Sequences, WindowBatch, Windows, ranges
from augrec.nn.softmax import full, sampled


class Readings:
    """Rows on a device.

    Args:
        rows: N rows of n readings.
        tokens: what they are made of.
        where: the device.

    Attributes:
        items, kinds, gaps, eras: int64 (N,).
    """

    def __init__(self, rows: Rows, tokens: Tokens, where: torch.device) -> None:
        self.rows = rows
        begins = np.repeat(rows.indptr[:-1], rows.lengths)
        self.items, self.kinds, self.gaps, self.eras, self._begins = (
            torch.from_numpy(np.ascontiguousarray(array)).to(where)
            for array in (
                rows.items,
                rows.kinds,
                tokens.gaps(rows),
                tokens.eras(rows.times),
                begins,
            )
        )

    def met(self, targets: Tensor) -> tuple[Tensor, Tensor]:
        """All items read before some rows, int64 (T,): where those of each begin, int64 (T + 1,),
        and they, end to end."""
        begins = self._begins[targets]
        counts = targets - begins
        return functional.pad(counts.cumsum(0), (1, 0)), self.items[ranges(begins, counts)]

    def windows(self, length: int) -> Windows:
        """The readings in overlapping windows whose items are row numbers."""
        n, total = len(self.rows.lengths), len(self.rows.items)
        numbered = Histories(
            users=np.empty(n, "U1"),
            indptr=self.rows.indptr,
            items=np.arange(total),
            weights=np.ones(total, np.float32),
            observed=np.ones(total, np.bool_),
            n_items=total,
        )
        return Windows(numbered, length, self.items.device)


class Pieces:
    """Readings in pieces of at most `length` rows that do not overlap.

    Attributes:
        readings: the rows.
        owners: to which reading each piece belongs, int64 (number of pieces,).
    """

    def __init__(self, readings: Readings, length: int) -> None:
        self.readings, where = readings, readings.items.device
        lengths = readings.rows.lengths
        counts = -(-lengths // length)
        owners = np.repeat(np.arange(len(lengths)), counts)
        number = np.arange(len(owners)) - np.repeat(np.cumsum(counts) - counts, counts)
        starts = readings.rows.indptr[owners] + number * length
        ends = np.minimum(starts + length, readings.rows.indptr[owners + 1])
        self.owners, self._starts, self._counts = (
            torch.from_numpy(array).to(where) for array in (owners, starts, ends - starts)
        )
        self._numbers = torch.arange(len(readings.items), device=where)
        self._lengths = torch.from_numpy(np.log1p(lengths)).float().to(where)

    def __len__(self) -> int:
        return len(self.owners)

    def scores(self, critic: Critic, pieces: Tensor) -> Tensor:
        """How real some pieces, int64 (B,), look, float32 (B,); the critic knows how long the
        readings are in all."""
        read, found = (
            self.readings,
            Sequences.cut(self._numbers, self._starts[pieces], self._counts[pieces]),
        )
        tokens = critic.tokens(
            read.items[found.items], read.kinds[found.items], read.gaps[found.items]
        )
        return critic(tokens, self._lengths[self.owners[pieces]][:, None], found)

    @torch.no_grad()
    def realness(self, critic: Critic, size: int = 512) -> np.ndarray:
        """The mean score of each reading's pieces, float32 (n,)."""
        where, n = self.owners.device, len(self.readings.rows.lengths)
        parts = [
            self.scores(critic, part) for part in torch.arange(len(self), device=where).split(size)
        ]
        scores = torch.cat([torch.zeros(0, device=where), *parts]).double().cpu().numpy()
        owners = self.owners.cpu().numpy()
        sums = np.bincount(owners, scores, n) / np.maximum(np.bincount(owners, minlength=n), 1)
        return sums.astype(np.float32)


def writer_losses(
    writer: Writer,
    batch: WindowBatch,
    rows: Readings,
    condition: Tensor,
    allowed: Tensor,
    draws: Negatives | None,
    n: int,
) -> dict[str, Tensor]:
    """Negative log-likelihood for each target, in nats: item, kind and moment (gap, or era of a
    first row).

    Args:
        writer: the network.
        batch: of `Readings.windows`.
        rows: the readings.
        condition: float32 (B, width), of the windows.
        allowed: which kinds each item has, bool (n_items, K).
        draws: for the sampled loss of the items; None: full.
        n: how many draws.
    """
    read, target = batch.windows.items, batch.targets
    tokens = writer.tokens(rows.items[read], rows.kinds[read], rows.gaps[read])
    states = writer.read_all(tokens, condition, batch.windows)[batch.states]  # (T, factors)
    item, gap, era = rows.items[target], rows.gaps[target], rows.eras[target]
    first = gap == writer.to_gap.out_features
    moment = functional.cross_entropy(
        writer.to_gap(states), gap.masked_fill(first, -100), reduction="sum"
    ) + functional.cross_entropy(
        writer.to_start(states), era.masked_fill(~first, -100), reduction="sum"
    )
    at = writer.at(states, gap, era)
    with torch.autocast(
        at.device.type, enabled=False
    ):  # it computes its own gradients, in the type of the weights
        given = at.float(), writer.items.weight, writer.bias, item, batch.weights
        # as they are written: nobody gets an item twice
        items = (
            full(*given, rows.met(target))
            if draws is None
            else sampled(*given, draws.for_all(item, n))
        )
    kind = functional.cross_entropy(
        writer.kind_scores(at, item, allowed[item]), rows.kinds[target], reduction="sum"
    )
    return {
        name: loss / len(target)
        for name, loss in (("item", items), ("kind", kind), ("moment", moment))
    }


def critic_loss(critic: Critic, real: Pieces, made: Pieces, rows: tuple[Tensor, Tensor]) -> Tensor:
    """Cross-entropy of telling real pieces from made ones, int64 (B,) each: at its best the score
    is the log odds."""
    scores = real.scores(critic, rows[0]), made.scores(critic, rows[1])
    return (functional.softplus(-scores[0]).mean() + functional.softplus(scores[1]).mean()) / 2
