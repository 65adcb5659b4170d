"""What the networks of the sequence generator learn from: token tensors on the device, cut into
windows and chunks, and the losses on them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from augrec.data.histories import Histories
from augrec.generators._sequence.networks import SequenceCritic, SequenceGenerator
from augrec.generators._sequence.tokens import SequenceRows, Tokenizer
from augrec.nn.negatives import Negatives
from augrec.nn.sequences import Sequences, WindowBatch, Windows, ranges
from augrec.nn.softmax import full, sampled


class TokenTensors:
    """The tokens of sequences on a device.

    Args:
        rows: N rows of n sequences.
        tokenizer: gives their tokens.
        device: where they are needed.

    Attributes:
        items, kinds, gaps, eras: int64 (N,).
    """

    def __init__(self, rows: SequenceRows, tokenizer: Tokenizer, device: torch.device) -> None:
        self.rows = rows
        firsts = np.repeat(rows.indptr[:-1], rows.lengths)
        self.items, self.kinds, self.gaps, self.eras, self._firsts = (
            torch.from_numpy(np.ascontiguousarray(array)).to(device)
            for array in (
                rows.items,
                rows.kinds,
                tokenizer.gaps(rows),
                tokenizer.eras(rows.times),
                firsts,
            )
        )

    def met(self, targets: Tensor) -> tuple[Tensor, Tensor]:
        """All items before some rows, int64 (T,): where those of each row start, int64 (T + 1,),
        and the items, end to end."""
        firsts = self._firsts[targets]
        counts = targets - firsts
        return functional.pad(counts.cumsum(0), (1, 0)), self.items[ranges(firsts, counts)]

    def windows(self, length: int) -> Windows:
        """The sequences in overlapping windows whose items are row numbers."""
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


class Chunks:
    """Sequences in chunks of at most `length` rows that do not overlap.

    Attributes:
        tensors: the rows' tokens.
        owners: the sequence of each chunk, int64 (number of chunks,).
    """

    def __init__(self, tensors: TokenTensors, length: int) -> None:
        self.tensors, device = tensors, tensors.items.device
        lengths = tensors.rows.lengths
        counts = -(-lengths // length)
        owners = np.repeat(np.arange(len(lengths)), counts)
        number = np.arange(len(owners)) - np.repeat(np.cumsum(counts) - counts, counts)
        starts = tensors.rows.indptr[owners] + number * length
        ends = np.minimum(starts + length, tensors.rows.indptr[owners + 1])
        self.owners, self._starts, self._counts = (
            torch.from_numpy(array).to(device) for array in (owners, starts, ends - starts)
        )
        self._numbers = torch.arange(len(tensors.items), device=device)
        self._lengths = torch.from_numpy(np.log1p(lengths)).float().to(device)

    def __len__(self) -> int:
        return len(self.owners)

    def scores(self, critic: SequenceCritic, chunks: Tensor) -> Tensor:
        """How real some chunks, int64 (B,), look, float32 (B,); the critic is given the length of
        the whole sequences."""
        tensors = self.tensors
        found = Sequences.cut(self._numbers, self._starts[chunks], self._counts[chunks])
        tokens = critic.tokens(
            tensors.items[found.items], tensors.kinds[found.items], tensors.gaps[found.items]
        )
        return critic(tokens, self._lengths[self.owners[chunks]][:, None], found)

    @torch.no_grad()
    def realness(self, critic: SequenceCritic, size: int = 512) -> np.ndarray:
        """The mean score of each sequence's chunks, float32 (n,)."""
        device, n = self.owners.device, len(self.tensors.rows.lengths)
        parts = [
            self.scores(critic, part) for part in torch.arange(len(self), device=device).split(size)
        ]
        scores = torch.cat([torch.zeros(0, device=device), *parts]).double().cpu().numpy()
        owners = self.owners.cpu().numpy()
        sums = np.bincount(owners, scores, n) / np.maximum(np.bincount(owners, minlength=n), 1)
        return sums.astype(np.float32)


def generator_losses(
    generator: SequenceGenerator,
    batch: WindowBatch,
    tensors: TokenTensors,
    condition: Tensor,
    allowed: Tensor,
    draws: Negatives | None,
    n: int,
) -> dict[str, Tensor]:
    """Negative log-likelihood for each target, in nats: item, kind and time (gap, or era of a
    first row).

    Args:
        generator: the network.
        batch: of `TokenTensors.windows`.
        tensors: the tokens.
        condition: float32 (B, width), of the windows.
        allowed: which kinds each item has, bool (n_items, K).
        draws: for the sampled loss of the items; None: full.
        n: number of draws.
    """
    read, target = batch.windows.items, batch.targets
    tokens = generator.tokens(tensors.items[read], tensors.kinds[read], tensors.gaps[read])
    states = generator.read_all(tokens, condition, batch.windows)[batch.states]  # (T, factors)
    item, gap, era = tensors.items[target], tensors.gaps[target], tensors.eras[target]
    first = gap == generator.to_gap.out_features
    moment = functional.cross_entropy(
        generator.to_gap(states), gap.masked_fill(first, -100), reduction="sum"
    ) + functional.cross_entropy(
        generator.to_start(states), era.masked_fill(~first, -100), reduction="sum"
    )
    at = generator.at(states, gap, era)
    # the softmax computes its own gradients, in the type of the weights
    with torch.autocast(at.device.type, enabled=False):
        given = at.float(), generator.items.weight, generator.bias, item, batch.weights
        # as in sampling: no user gets an item twice
        items = (
            full(*given, tensors.met(target))
            if draws is None
            else sampled(*given, draws.for_all(item, n))
        )
    kind = functional.cross_entropy(
        generator.kind_scores(at, item, allowed[item]), tensors.kinds[target], reduction="sum"
    )
    return {
        name: loss / len(target)
        for name, loss in (("item", items), ("kind", kind), ("moment", moment))
    }


def critic_loss(
    critic: SequenceCritic, real: Chunks, fake: Chunks, chunks: tuple[Tensor, Tensor]
) -> Tensor:
    """Cross-entropy of telling real chunks from fake ones, int64 (B,) each; at its minimum the
    score is the log odds."""
    scores = real.scores(critic, chunks[0]), fake.scores(critic, chunks[1])
    return (functional.softplus(-scores[0]).mean() + functional.softplus(scores[1]).mean()) / 2
