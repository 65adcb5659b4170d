"""From users' latent vectors to distinct items of a catalogue of any size: a softmax over classes
of items.

An item's chance is that of its class times its share within the class (Goodman 2001, arXiv
cs/0108006). Up to a few thousand items there is one class. Beyond, a class holds about √n items, so
that learning from one interaction and drawing one item touch O(√n) vectors; nothing is ever as
large as users × items.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from augrec.generators._profile.decode import gumbel_top_k

_FLOATS_AT_ONCE = 2**23
"""Roughly the number of floats that are gathered at once."""
_USUAL_LENGTH = 16
"""Classes have the size that costs least for profiles of about this number of items."""


class ItemDecoder(nn.Module):
    """log p(i | user) = log softmax over classes (q·m_c + B_c) + log softmax within i's class
    (q·v_i + b_i).

    The query q is an affine map of the user's latent vector; with one class the first term is 0.

    Args:
        vectors: the items' vectors v, float32 (n_items, d); not trained.
        counts: how often each item was met, all above 0, (n_items,); the biases b start at their
            logarithms.
        latent: width of the users' latent vectors.
        classes: the items of each class, int64 (C, S), -1 in empty places; see `item_classes`.
    """

    vectors: Tensor
    classes: Tensor
    places: Tensor

    def __init__(
        self, vectors: Tensor, counts: np.ndarray, latent: int, classes: np.ndarray
    ) -> None:
        super().__init__()
        mass = np.where(classes >= 0, counts[classes], 0.0)  # (C, S)
        of_items = vectors.cpu().numpy()
        means = np.stack([row @ of_items[of] for row, of in zip(mass, classes, strict=True)])
        places = np.zeros(len(vectors), np.int64)
        places[classes[classes >= 0]] = np.flatnonzero(classes.ravel() >= 0)
        self.register_buffer("vectors", vectors)
        self.register_buffer("classes", torch.as_tensor(classes))
        # of the items, in the flattened classes
        self.register_buffer("places", torch.as_tensor(places))
        self.query = nn.Linear(latent, vectors.shape[1])
        self.bias = nn.Parameter(torch.as_tensor(np.log(counts)).float())
        self.class_vectors = nn.Parameter(
            torch.as_tensor(means / mass.sum(1, keepdims=True)).float()
        )
        self.class_bias = nn.Parameter(torch.as_tensor(np.log(mass.sum(1))).float())

    @property
    def n_classes(self) -> int:
        return self.classes.shape[0]

    def loss(self, latent: Tensor, items: Tensor) -> Tensor:
        """Mean -log p of items int64 (E,) to users' latent vectors (E, latent)."""
        query, (of_class, slot) = self.query(latent), self._split(items)
        if self.n_classes == 1:
            return functional.cross_entropy(query @ self.vectors.T + self.bias, items)
        first = functional.cross_entropy(self._class_scores(query), of_class)
        return first + functional.cross_entropy(self._scores(query, of_class[:, None])[:, 0], slot)

    @torch.no_grad()
    def draw(
        self,
        latent: Tensor,
        lengths: np.ndarray,
        random: torch.Generator,
        *,
        sharpness: float = 1.0,
    ) -> np.ndarray:
        """Distinct items for each user, drawn one after the other without replacement in proportion
        to p^sharpness.

        Args:
            latent: float32 (n, latent).
            lengths: int64 (n,), items of each user; at most n_items.
            random: on the device of the decoder.
            sharpness: inverse temperature of the part of all scores that depends on the user.

        Returns:
            Item positions int64 (sum of lengths,), user after user, in the order drawn.
        """
        # similar lengths together: work stays linear in what is drawn
        order = np.argsort(lengths, kind="stable")
        parts: list[np.ndarray] = []
        while len(order):
            rows, order = self._next_batch(order, lengths)
            query = self.query(latent[torch.as_tensor(rows, device=latent.device)]) * sharpness
            parts.append(self._draw_batch(query, lengths[rows], random))
        return _in_order(parts, lengths)

    @torch.no_grad()
    def calibrate(self, drawn: np.ndarray, counts: np.ndarray, damping: float) -> None:
        """Move the biases of items, and of classes, towards drawing items as often as they were
        met.

        Args:
            drawn, counts: how often each item was drawn and met, (n_items,).
            damping: pseudo-counts that keep rare items where they are.
        """
        wanted = counts * (drawn.sum() / counts.sum())
        self.bias.add_(_log_ratio(wanted, drawn, damping).to(self.bias.device))
        of_class = (
            self._split(torch.arange(len(counts), device=self.places.device))[0].cpu().numpy()
        )
        sums = [np.bincount(of_class, part, self.n_classes) for part in (wanted, drawn)]
        self.class_bias.add_(_log_ratio(sums[0], sums[1], damping).to(self.bias.device))

    @torch.no_grad()
    def with_items(self, vectors: Tensor, bias: Tensor) -> ItemDecoder:
        """This decoder with more items behind its own; the odds between its own stay as they are.

        With more than one class, a new item joins an added class next to the class of the items it
        is most similar to; an added class is as likely as its items' biases say.

        Args:
            vectors: float32 (m, d), on its device.
            bias: float32 (m,), comparable to those of its own items.
        """
        n_own, (n_classes, size) = len(self.vectors), self.classes.shape
        parents, classes = np.empty(0, np.int64), np.arange(n_own + len(vectors))[None]
        if n_classes > 1:
            parents, beside = _grouped(self._most_similar(vectors), size)
            classes = np.concatenate(
                [self.classes.cpu().numpy(), np.where(beside >= 0, beside + n_own, -1)]
            )
        biases = torch.cat([self.bias, bias])
        wider = ItemDecoder(
            torch.cat([self.vectors, vectors]),
            np.ones(len(biases)),
            self.query.in_features,
            classes,
        ).to(self.vectors.device)
        wider.query.load_state_dict(self.query.state_dict())
        wider.bias.copy_(biases)
        if n_classes > 1:
            mass = wider._masked(wider.bias[wider.classes], wider.classes).logsumexp(
                dim=1
            )  # (C + more,)
            of = torch.as_tensor(parents, device=mass.device)
            wider.class_vectors.copy_(torch.cat([self.class_vectors, self.class_vectors[of]]))
            wider.class_bias.copy_(
                torch.cat([self.class_bias, self.class_bias[of] + mass[n_classes:] - mass[of]])
            )
        return wider

    def _most_similar(self, vectors: Tensor) -> np.ndarray:
        """The class whose items' mean is nearest to each vector, int64 (m,)."""
        of_class = self._split(torch.arange(len(self.vectors), device=self.places.device))[0]
        sums = torch.zeros_like(self.class_vectors).index_add_(0, of_class, self.vectors)
        means = sums / torch.bincount(of_class, minlength=self.n_classes)[:, None]
        parts = vectors.split(max(1, _FLOATS_AT_ONCE // self.n_classes))
        return torch.cat([torch.cdist(part, means).argmin(dim=1) for part in parts]).cpu().numpy()

    def _next_batch(self, order: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The first rows, as many as can be drawn at once, and the rest."""
        n_classes, size = self.classes.shape
        if n_classes == 1:
            cells = np.full(len(order), size)
        else:
            cells = np.minimum(lengths[order], n_classes) * size * self.vectors.shape[1]
        room = np.arange(1, len(order) + 1) * cells
        rows, rest = np.split(
            order, [max(1, int(np.searchsorted(room, _FLOATS_AT_ONCE, side="right")))]
        )
        return rows, rest

    def _draw_batch(
        self, query: Tensor, lengths: np.ndarray, random: torch.Generator
    ) -> np.ndarray:
        if self.n_classes == 1:
            return gumbel_top_k(query @ self.vectors.T + self.bias, lengths, random)
        # Top-down (Kool, van Hoof, Welling 2019, arXiv 1903.06059, section 4.1): the best items lie
        # in the best classes, given that the best item of a class is as good as the class.
        shares = torch.log_softmax(self._class_scores(query), dim=1)  # (B, C)
        best, of_class = torch.topk(
            shares + _gumbel(shares, random), min(lengths.max(), self.n_classes), dim=1
        )
        joint = (
            torch.log_softmax(self._scores(query, of_class), dim=2)
            + shares.gather(1, of_class)[:, :, None]
        )
        perturbed = joint + _gumbel(joint, random)  # (B, K, S)
        gap = (
            best[:, :, None]
            - perturbed
            + _log1mexp(perturbed.amax(dim=2, keepdim=True) - perturbed)
        )
        keys = best[:, :, None] - functional.relu(gap) - torch.log1p(torch.exp(-gap.abs()))
        leaves = torch.topk(keys.flatten(1), int(lengths.max()), dim=1).indices  # (B, longest)
        items = self.classes[of_class].flatten(1).gather(1, leaves).cpu().numpy()
        return items[np.arange(items.shape[1]) < lengths[:, None]]

    def _class_scores(self, query: Tensor) -> Tensor:
        return query @ self.class_vectors.T + self.class_bias

    def _scores(self, query: Tensor, of_class: Tensor) -> Tensor:
        """Scores (B, K, S) of the items of classes int64 (B, K); -inf in empty places."""
        items = self.classes[of_class]  # (B, K, S)
        scores = torch.einsum("bksd,bd->bks", self.vectors[items], query) + self.bias[items]
        return self._masked(scores, items)

    @staticmethod
    def _masked(scores: Tensor, items: Tensor) -> Tensor:
        """-inf in empty places."""
        return scores.masked_fill(items < 0, -torch.inf)

    def _split(self, items: Tensor) -> tuple[Tensor, Tensor]:
        """Class and place within the class of items int64 (E,)."""
        size = self.classes.shape[1]
        places = self.places[items]
        return places // size, places % size


def item_classes(vectors: Tensor, max_full_items: int) -> np.ndarray:
    """Classes of similar items and nearly equal size, by halving along the direction in which the
    vectors vary most.

    Args:
        vectors: float32 (n_items, d), on the CPU.
        max_full_items: up to this number of items there is one class.

    Returns:
        Item positions int64 (C, S), -1 in empty places: 2^h classes, their size about √(n_items /
            16).
    """
    members, n = [torch.arange(len(vectors))], len(vectors)
    if n > max_full_items:
        for _ in range(min(round(np.log2(np.sqrt(n * _USUAL_LENGTH))), int(np.log2(n)))):
            members = [half for whole in members for half in _halves(whole, vectors)]
    return torch.nn.utils.rnn.pad_sequence(members, batch_first=True, padding_value=-1).numpy()


def _halves(members: Tensor, vectors: Tensor) -> Sequence[Tensor]:
    own = vectors[members]
    own = own - own.mean(dim=0)
    _, axes = torch.linalg.eigh(own.T @ own)
    return members[torch.argsort(own @ axes[:, -1], stable=True)].tensor_split(2)


def _in_order(parts: list[np.ndarray], lengths: np.ndarray) -> np.ndarray:
    """What was drawn shortest profile first, brought into the users' order."""
    drawn = np.concatenate([np.empty(0, np.int64), *parts])
    order = np.argsort(lengths, kind="stable")
    ends = np.cumsum(lengths)
    begins = np.empty(len(lengths), np.int64)
    begins[order] = np.cumsum(lengths[order]) - lengths[order]
    return drawn[np.arange(len(drawn)) + np.repeat(begins - (ends - lengths), lengths)]


def _grouped(groups: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Members of the same group together, in rows int64 (r, size) with -1 in empty places; the
    group of each row (r,)."""
    order = np.argsort(groups, kind="stable")
    ranked = groups[order]
    place = np.arange(len(order)) - np.searchsorted(ranked, ranked)
    keys, row = np.unique(ranked * (len(order) + 1) + place // size, return_inverse=True)
    rows = np.full((len(keys), size), -1)
    rows[row, place % size] = order
    return keys // (len(order) + 1), rows


def _gumbel(like: Tensor, random: torch.Generator) -> Tensor:
    return -torch.empty_like(like).exponential_(generator=random).log()


def _log1mexp(gap: Tensor) -> Tensor:
    """log(1 - exp(-gap)) for gap ≥ 0; -inf at 0."""
    return torch.log(-torch.expm1(-gap))


def _log_ratio(wanted: np.ndarray, drawn: np.ndarray, damping: float) -> Tensor:
    return torch.as_tensor(np.log((wanted + damping) / (drawn + damping))).float()
