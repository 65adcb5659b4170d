"""A simulated shop of any size, for tests, scale runs, and trying augrec without own data.

How it works, so that results on it can be interpreted:

* Items belong to a category and, within it, to a style: together a *cell*. Within a cell their
  popularity follows a power law, (rank)^-exponent. Categories differ in size. Items arrive over
  time; each cell has one from the start.
* Users have a latent taste over categories and another over styles: a point near that of their
  age group and region, passed through a softmax. So attributes are informative about taste, and
  taste mostly determines what is viewed.
* Activity is log-normal across users. Some users are present from the start, the others arrive
  evenly over time; some have no interactions.
* A visit starts at a random time after the arrival of the user, weighted by day of the year, day
  of the week and hour. Its views follow within minutes and mostly stay in one category. A view may
  lead to the cart, and that to a purchase.
* With drift, the tastes of all users change: over time some categories gain and others lose.

No array is as large as users × items. The time is linear in the interactions, and the memory is a
few dozen bytes for each.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Final

import numpy as np
import polars as pl
from pydantic import Field

from augrec.core.config import BaseConfig
from augrec.core.seeds import rng
from augrec.data import simulate_items
from augrec.data.canonical import Tables, canonical_tables
from augrec.data.columns import TIME
from augrec.data.columns import Columns as C

BATCH: Final = 200_000
DRIFT_STEPS: Final = 24
DAY_US: Final = 86_400_000_000

AGE_GROUPS: Final = ("18-24", "25-34", "35-44", "45-54", "55-64", "65+")
REGIONS: Final = ("north", "east", "south", "west", "centre")
_HOURS: Final = np.array(
    [2, 1, 1, 1, 1, 2, 4, 6, 7, 8, 9, 9, 10, 9, 8, 8, 9, 10, 12, 14, 15, 13, 8, 4], float
)


class ShopConfig(BaseConfig):
    """A simulated shop. The number of interactions differs from `n_interactions` by about one
    percent."""

    n_users: int = Field(default=1_000, ge=1)
    n_items: int = Field(default=500, ge=1)
    n_interactions: int = Field(default=20_000, ge=1)
    n_categories: int = Field(default=12, ge=1)
    n_styles: int = Field(default=4, ge=1)
    start: date = date(2022, 1, 1)
    days: int = Field(default=365, ge=1)
    popularity_exponent: float = Field(default=0.9, ge=0)
    """0: all items of a cell are equally popular."""
    taste_strength: float = Field(default=2.0, ge=0)
    """0: all users have the same taste."""
    attribute_strength: float = Field(default=0.5, ge=0, le=1)
    """Share of a user's taste that comes from their age group and region."""
    activity_spread: float = Field(default=1.0, ge=0)
    """Standard deviation of the logarithm of users' activity."""
    new_user_share: float = Field(default=0.6, ge=0, le=1)
    """Share of users who arrive after the start."""
    silent_user_share: float = Field(default=0.02, ge=0, lt=1)
    """Share of users without interactions."""
    new_item_share: float = Field(default=0.3, ge=0, le=1)
    """Share of items that arrive after the start."""
    weekly_swing: float = Field(default=0.3, ge=0, lt=1)
    """Relative increase of activity at weekends."""
    yearly_swing: float = Field(default=0.3, ge=0, lt=1)
    """Relative amplitude of activity over the year."""
    visit_views: float = Field(default=4.0, ge=1)
    """Mean number of views in a visit."""
    visit_focus: float = Field(default=0.7, ge=0, le=1)
    """Probability that a view is in the category of its visit's first view."""
    cart_rate: float = Field(default=0.15, ge=0, le=1)
    """Probability that a view leads to a cart event."""
    purchase_rate: float = Field(default=0.4, ge=0, le=1)
    """Probability that a cart event leads to a purchase."""
    drift: float = Field(default=0.0, ge=0)
    """0: tastes do not change; 1: over the simulated time, the odds of a category change by a
    factor of about e."""


