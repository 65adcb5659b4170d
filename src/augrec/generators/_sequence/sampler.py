"""Sampling histories row by row: many users at once, no item twice for one, no time outside that of
the training data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from augrec.generators._sequence.networks import EncoderState, SequenceGenerator
from augrec.generators._sequence.tokens import SequenceRows, Tokenizer

_CELLS_AT_ONCE = 2**22
_BYTES_OF_MET = 2**27
_SHORTLIST_EXPONENT = 0.75
_EVERYTHING = np.iinfo(np.int64).max


@dataclass(frozen=True)
class SamplingTask:
    """The rows to draw for n users.

    Attributes:
        condition: float32 (n, width).
        counts: rows to draw for each, int64 (n,): at least 1, and at most the items left.
        known: their rows so far, in the order they are read; None: none. Items of them are not
            drawn again.
        read: number of the last known rows that are read; each user has at least as many.
        backwards: whether the next row lies before the last one read.
    """

    condition: np.ndarray
    counts: np.ndarray
    known: SequenceRows | None = None
    read: int = 0
    backwards: bool = False

    def part(self, users: np.ndarray) -> SamplingTask:
        """The same for some of the users, int64 (m,)."""
        known = None if self.known is None else self.known.take(users, _EVERYTHING)
        return SamplingTask(
            self.condition[users], self.counts[users], known, self.read, self.backwards
        )


class SequenceSampler:
    """Draws rows from a generator network.

    Args:
        generator: in evaluation mode.
        tokenizer: turns tokens into rows.
        length: rows read at once, as in training.
        temperature: below 1 likely rows become likelier.
        top_p: items are drawn from the likeliest ones that hold this share of the probability.
        shortlist: an item is drawn from this number of items that were drawn by their bias, each
            weighted by the inverse of its chance (sampling-importance-resampling), so that a row
            costs the same in any catalogue; None: from all items.
    """

    def __init__(
        self,
        generator: SequenceGenerator,
        tokenizer: Tokenizer,
        length: int,
        *,
        temperature: float = 1.0,
        top_p: float = 1.0,
        shortlist: int | None = None,
    ) -> None:
        self.generator, self.tokenizer, self.length = generator, tokenizer, length
        self.temperature, self.top_p = temperature, top_p
        self.device = generator.bias.device
        self.allowed, self.gap_edges, self.era_edges = (
            torch.from_numpy(array).to(self.device)
            for array in (tokenizer.allowed, tokenizer.gap_edges, tokenizer.era_edges)
        )
        self.tick = int(tokenizer.tick[0])
        self.shortlist = shortlist
        chances = (_SHORTLIST_EXPONENT * generator.bias.detach().double()).softmax(0)
        self.chances, self.sums = chances, chances.cumsum(0)

    @torch.no_grad()
    def sample(self, task: SamplingTask, random: torch.Generator) -> SequenceRows:
        """The new rows alone, each user's in the order drawn. Memory grows with batch × items."""
        order = np.argsort(-task.counts, kind="stable")
        n_items = int(self.tokenizer.n_items[0])
        size = max(1, min(_CELLS_AT_ONCE // (self.shortlist or n_items), _BYTES_OF_MET // n_items))
        indptr = np.concatenate([[0], np.cumsum(task.counts)]).astype(np.int64)
        columns = [np.zeros(indptr[-1], np.int64) for _ in range(3)]
        for start in range(0, len(order), size):
            users = order[start : start + size]
            batch = _SampledBatch(self, task.part(users), random)
            batch.fill()
            counts = task.counts[users]
            drawn = np.arange(counts.max(initial=0)) < counts[:, None]
            rows = (indptr[users][:, None] + np.arange(counts.max(initial=0)))[drawn]
            for column, table in zip(columns, (batch.items, batch.kinds, batch.times), strict=True):
                column[rows] = table[:, batch.before :].cpu().numpy()[drawn]
        return SequenceRows(indptr, *columns)


class _SampledBatch:
    """The rows of one batch of users, those with the most to draw first; tables (B, before +
    longest)."""

    def __init__(
        self, sampler: SequenceSampler, task: SamplingTask, random: torch.Generator
    ) -> None:
        self.sampler, self.random, self.backwards = sampler, random, task.backwards
        self.counts = task.counts
        n, n_items = len(task.counts), int(sampler.tokenizer.n_items[0])
        self.before = task.read
        shape = n, self.before + int(task.counts.max())
        self.items, self.kinds, self.gaps, self.times = (
            torch.zeros(shape, dtype=torch.int64, device=sampler.device) for _ in range(4)
        )
        self.condition = torch.from_numpy(task.condition).to(sampler.device)
        self.met = torch.zeros(n, n_items, dtype=torch.bool, device=sampler.device)
        if task.known is not None:
            self._copy(task.known)

    def _copy(self, known: SequenceRows) -> None:
        """Mark the items of the known rows as met, and read the last of these rows."""
        sampler = self.sampler
        user = torch.from_numpy(np.repeat(np.arange(len(known.lengths)), known.lengths))
        self.met[user.to(sampler.device), torch.from_numpy(known.items).to(sampler.device)] = True
        read = known.take(np.arange(len(known.lengths)), self.before)
        columns = read.items, read.kinds, sampler.tokenizer.gaps(read), read.times
        for table, column in zip(
            (self.items, self.kinds, self.gaps, self.times), columns, strict=True
        ):
            tokens = torch.from_numpy(column).to(sampler.device)
            table[:, : self.before] = tokens.view(len(known.lengths), -1)

    def fill(self) -> None:
        """Draw all rows; the windows that are read start where those of the training do."""
        begin, length, stride = 0, self.sampler.length, max(1, self.sampler.length // 2)
        active = len(self.counts)
        place = self.before
        last, state = self._read(0, place, active)
        while True:
            self._draw_row(place, last)
            place += 1
            still = int((self.counts > place - self.before).sum())
            if not still:
                return
            if still < active:
                state, active = self.sampler.generator.body.keep(state, still), still
            if place - begin > length:
                begin += stride
                last, state = self._read(begin, place, active)
            else:
                vectors = self._vectors(place - 1, place, active)
                states, state = self.sampler.generator.read(vectors, self.condition[:active], state)
                last = states[:, -1]

    def _vectors(self, begin: int, end: int, active: int) -> Tensor:
        rows = slice(None, active), slice(begin, end)
        return self.sampler.generator.tokens(self.items[rows], self.kinds[rows], self.gaps[rows])

    def _read(self, begin: int, end: int, active: int) -> tuple[Tensor, EncoderState]:
        """The state after the rows begin … end, read anew, (active, factors), and the encoder's."""
        start = self.sampler.generator.start.expand(active, 1, -1)
        vectors = torch.cat([start, self._vectors(begin, end, active)], 1)
        states, state = self.sampler.generator.read(vectors, self.condition[:active])
        return states[:, -1], state

    def _draw_row(self, place: int, last: Tensor) -> None:
        """Draw row `place` of the first users from their states, (active, factors)."""
        generator, active = self.sampler.generator, len(last)
        gap, times = self._draw_time(place, last)
        era = torch.searchsorted(self.sampler.era_edges, times, right=True).sub(1)
        state = generator.at(last, gap, era.clamp(0, self.sampler.tokenizer.n_eras - 1))
        item = self._draw_item(state)
        kind = self._draw(generator.kind_scores(state, item, self.sampler.allowed[item]))
        self.met[torch.arange(active, device=item.device), item] = True
        for table, drawn in (
            (self.items, item),
            (self.kinds, kind),
            (self.gaps, gap),
            (self.times, times),
        ):
            table[:active, place] = drawn

    def _draw_item(self, state: Tensor) -> Tensor:
        """An item that each of the first users has not met, int64 (active,)."""
        if self.sampler.shortlist is not None:
            return self._draw_shortlisted(state, self.sampler.shortlist)
        scores = self.sampler.generator.item_scores(state).masked_fill_(
            self.met[: len(state)], -torch.inf
        )
        return self._draw(self._likely(scores.div_(self.sampler.temperature)))

    def _draw_shortlisted(self, state: Tensor, n: int) -> Tensor:
        """The same, from n items drawn for all users; from all items for users that have met every
        one of them."""
        sampler, generator = self.sampler, self.sampler.generator
        points = (
            torch.rand(n, generator=self.random, device=sampler.device, dtype=torch.float64)
            * sampler.sums[-1]
        )
        drawn = torch.searchsorted(sampler.sums, points, right=True).clamp(
            max=len(sampler.sums) - 1
        )
        scores = (
            torch.addmm(generator.bias[drawn], state, generator.items.weight[drawn].T)
            / sampler.temperature
        )
        met = self.met[: len(state), drawn]
        scores = (scores - sampler.chances[drawn].log().float()).masked_fill_(met, -torch.inf)
        item = drawn[self._draw(self._likely(scores))]
        if (stuck := met.all(1)).any():
            others = generator.item_scores(state[stuck]).masked_fill(
                self.met[: len(state)][stuck], -torch.inf
            )
            item[stuck] = self._draw(others / sampler.temperature)
        return item

    def _draw_time(self, place: int, last: Tensor) -> tuple[Tensor, Tensor]:
        """The gap before the row and its time, int64 (active,) both; inside the training time."""
        sampler, active = self.sampler, len(last)
        if place == 0:
            edges = sampler.era_edges
            era = self._draw(sampler.generator.to_start(last))
            share = torch.rand(
                active, generator=self.random, device=sampler.device, dtype=torch.float64
            )
            passed = (share * (edges[era + 1] - edges[era])).long() // sampler.tick * sampler.tick
            return torch.full_like(era, sampler.tokenizer.n_gaps), edges[era] + passed
        edges, now = sampler.gap_edges, self.times[:active, place - 1]
        first, last_time = sampler.era_edges[0], sampler.era_edges[-1] - sampler.tick
        room = (now - first if self.backwards else last_time - now).clamp(min=0)
        scores = sampler.generator.to_gap(last).masked_fill(edges[:-1] > room[:, None], -torch.inf)
        gap = self._draw(scores)
        low = edges[gap].double()
        high = torch.minimum(edges[gap + 1], room + sampler.tick).double()
        share = torch.rand(
            active, generator=self.random, device=sampler.device, dtype=torch.float64
        )
        # uniform in the logarithm; a gap of 0 stays 0
        passed = (
            (low * (high / low.clamp(min=1.0)).clamp(min=1.0) ** share).long()
            // sampler.tick
            * sampler.tick
        )
        passed = torch.maximum(torch.minimum(passed, room), edges[gap])
        return gap, now - passed if self.backwards else now + passed

    def _likely(self, scores: Tensor) -> Tensor:
        """Scores (B, n_items) with all but the likeliest items masked (nucleus sampling, arXiv
        1904.09751)."""
        if self.sampler.top_p >= 1.0:
            return scores
        ranked, order = scores.softmax(1).sort(1, descending=True)
        beyond = ranked.cumsum(1) - ranked >= self.sampler.top_p
        return scores.masked_fill_(torch.zeros_like(beyond).scatter_(1, order, beyond), -torch.inf)

    def _draw(self, scores: Tensor) -> Tensor:
        """A position for each row of logits, int64 (B,), by the Gumbel-max trick."""
        noise = torch.empty_like(scores).exponential_(generator=self.random)
        return (scores - noise.log_()).argmax(1)
