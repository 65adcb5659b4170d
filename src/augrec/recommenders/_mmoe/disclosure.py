"""What the towers disclose of whom they are trained on: users held out, and predictions for both
sides."""

from __future__ import annotations

import torch

from augrec.nn.membership import MembershipAdversary, MembershipConfig, held_out
from augrec.nn.pairs import History
from augrec.nn.sparse_rows import SparseRows
from augrec.recommenders._mmoe.experts import Features, Towers
from augrec.recommenders._mmoe.multitask import Examples


class Disclosure:
    """Adds the gain of a membership attack to a loss, from fresh users of both sides in each step.

    A step scores the whole catalogue for four times `size` users.

    Args:
        config: how much it counts.
        network: the towers.
        examples: all training users.
        items: the features of each item.
        heads: weights of the heads in a ranking, float32 (heads,).
        size: users of either side in a step.
        seed: of who is held out.

    Attributes:
        members: the users to train on.
    """

    def __init__(
        self,
        config: MembershipConfig,
        network: Towers,
        examples: Examples,
        items: Features,
        heads: torch.Tensor,
        size: int,
        seed: int,
    ) -> None:
        self._network, self._items, self._heads, self._size = network, items, heads, size
        where, histories = network.where, examples.histories
        sides = held_out(len(histories), config.membership_reference, seed)
        self._sides = [torch.from_numpy(side).to(where) for side in sides]
        self.members = examples.take(sides[0])
        self._profiles = SparseRows(histories.matrix(observed_only=True), where)
        self._known = examples.rows.rows(torch.from_numpy(histories.indptr[1:] - 1).to(where))
        self._adversary = MembershipAdversary(config, where)

    def penalised(self, loss: torch.Tensor) -> torch.Tensor:
        """The loss to descend on; draws from torch's generator."""
        members, others = (
            side[torch.randint(len(side), (min(self._size, len(side)),), device=side.device)]
            for side in self._sides
        )
        users = torch.cat([members, others])
        known = self._known.rows(torch.cat([users, users]))
        profiles = (self._profiles.dense(users) > 0).float()
        self._network.eval()
        loss = self._adversary.penalised(
            loss,
            lambda read: self._logits(read, known),
            profiles[: len(members)],
            profiles[len(members) :],
        )
        self._network.train()
        return loss

    def _logits(self, profiles: torch.Tensor, known: Features) -> torch.Tensor:
        """As a ranking scores them, (B, n_items)."""
        every = torch.arange(profiles.shape[1], device=profiles.device)
        vectors, bias = self._network.items(every, self._items)
        lengths = profiles.sum(1).long()
        history = History(profiles.nonzero()[:, 1], lengths.cumsum(0) - lengths, lengths)
        users, _ = self._network.users(history, known)
        wanted = (users * self._heads[:, None]).flatten(1)  # (B, heads × factors)
        return wanted @ vectors.flatten(1).T + bias @ self._heads