def simulate(config: ShopConfig, seed: int) -> Tables:
    """Simulate a shop: the events view, cart and purchase (value: the price paid), and the user
    attributes age_group and region.

    The same config and seed give the same tables. Interactions are sorted by time.
    """
    shop = shop_items(config, seed)
    users, category_taste, style_taste = draw_users(config, seed)
    views = round(config.n_interactions / (1 + config.cart_rate * (1 + config.purchase_rate)))
    who, visit, when = _visits(config, max(views, 1), rng(seed, "visits"))
    drift = _drift(config, rng(seed, "drift"))
    draw = rng(seed, "views")
    own_category = _choose(category_taste, who, when, drift, draw)  # of each view by itself
    first_of_visit = np.r_[True, visit[1:] != visit[:-1]]
    first_view = np.flatnonzero(first_of_visit)[np.cumsum(first_of_visit) - 1]
    stays = draw.random(len(who)) < config.visit_focus
    category = np.where(stays, own_category[first_view], own_category)
    style = _choose(style_taste, who, when, None, draw)
    item = shop.draw(category * config.n_styles + style, when, draw)
    return canonical_tables(
        _funnel(config, shop, who, item, when, rng(seed, "funnel")), shop.table(), users
    )


def shop_items(config: ShopConfig, seed: int) -> simulate_items.ShopItems:
    """The items of the shop."""
    return simulate_items.build(
        config.n_items,
        config.n_categories,
        config.n_styles,
        config.popularity_exponent,
        config.new_item_share,
        rng(seed, "items"),
    )


def draw_users(config: ShopConfig, seed: int) -> tuple[pl.DataFrame, np.ndarray, np.ndarray]:
    """The users table, and tastes as probabilities: float32 (n_users, n_categories) and (n_users,
    n_styles)."""
    draw = rng(seed, "users")
    age = draw.choice(len(AGE_GROUPS), config.n_users, p=[0.14, 0.24, 0.22, 0.17, 0.13, 0.10])
    region = draw.choice(len(REGIONS), config.n_users, p=[0.15, 0.2, 0.2, 0.2, 0.25])
    shared, own = np.sqrt(config.attribute_strength), np.sqrt(1 - config.attribute_strength)

    def taste(size: int) -> np.ndarray:
        by_age = draw.normal(size=(len(AGE_GROUPS), size)).astype(np.float32)
        by_region = draw.normal(size=(len(REGIONS), size)).astype(np.float32)
        common = np.sqrt(0.7) * by_age[age] + np.sqrt(0.3) * by_region[region]
        personal = draw.standard_normal((config.n_users, size), dtype=np.float32)
        return _softmax(config.taste_strength * (shared * common + own * personal))

    table = pl.DataFrame(
        {
            C.USER: simulate_items.names("u", config.n_users),
            "age_group": np.asarray(AGE_GROUPS)[age].tolist(),
            "region": np.asarray(REGIONS)[region].tolist(),
        }
    )
    return table, taste(config.n_categories), taste(config.n_styles)


