"""The losses of several heads on one batch of users at a moment."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from augrec.data.histories import Histories
from augrec.nn.negatives import Drawn, Negatives
from augrec.nn.perturbations import ForwardPass
from augrec.recommenders._heads import Head
from augrec.recommenders._mmoe.experts import Features, Towers
from augrec.recommenders._mmoe.outcomes import Outcomes
from augrec.recommenders._mmoe.prefix_sampling import PrefixBatch, PrefixSampler


@dataclass(frozen=True)
class Examples:
    """What the network learns from.

    Attributes:
        histories: of the training users.
        outcomes: of the entries of `histories`.
        rows: the user's features and attributes at each entry.
    """

    histories: Histories
    outcomes: Outcomes
    rows: Features

    def take(self, users: np.ndarray) -> Examples:
        """The users at positions `users`, int (m,)."""
        entries, outcomes = self.histories.entries(users), self.outcomes
        return Examples(
            self.histories.take(users),
            replace(outcomes, happened=outcomes.happened[entries], values=outcomes.values[entries]),
            self.rows.rows(torch.from_numpy(entries).to(self.rows.numbers.device)),
        )


class Losses:
    """Draws batches and gives each head's loss.

    A head for a probability with logit l has, over its positives p of the batch, the mean of
    softplus(-(l_p - ln w)) + w × mean over items n that the user never meets of softplus(l_n - ln
    w), with w the negative weight. Whatever w is, the optimum is l = ln(P / Q), the log-odds of P,
    the chance of the item among the positives of such a user, against Q, an even one. The mean over
    items is estimated from drawn ones, each divided by its chance of being drawn. A head for a
    value has half the mean squared error of the standardised value.

    Args:
        network: the towers.
        examples: the training users.
        items: the features of each item.
        negative_weight: w.
        sampler: where the drawn items come from.
    """

    def __init__(
        self,
        network: Towers,
        examples: Examples,
        items: Features,
        negative_weight: float,
        sampler: Negatives,
    ) -> None:
        histories, outcomes = examples.histories, examples.outcomes
        where, self._n_items = items.numbers.device, histories.n_items
        self._network, self._rows, self._items = network, examples.rows, items
        self._weight = negative_weight
        self._sampler = sampler
        self._heads, self._prefixes = outcomes.heads, PrefixSampler(histories, where)
        self._met = torch.from_numpy(histories.items.astype(np.int64)).to(where)
        self._happened = torch.from_numpy(outcomes.happened).to(where)
        self._values = torch.from_numpy(outcomes.values).to(where)

    def draw(
        self, n_users: int, n_positives: int, n_negatives: int, truncate: float
    ) -> PrefixBatch:
        """A fresh batch, and the items drawn for it."""
        batch = self._prefixes.draw(n_users, n_positives, truncate)
        self._drawn = self._sampler.for_all(self._met[batch.later], n_negatives)
        return batch

    def on(self, batch: PrefixBatch, balance: Balance) -> ForwardPass:
        """The balanced loss on the last batch, the logits, and (1 + heads,) the loss with each
        head's; 0 for a head that the batch has nothing for."""
        wanted, drawn = self._logits(batch, self._drawn)  # (B, P, heads), (B, N, heads)
        happened = self._happened[batch.later]  # (B, P, heads)
        counted = self._counted(batch)
        each = torch.stack(
            [
                self._loss(head, wanted[..., t], drawn[..., t], happened[..., t], batch, counted)
                for t, head in enumerate(self._heads)
            ]
        )
        loss = balance(each)
        logits = torch.cat([wanted.flatten(1), drawn.flatten(1)], dim=1)
        return ForwardPass(loss, logits, torch.cat([loss[None], each]))

    def learn(self) -> None:
        """Let the sampler learn from the last batch; comes after the backward pass."""
        self._sampler.learn(self._drawn)

    def _counted(self, batch: PrefixBatch) -> torch.Tensor:
        """How much each drawn item counts for each user, float32 (B, N): 0 where the user meets
        it."""
        chances = self._drawn.log_chances + math.log(self._n_items)  # relative to an even draw
        return self._prefixes.unmet(batch.users, self._drawn.items) * torch.exp(-chances)

    def _logits(self, batch: PrefixBatch, drawn: Drawn) -> tuple[torch.Tensor, torch.Tensor]:
        users, ease = self._network.users(batch.history, self._rows.rows(batch.entries))
        met = self._met[batch.later]  # (B, P)
        items, place = torch.unique(torch.cat([met.flatten(), drawn.items]), return_inverse=True)
        vectors, bias = self._network.items(items, self._items.rows(items))
        table = torch.cat([vectors, bias[:, :, None]], dim=2).flatten(1)
        found = F.embedding(place, table).unflatten(
            1, (len(self._heads), -1)
        )  # (B P + N, heads, factors + 1)
        own = torch.cat(
            [users, torch.ones_like(ease)[:, :, None]], dim=2
        )  # the item's bias is one factor more
        wanted = found[: met.numel()].view(*met.shape, *found.shape[1:])
        nudge = drawn.nudge[:, None] if isinstance(drawn.nudge, torch.Tensor) else drawn.nudge
        return (
            torch.einsum("bhf,bphf->bph", own, wanted) + ease[:, None],
            torch.einsum("bhf,nhf->bnh", own, found[met.numel() :]) + ease[:, None] + nudge,
        )

    def _loss(
        self,
        head: Head,
        wanted: torch.Tensor,
        drawn: torch.Tensor,
        happened: torch.Tensor,
        batch: PrefixBatch,
        counted: torch.Tensor,
    ) -> torch.Tensor:
        n = happened.sum().clamp(min=1)
        if head.kind == "value":
            return 0.5 * ((wanted - self._values[batch.later]) ** 2 * happened).sum() / n
        shift = math.log(self._weight)
        against = (F.softplus(drawn - shift) * counted).sum(1) / counted.sum(1).clamp(min=1)  # (B,)
        return (
            (F.softplus(shift - wanted) * happened).sum()
            + self._weight * (against * happened.sum(1)).sum()
        ) / n


class Balance(nn.Module):
    """Adds losses up: by fixed weights, or besides by learnt uncertainty: exp(-s_t) L_t + s_t / 2.

    Args:
        weights: float32 (heads,).
        learnt: whether by uncertainty.
    """

    weights: torch.Tensor

    def __init__(self, weights: torch.Tensor, *, learnt: bool) -> None:
        super().__init__()
        self.register_buffer("weights", weights)
        self.uncertainty = nn.Parameter(torch.zeros_like(weights)) if learnt else None

    def forward(self, losses: torch.Tensor) -> torch.Tensor:
        """losses: (heads,). Gives their sum."""
        if self.uncertainty is not None:
            losses = torch.exp(-self.uncertainty) * losses + self.uncertainty / 2
        return (self.weights * losses).sum()
