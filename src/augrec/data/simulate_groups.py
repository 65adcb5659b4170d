"""Groups of a simulated shop's users who also decide together.

How it works, so that results on it can be interpreted:

* A group has two to four members, drawn at random from users with interactions. It decides from the
  first day on which all of them have been met.
* What it chooses lies in a category and a style that its members agree on: the odds of each are the
  product of the members' tastes, raised to the power 1 / n. So the truth is a consensus, neither
  the mean of the members' wishes nor those of one of them.
* Each member's own history gets a view of what the group chose, at the same time, with probability
  one half: as in reality, a part of what groups choose is known of their members too.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, NamedTuple

import numpy as np
import polars as pl
from pydantic import Field

from augrec.core.config import BaseConfig
from augrec.core.errors import InputError
from augrec.core.seeds import rng
from augrec.data import simulate_items
from augrec.data.canonical import Tables, canonical_tables
from augrec.data.columns import TIME
from augrec.data.columns import Columns as C
from augrec.data.group_tables import GroupTables, canonical_groups
from augrec.data.simulate import DAY_US, ShopConfig, draw_users, shop_items

_SIZES: Final = np.array([2, 3, 4])
_SIZE_SHARES: Final = np.array([0.5, 0.3, 0.2])


class GroupsConfig(BaseConfig):
    """Groups of a simulated shop."""

    n_groups: int = Field(default=200, ge=1)
    choices: float = Field(default=12.0, ge=1)
    """Mean number of choices of a group."""
    recorded: float = Field(default=0.5, ge=0, le=1)
    """Probability that a member's own history has what the group chose."""


class ShopWithGroups(NamedTuple):
    """The shop's tables, with the members' rows of what their groups chose, and those of groups."""

    tables: Tables
    groups: GroupTables


def with_groups(
    tables: Tables, shop: ShopConfig, config: GroupsConfig, seed: int
) -> ShopWithGroups:
    """Let some users of a shop decide together.

    Args:
        tables: what `simulate` made.
        shop, seed: as given to `simulate`, whose tastes and items are drawn again.
        config: how many groups there are.

    Raises:
        InputError: fewer users have interactions than a group has members.
    """
    first = tables.interactions.group_by(C.USER).agg(pl.col(C.TIMESTAMP).min()).sort(C.USER)
    if len(first) < _SIZES.max():
        raise InputError(
            f"a group of {_SIZES.max()} cannot be drawn from {len(first)} users with interactions",
            where="simulated groups",
            fix="simulate more users and interactions",
        )
    draw = rng(seed, "groups")
    sizes = draw.choice(_SIZES, config.n_groups, p=_SIZE_SHARES)
    members = [draw.choice(len(first), size, replace=False) for size in sizes]
    places = first[C.USER].str.slice(1).cast(pl.Int64).to_numpy() - 1  # u00001 is user 0
    start = int(datetime.combine(shop.start, datetime.min.time(), UTC).timestamp()) * 1_000_000
    met = first[C.TIMESTAMP].to_physical().to_numpy() - start
    names = simulate_items.names("g", config.n_groups)
    n = draw.geometric(1 / config.choices, config.n_groups)
    group = np.repeat(np.arange(config.n_groups), n)
    begin = np.array([met[one].max() for one in members])[group]
    when = begin + draw.random(len(group)) * (shop.days * DAY_US - 1 - begin)
    _, category_taste, style_taste = draw_users(shop, seed)
    category = _agreed(category_taste, [places[one] for one in members], group, draw)
    style = _agreed(style_taste, [places[one] for one in members], group, draw)
    items = shop_items(shop, seed)
    item = items.ids.gather(items.draw(category * shop.n_styles + style, when, draw))
    moments = pl.Series((start + when.astype(np.int64)) // 1_000_000 * 1_000_000).cast(TIME)
    chosen = pl.DataFrame(
        {
            C.GROUP: pl.Series(names).gather(group),
            C.ITEM: item,
            C.EVENT: pl.repeat("view", len(group), eager=True),
            C.TIMESTAMP: moments,
        }
    ).sort(C.TIMESTAMP, C.GROUP, maintain_order=True)
    groups = pl.DataFrame(
        {
            C.GROUP: pl.Series(names).gather(np.repeat(np.arange(config.n_groups), sizes)),
            C.USER: first[C.USER].gather(np.concatenate(members)),
        }
    )
    rows = chosen.join(groups, on=C.GROUP, maintain_order="left").drop(C.GROUP)
    rows = rows.filter(pl.Series(draw.random(len(rows)) < config.recorded))
    added = canonical_tables(rows).interactions
    return ShopWithGroups(
        tables._replace(
            interactions=pl.concat([tables.interactions, added]).sort(
                C.TIMESTAMP, maintain_order=True
            )
        ),
        canonical_groups(groups, chosen),
    )


def _agreed(
    tastes: np.ndarray, members: list[np.ndarray], group: np.ndarray, draw: np.random.Generator
) -> np.ndarray:
    """A column of `tastes` for each choice, by the geometric mean of the members' rows; int64."""
    odds = np.stack([np.exp(np.log(tastes[one]).mean(axis=0)) for one in members])
    steps = np.cumsum(odds / odds.sum(axis=1, keepdims=True), axis=1)[group]
    level = draw.random(len(group))[:, None]
    found: np.ndarray = np.minimum((steps <= level).sum(axis=1), tastes.shape[1] - 1)
    return found