def _visits(
    config: ShopConfig, n_views: int, draw: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The user, the visit and the time, in microseconds since the start, of each view; views of a
    visit are adjacent."""
    n = config.n_users
    # as a share of the simulated time
    arrival = np.where(draw.random(n) < config.new_user_share, draw.random(n), 0.0)
    activity = np.exp(config.activity_spread * draw.standard_normal(n)) * (1 - arrival)
    silent = draw.random(n) < config.silent_user_share
    silent[int(np.argmax(activity))] = False  # at least one user is active
    activity[silent] = 0
    sizes = draw.geometric(1 / config.visit_views, size=n_views)
    n_visits = int(np.searchsorted(np.cumsum(sizes), n_views)) + 1
    sizes = sizes[:n_visits]
    sizes[-1] -= int(sizes.sum()) - n_views
    user = np.searchsorted(
        np.cumsum(activity) / activity.sum(), draw.random(n_visits), side="right"
    ).clip(max=n - 1)
    day_weight = _day_weights(config)
    # share of all visits before each day
    until = np.r_[0.0, np.cumsum(day_weight) / day_weight.sum()]
    earliest = np.interp(arrival[user] * config.days, np.arange(config.days + 1), until)
    day = np.interp(
        earliest + draw.random(n_visits) * (1 - earliest), until, np.arange(config.days + 1)
    )
    hour = draw.choice(24, n_visits, p=_HOURS / _HOURS.sum()) + draw.random(n_visits)
    begin = np.maximum(np.floor(day) + hour / 24, arrival[user] * config.days)
    visit = np.repeat(np.arange(n_visits), sizes)
    pauses = draw.exponential(90e6, n_views)  # on average 90 s between views
    pauses[np.r_[0, np.cumsum(sizes)[:-1]]] = 0
    walked = np.cumsum(pauses)
    within = walked - np.repeat(walked[np.r_[0, np.cumsum(sizes)[:-1]]], sizes)
    when = np.minimum(np.repeat(begin * DAY_US, sizes) + within, config.days * DAY_US - 1.0)
    return np.repeat(user, sizes), visit, when.astype(np.int64)


def _day_weights(config: ShopConfig) -> np.ndarray:
    days = np.arange(config.days)
    weekday = (config.start.weekday() + days) % 7
    of_year = (config.start.timetuple().tm_yday + days) / 365.25
    weekly = 1 + config.weekly_swing * np.where(weekday >= 5, 1.0, -0.4)
    # most active in December
    return weekly * (1 + config.yearly_swing * np.cos(2 * np.pi * (of_year - 0.95)))


def _drift(config: ShopConfig, draw: np.random.Generator) -> np.ndarray | None:
    """Factors on the odds of the categories, float32 (DRIFT_STEPS, n_categories); half of the
    categories gain, half lose."""
    if config.drift == 0:
        return None
    direction = np.where(np.arange(config.n_categories) % 2 == 0, 1.0, -1.0)[
        draw.permutation(config.n_categories)
    ]
    progress = np.linspace(-0.5, 0.5, DRIFT_STEPS)[:, None]
    return np.exp(config.drift * progress * direction).astype(np.float32)


def _choose(
    tastes: np.ndarray,
    who: np.ndarray,
    when: np.ndarray,
    factors: np.ndarray | None,
    draw: np.random.Generator,
) -> np.ndarray:
    """Draw a column for each row with the probabilities `tastes[who]`; int64 (n,)."""
    chosen = np.empty(len(who), np.int64)
    end = int(when.max()) + 1
    for low in range(0, len(who), BATCH):
        part = slice(low, low + BATCH)
        odds = tastes[who[part]]  # (B, n)
        if factors is not None:
            odds = odds * factors[when[part] * DRIFT_STEPS // end]
        steps = np.cumsum(odds, axis=1)
        level = draw.random(len(odds), dtype=np.float32)[:, None] * steps[:, -1:]
        chosen[part] = np.minimum((steps <= level).sum(axis=1), tastes.shape[1] - 1)
    return chosen


def _funnel(
    config: ShopConfig,
    shop: simulate_items.ShopItems,
    who: np.ndarray,
    item: np.ndarray,
    when: np.ndarray,
    draw: np.random.Generator,
) -> pl.DataFrame:
    """Views, and the cart events and purchases that follow some of them."""
    cart = np.flatnonzero(draw.random(len(who)) < config.cart_rate)
    bought = cart[draw.random(len(cart)) < config.purchase_rate]
    rows = np.concatenate([np.arange(len(who)), cart, bought])
    last = config.days * DAY_US - 1
    delay = np.concatenate(
        [
            np.zeros(len(who)),
            draw.uniform(10e6, 60e6, len(cart)),
            draw.uniform(61e6, 1200e6, len(bought)),
        ]
    )
    start = int(datetime.combine(config.start, datetime.min.time(), UTC).timestamp()) * 1_000_000
    moments = start + np.minimum(when[rows] + delay.astype(np.int64), last)
    kinds = np.repeat(np.arange(3), [len(who), len(cart), len(bought)])
    paid = np.where(kinds == 2, shop.price[item[rows]], np.nan)
    return pl.DataFrame(
        {
            C.USER: pl.Series(simulate_items.names("u", config.n_users)).gather(who[rows]),
            C.ITEM: shop.ids.gather(item[rows]),
            C.EVENT: pl.Series(["view", "cart", "purchase"]).gather(kinds),
            C.VALUE: pl.Series(paid, dtype=pl.Float32).fill_nan(None),
            C.TIMESTAMP: pl.Series(moments // 1_000_000 * 1_000_000).cast(TIME),
        }
    ).sort(C.TIMESTAMP, maintain_order=True)


def _softmax(scores: np.ndarray) -> np.ndarray:
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    return (raised / raised.sum(axis=1, keepdims=True)).astype(np.float32)
