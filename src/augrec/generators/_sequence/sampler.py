"""Writing histories row by row: many people at once, nobody an item twice, nothing outside the
training time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from augrec.generators._sequence.networks import State, Writer
from augrec.generators._sequence.tokens import Rows, Tokens

_CELLS_AT_ONCE = 2**22
_BYTES_OF_MET = 2**27
_SHORTLIST_EXPONENT = 0.75
_EVERYTHING = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Task:
    """What is to be written for n people.

    Attributes:
        condition: float32 (n, width).
        counts: rows to write for each, int64 (n,), at least 1, so that nobody runs out of items.
        known: what they have, in the order it is read; None: nothing. Nobody gets an item of it
            again.
        read: so many of the last known rows are read; everybody has at least so many.
        backwards: whether the next row lies before the last one read.
    """

    condition: np.ndarray
    counts: np.ndarray
    known: Rows | None = None
    read: int = 0
    backwards: bool = False

    def part(self, people: np.ndarray) -> Task:
        """The same for some people, int64 (m,)."""
        known = None if self.known is None else self.known.take(people, _EVERYTHING)
        return Task(self.condition[people], self.counts[people], known, self.read, self.backwards)


class Pen:
    """Draws rows from a writer.

    Args:
        writer: in evaluation mode.
        tokens: what rows are made of.
        length: rows read at once, as in training.
        temperature: below 1 likely rows become likelier.
        top_p: items are drawn from the likeliest ones that hold this share of the probability.
        shortlist: an item is chosen from so many that are drawn by their bias, each weighed by how
            seldom it is drawn (sampling-importance-resampling), so that a row costs the same in any
            catalogue; None: from all items.
    """

    def __init__(
        self,
        writer: Writer,
        tokens: Tokens,
        length: int,
        *,
        temperature: float = 1.0,
        top_p: float = 1.0,
        shortlist: int | None = None,
    ) -> None:
        self.writer, self.tokens, self.length = writer, tokens, length
        self.temperature, self.top_p = temperature, top_p
        self.where = writer.bias.device
        self.allowed, self.gap_edges, self.era_edges = (
            torch.from_numpy(array).to(self.where)
            for array in (tokens.allowed, tokens.gap_edges, tokens.era_edges)
        )
        self.tick = int(tokens.tick[0])
        self.shortlist = shortlist
        chances = (_SHORTLIST_EXPONENT * writer.bias.detach().double()).softmax(0)
        self.chances, self.sums = chances, chances.cumsum(0)

    @torch.no_grad()
    def write(self, task: Task, random: torch.Generator) -> Rows:
        """The new rows alone, each person's in the order they were written. Memory grows with a
        batch × the items."""
        order = np.argsort(-task.counts, kind="stable")
        n_items = int(self.tokens.n_items[0])
        size = max(1, min(_CELLS_AT_ONCE // (self.shortlist or n_items), _BYTES_OF_MET // n_items))
        indptr = np.concatenate([[0], np.cumsum(task.counts)]).astype(np.int64)
        columns = [np.zeros(indptr[-1], np.int64) for _ in range(3)]
        for start in range(0, len(order), size):
            people = order[start : start + size]
            page = _Page(self, task.part(people), random)
            page.fill()
            counts = task.counts[people]
            written = np.arange(counts.max(initial=0)) < counts[:, None]
            rows = (indptr[people][:, None] + np.arange(counts.max(initial=0)))[written]
            for column, table in zip(columns, (page.items, page.kinds, page.times), strict=True):
                column[rows] = table[:, page.before :].cpu().numpy()[written]
        return Rows(indptr, *columns)


class _Page:
    """The rows of one batch of people, those with the most to write first; tables (B, before +
    longest)."""

    def __init__(self, pen: Pen, task: Task, random: torch.Generator) -> None:
        self.pen, self.random, self.backwards = pen, random, task.backwards
        self.counts = task.counts
        n, n_items = len(task.counts), int(pen.tokens.n_items[0])
        self.before = task.read
        shape = n, self.before + int(task.counts.max())
        self.items, self.kinds, self.gaps, self.times = (
            torch.zeros(shape, dtype=torch.int64, device=pen.where) for _ in range(4)
        )
        self.condition = torch.from_numpy(task.condition).to(pen.where)
        self.met = torch.zeros(n, n_items, dtype=torch.bool, device=pen.where)
        if task.known is not None:
            self._copy(task.known)

    def _copy(self, known: Rows) -> None:
        """What people have is met; the last of it is read."""
        person = torch.from_numpy(np.repeat(np.arange(len(known.lengths)), known.lengths))
        self.met[person.to(self.pen.where), torch.from_numpy(known.items).to(self.pen.where)] = True
        read = known.take(np.arange(len(known.lengths)), self.before)
        columns = read.items, read.kinds, self.pen.tokens.gaps(read), read.times
        for table, column in zip(
            (self.items, self.kinds, self.gaps, self.times), columns, strict=True
        ):
            table[:, : self.before] = (
                torch.from_numpy(column).to(self.pen.where).view(len(known.lengths), -1)
            )

    def fill(self) -> None:
        """Write all rows, the windows that are read beginning where those of the training do."""
        begin, length, stride = 0, self.pen.length, max(1, self.pen.length // 2)
        active = len(self.counts)
        place = self.before
        last, state = self._read(0, place, active)
        while True:
            self._write(place, last)
            place += 1
            still = int((self.counts > place - self.before).sum())
            if not still:
                return
            if still < active:
                state, active = self.pen.writer.body.keep(state, still), still
            if place - begin > length:
                begin += stride
                last, state = self._read(begin, place, active)
            else:
                vectors = self._vectors(place - 1, place, active)
                states, state = self.pen.writer.read(vectors, self.condition[:active], state)
                last = states[:, -1]

    def _vectors(self, begin: int, end: int, active: int) -> Tensor:
        rows = slice(None, active), slice(begin, end)
        return self.pen.writer.tokens(self.items[rows], self.kinds[rows], self.gaps[rows])

    def _read(self, begin: int, end: int, active: int) -> tuple[Tensor, State]:
        """The state after the rows begin … end, read anew, (active, factors), and what the network
        remembers."""
        start = self.pen.writer.start.expand(active, 1, -1)
        vectors = torch.cat([start, self._vectors(begin, end, active)], 1)
        states, state = self.pen.writer.read(vectors, self.condition[:active])
        return states[:, -1], state

    def _write(self, place: int, last: Tensor) -> None:
        """Draw row `place` of the first people from their states, (active, factors)."""
        writer, active = self.pen.writer, len(last)
        gap, times = self._moment(place, last)
        era = torch.searchsorted(self.pen.era_edges, times, right=True).sub(1)
        state = writer.at(last, gap, era.clamp(0, self.pen.tokens.n_eras - 1))
        item = self._item(state)
        kind = self._draw(writer.kind_scores(state, item, self.pen.allowed[item]))
        self.met[torch.arange(active, device=item.device), item] = True
        for table, drawn in (
            (self.items, item),
            (self.kinds, kind),
            (self.gaps, gap),
            (self.times, times),
        ):
            table[:active, place] = drawn

    def _item(self, state: Tensor) -> Tensor:
        """An item that each of the first people has not met, int64 (active,)."""
        if self.pen.shortlist is not None:
            return self._shortlisted(state, self.pen.shortlist)
        scores = self.pen.writer.item_scores(state).masked_fill_(self.met[: len(state)], -torch.inf)
        return self._draw(self._likely(scores.div_(self.pen.temperature)))

    def _shortlisted(self, state: Tensor, n: int) -> Tensor:
        """The same, from n items drawn for all; from all items for who has met every one of
        them."""
        pen, writer = self.pen, self.pen.writer
        points = (
            torch.rand(n, generator=self.random, device=pen.where, dtype=torch.float64)
            * pen.sums[-1]
        )
        drawn = torch.searchsorted(pen.sums, points, right=True).clamp(max=len(pen.sums) - 1)
        scores = (
            torch.addmm(writer.bias[drawn], state, writer.items.weight[drawn].T) / pen.temperature
        )
        met = self.met[: len(state), drawn]
        scores = (scores - pen.chances[drawn].log().float()).masked_fill_(met, -torch.inf)
        item = drawn[self._draw(self._likely(scores))]
        if (stuck := met.all(1)).any():
            others = writer.item_scores(state[stuck]).masked_fill(
                self.met[: len(state)][stuck], -torch.inf
            )
            item[stuck] = self._draw(others / pen.temperature)
        return item

    def _moment(self, place: int, last: Tensor) -> tuple[Tensor, Tensor]:
        """The gap before the row and its time, int64 (active,) both; inside the training time."""
        pen, active = self.pen, len(last)
        if place == 0:
            edges = pen.era_edges
            era = self._draw(pen.writer.to_start(last))
            share = torch.rand(active, generator=self.random, device=pen.where, dtype=torch.float64)
            passed = (share * (edges[era + 1] - edges[era])).long() // pen.tick * pen.tick
            return torch.full_like(era, pen.tokens.n_gaps), edges[era] + passed
        edges, now = pen.gap_edges, self.times[:active, place - 1]
        first, last_moment = pen.era_edges[0], pen.era_edges[-1] - pen.tick
        room = (now - first if self.backwards else last_moment - now).clamp(min=0)
        scores = pen.writer.to_gap(last).masked_fill(edges[:-1] > room[:, None], -torch.inf)
        gap = self._draw(scores)
        low = edges[gap].double()
        high = torch.minimum(edges[gap + 1], room + pen.tick).double()
        share = torch.rand(active, generator=self.random, device=pen.where, dtype=torch.float64)
        # evenly in the logarithm; a gap of nothing stays nothing
        passed = (
            (low * (high / low.clamp(min=1.0)).clamp(min=1.0) ** share).long()
            // pen.tick
            * pen.tick
        )
        passed = torch.maximum(torch.minimum(passed, room), edges[gap])
        return gap, now - passed if self.backwards else now + passed

    def _likely(self, scores: Tensor) -> Tensor:
        """Scores (B, n_items) with all but the likeliest items masked (nucleus sampling, arXiv
        1904.09751)."""
        if self.pen.top_p >= 1.0:
            return scores
        ranked, order = scores.softmax(1).sort(1, descending=True)
        beyond = ranked.cumsum(1) - ranked >= self.pen.top_p
        return scores.masked_fill_(torch.zeros_like(beyond).scatter_(1, order, beyond), -torch.inf)

    def _draw(self, scores: Tensor) -> Tensor:
        """A position for each row of logits, int64 (B,), by the Gumbel-max trick."""
        noise = torch.empty_like(scores).exponential_(generator=self.random)
        return (scores - noise.log_()).argmax(1)
