"""The networks of group_gan as one: features, groups, profiles, lists, live update."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from augrec.nn.perturbations import Lookups
from augrec.nn.sequences import Sequences
from augrec.recommenders._taste.config import GroupGanConfig
from augrec.recommenders._taste.features import FeatureNetwork, LiveNetwork
from augrec.recommenders._taste.profiles import ListGenerator, ProfileVae


class GroupGanNetwork(nn.Module):
    """What is stored; a part that the config leaves out is not there.

    Attributes:
        centres: the groups' vectors, float32 (most groups, width).
        n_groups: how many of them there are, 0 before the first grouping.
    """

    ITEM_PARAMETERS: ClassVar = {
        "features.free": 0,
        "features.content": 0,
        "features.bias": 0,
        "vae.read.weight": 1,
        "vae.write.weight": 0,
        "vae.write.bias": 0,
        "lists.write.weight": 0,
        "lists.write.bias": 0,
    }
    centres: torch.Tensor
    n_groups: torch.Tensor

    def __init__(self, n_items: int, config: GroupGanConfig) -> None:
        super().__init__()
        self.config, self.lookup, width = config, Lookups(), config.width
        shape = (n_items, width, config.content_width, config.hidden, config.dropout)
        self.features = FeatureNetwork(*shape)
        self.live = LiveNetwork(width, config.dropout) if config.live else None
        self.vae = (
            ProfileVae(n_items, width, config.hidden, config.latent, config.dropout)
            if config.vae
            else None
        )
        self.lists = (
            ListGenerator(n_items, width, config.hidden, config.latent) if config.gan else None
        )
        self.register_buffer("centres", torch.zeros(config.most_groups, width))
        self.register_buffer("n_groups", torch.zeros((), dtype=torch.int64))

    @property
    def where(self) -> torch.device:
        return self.features.bias.device

    @torch.no_grad()
    def start_at(self, popularity: np.ndarray) -> None:
        """Begin with every user's items as likely as they are popular: float32 (n_items,), all
        above 0."""
        self.features.start_at(popularity)
        for part in (self.vae, self.lists if self.vae is None else None):
            if part is not None:
                part.write.bias.copy_(torch.from_numpy(popularity).clamp(min=1e-12).log())

    @torch.no_grad()
    def regroup(self, centres: np.ndarray) -> None:
        """Take other groups: float32 (k, width), in the order of their names."""
        self.centres.zero_()
        self.centres[: len(centres)] = torch.from_numpy(centres).to(self.where)
        self.n_groups.fill_(len(centres))

    def groups_of(
        self, users: torch.Tensor, x: torch.Tensor, centres: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The group of each user, int64 (B,): of the nearest centre, or, where groups are random,
        by the sum of the positions of the user's items.

        Args:
            users: their vectors, (B, width).
            x: what they met, 0/1 (B, n_items).
            centres: (n_groups, width), in place of those stored.
        """
        n = int(self.n_groups)
        if self.config.grouping == "random":
            places = torch.arange(x.shape[1], device=x.device, dtype=torch.float64)
            return (x.double() @ places).long() % n
        centres = self.centres[:n] if centres is None else centres
        squares = (centres**2).sum(1) - 2 * users @ centres.T
        return squares.argmin(1)

    def group_vectors(
        self, users: torch.Tensor, x: torch.Tensor, centres: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The vector of each user's group, (B, width); zeros where there are no groups."""
        if not int(self.n_groups) or self.config.grouping == "none":
            return torch.zeros_like(users)
        there = self.centres if centres is None else centres
        return there[self.groups_of(users.detach(), x, centres)]

    def vectors(self, x: torch.Tensor, sequences: Sequences, items: torch.Tensor) -> torch.Tensor:
        """The users' vectors after the last event, (B, width)."""
        return self.moved(self.features.users(x, items), sequences, items)

    def moved(self, users: torch.Tensor, sequences: Sequences, items: torch.Tensor) -> torch.Tensor:
        """Vectors of users, moved by what they did in order; unmoved without the live update."""
        if self.live is None:
            return users
        return users.lerp(self.live.last(sequences, items), self.config.live_share)

    def codes(self, x: torch.Tensor, group: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and log variance of z; without the profile model those of N(0, I)."""
        if self.vae is not None:
            return self.vae.code(x, group)
        nothing = x.new_zeros(len(x), self.config.latent)
        return nothing, nothing

    def lists_of(
        self, z: torch.Tensor, group: torch.Tensor, users: torch.Tensor
    ) -> torch.Tensor | None:
        """Logits of the list, (B, n_items); None: neither profile model nor generator is there."""
        logits = None if self.vae is None else self.vae.logits(z, group)
        if self.lists is None:
            return logits
        added = self.lists(z, group, users.detach())
        return added if logits is None else logits.detach() + added

    def scores(
        self,
        x: torch.Tensor,
        sequences: Sequences,
        noise: torch.Tensor,
        centres: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Log of a geometric mean of what list and user's vector make likely, (B, n_items).

        Args:
            x: 0/1 (B, n_items).
            sequences: the same in the order met.
            noise: draws of N(0, I) that the lists are averaged over, (n, latent) for all users, or
                (n, B, latent).
            centres: of the groups as they are now, (n_groups, width).
        """
        items = self.features.items()
        users = self.features.users(x, items)
        now = self.moved(users, sequences, items)
        by_vector = F.log_softmax(self.features.logits(now, items), 1)
        group = self.group_vectors(now, x, centres)
        mean, log_variance = self.codes(x, group)
        draws = [
            self.lists_of(mean + one * torch.exp(0.5 * log_variance), group, users) for one in noise
        ]
        lists = [F.log_softmax(one, 1) for one in draws if one is not None]
        if not lists:
            return by_vector
        by_list = torch.stack(lists).logsumexp(0) if len(lists) > 1 else lists[0]
        return by_list.lerp(by_vector, self.config.vector_share)
