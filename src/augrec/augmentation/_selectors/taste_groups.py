"""Balances taste groups, or takes the users of some."""

from __future__ import annotations

from typing import Literal

import numpy as np

from augrec.augmentation._selectors.base import Pool, Selector
from augrec.core.config import BaseConfig
from augrec.core.errors import ConfigError
from augrec.data.histories import Histories


class TasteGroupsConfig(BaseConfig):
    """Which groups, and their wanted shares."""

    groups: list[int] = []
    """Their numbers; []: all."""
    towards: Literal["even", "real"] = "even"
    """even: every group as likely as another, so that small ones grow; real: each as large as it is
    among real users."""


class TasteGroups(Selector):
    """By the taste group that a user's profile belongs to, see the stage `taste_groups`: each group
    by its share."""

    Config = TasteGroupsConfig

    def values(self, pool: Pool) -> np.ndarray:
        """Wanted share of the user's group over its share of the pool; 0 for users of other groups
        and of none."""
        config, tastes = self.config, pool.tastes
        if tastes is None:
            raise ConfigError(
                "users are chosen by taste group, and there are no groups",
                where="params.yaml, mix.choose",
                fix="set taste_groups.groups above 0, or leave taste_groups out of the policy",
            )
        unknown = sorted(set(config.groups) - set(tastes.numbers.tolist()))
        if unknown:
            raise ConfigError(
                f"there is no taste group {unknown[0]}",
                where="params.yaml, mix.choose, taste_groups.groups",
                fix=f"use some of {tastes.numbers.tolist()}, which data/taste_groups/groups.json "
                "describes",
            )
        places, _ = tastes.places(Histories.from_interactions(pool.rows, tastes.items))
        wanted = np.ones(len(tastes.numbers))
        if config.towards == "real":
            wanted = tastes.groups.sizes.astype(np.float64)
        if config.groups:
            wanted[~np.isin(tastes.numbers, config.groups)] = 0
        have = np.bincount(places[places >= 0], minlength=len(wanted))
        return np.where(places >= 0, (wanted / np.maximum(have, 1))[places], 0.0)
