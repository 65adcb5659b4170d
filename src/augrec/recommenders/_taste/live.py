"""Vectors of active users and of groups that move with every event, in bounded memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from augrec.core.errors import InputError
from augrec.recommenders._taste.network import GroupGanNetwork

if TYPE_CHECKING:
    from augrec.recommenders.group_gan import GroupGan


@dataclass(slots=True)
class _Active:
    """A user in memory: the sum of the vectors of the items met, their number, the state of the
    recurrent network, the user's vector, and the group."""

    total: torch.Tensor
    count: int
    state: torch.Tensor
    vector: np.ndarray
    group: int


@dataclass
class LiveTastes:
    """Moves a user's vector with every event, h_t = GRU(h_{t-1}, x_t), and the group's vector by
    the mean of what its members' events moved theirs. A model whose `live` this is scores with the
    groups' vectors as they are now.

    An event takes one step from where the user was. A user's vector depends on the history alone,
    so whoever is not in memory is brought back from the stored history. The groups' vectors depend
    on the events since the model was trained: after a restart apply these again in their order.

    Not thread-safe. The state reads the whole history; scores read the latest `max_length` items.

    Args:
        model: fitted, with groups of k-means.
        max_users: users in memory, at most; the longest inactive leave first. One takes about 16
            bytes × width and 500 more.

    Raises:
        InputError: the model has no such groups, or the limit is less than 1.
    """

    model: GroupGan
    max_users: int = 100_000
    centres: np.ndarray = field(init=False)
    """The groups' vectors now, float32 (n_groups, width)."""

    def __post_init__(self) -> None:
        n = self.model.n_groups if self.model.config.grouping == "k_means" else 0
        if not n or self.max_users < 1:
            raise InputError(
                f"{n} groups, at most {self.max_users} users",
                where="live tastes",
                fix="take a model with groups, and a limit of at least 1",
            )
        self.centres = self.model.centres()
        self._sizes = np.maximum(self.model.group_sizes(), 1)
        self._steps = self.model.live_steps()
        self._places = {str(item): place for place, item in enumerate(self.model.items.ids)}
        self._users: OrderedDict[str, _Active] = OrderedDict()

    def __len__(self) -> int:
        return len(self._users)

    def load(self, user: str, history: Iterable[str]) -> int:
        """Bring a user in from the stored history, distinct items, oldest first; gives the group.
        No group's vector moves."""
        known = [self._places[item] for item in dict.fromkeys(history) if item in self._places]
        total, state = self._steps.begin(known)
        vector = self._steps.vector(total, len(known), state)
        one = _Active(total, len(known), state, vector, self._nearest(vector))
        self._users[user] = one
        while len(self._users) > self.max_users:
            self._users.popitem(last=False)
        return one.group

    def apply(self, user: str, item: str, before: Iterable[str] = ()) -> int:
        """One event of an item that is new to the user: move the user's vector and the group's;
        gives the group after it.

        An unknown item moves nothing.

        Args:
            user, item: ids.
            before: the user's history before the event, read where the user is not in memory.
        """
        if user not in self._users:
            self.load(user, before)
        one = self._users[user]
        self._users.move_to_end(user)
        place = self._places.get(item)
        if place is None:
            return one.group
        one.total, one.state = self._steps.step(one.total, one.state, place)
        one.count += 1
        vector = self._steps.vector(one.total, one.count, one.state)
        group = self._nearest(vector)
        if one.count > 1 and group == one.group:  # who joins brings no move of their own
            self.centres[group] += (vector - one.vector) / self._sizes[group]
        one.vector, one.group = vector, group
        return group

    def _nearest(self, vector: np.ndarray) -> int:
        return int(((self.centres - vector) ** 2).sum(1).argmin())


class LiveSteps:
    """Single users' steps through the features and the recurrent network of a model.

    Args:
        network: of a fitted model.
    """

    @torch.inference_mode()
    def __init__(self, network: GroupGanNetwork) -> None:
        self._network = network
        self._items = self._network.features.items()

    @torch.inference_mode()
    def begin(self, items: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """The sum of the items' vectors and the state after all of them, (width,) each."""
        vectors, live = self._items[items], self._network.live
        if live is None:
            return vectors.sum(0), vectors.new_zeros(0)
        _, state = live.recur(torch.cat([live.start, vectors])[None])
        return vectors.sum(0), state[0, 0]

    @torch.inference_mode()
    def step(
        self, total: torch.Tensor, state: torch.Tensor, item: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The same after one more item."""
        vector, live = self._items[item], self._network.live
        if live is None:
            return total + vector, state
        _, after = live.recur(vector[None, None], state[None, None])
        return total + vector, after[0, 0]

    @torch.inference_mode()
    def vector(self, total: torch.Tensor, count: int, state: torch.Tensor) -> np.ndarray:
        """The user's vector, float32 (width,)."""
        network = self._network
        user = network.features.user(total / max(count, 1) ** 0.5)
        if network.live is not None:
            user = user.lerp(network.live.out(state), network.config.live_share)
        return np.asarray(user.cpu().numpy())
