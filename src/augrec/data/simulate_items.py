"""The items of a simulated shop: cells, power-law popularity, arrival over time, and texts that
describe them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from augrec.data.columns import Columns as C

DAY_STEPS: Final = 1 << 20
"""The number of steps of the simulated time in which arrivals are stored."""

_CATEGORIES: Final = {
    "lighting": "lamp",
    "seating": "chair",
    "kitchen": "pan",
    "textiles": "blanket",
    "garden": "planter",
    "toys": "puzzle",
    "books": "novel",
    "audio": "speaker",
    "outdoor": "tent",
    "shoes": "trainer",
    "bags": "backpack",
    "tools": "drill",
    "bath": "towel",
    "office": "notebook",
    "sport": "racket",
    "coffee": "grinder",
    "cycling": "helmet",
    "games": "board game",
    "plants": "fern",
    "clocks": "clock",
}
_STYLES: Final = ("plain", "bold", "classic", "playful", "rugged", "elegant")
_ADJECTIVES: Final = (
    "compact",
    "large",
    "light",
    "sturdy",
    "folding",
    "handmade",
    "recycled",
    "quiet",
    "bright",
    "soft",
)


@dataclass(frozen=True)
class ShopItems:
    """Items 0 … n-1, sorted by cell and, within a cell, by arrival.

    Attributes:
        ids: item ids, String (n,).
        cell: category × n_styles + style, int64 (n,).
        arrival: time at which an item arrives, as a share of the simulated time, float64 (n,), in
            [0, 1).
        popularity: weight within the cell, float64 (n,).
        price: float64 (n,).
        n_styles: styles in a category.
        adjective: word for the title, int64 (n,).
    """

    ids: pl.Series
    cell: np.ndarray
    arrival: np.ndarray
    popularity: np.ndarray
    price: np.ndarray
    n_styles: int
    adjective: np.ndarray

    def draw(self, cells: np.ndarray, when: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Draw an item of each cell by popularity, among those that have arrived; int64 (m,). For
        cells without items it comes from a neighbouring cell.

        Args:
            cells: int64 (m,).
            when: times (m,) in any unit, from 0 to the end of the simulated time.
            random: the generator of the draws.
        """
        cells = self._stocked(cells)
        moment = when / (float(when.max()) + 1)
        heavy = np.r_[0.0, np.cumsum(self.popularity)]
        keys = self.cell * DAY_STEPS + (self.arrival * DAY_STEPS).astype(np.int64)
        begin = np.searchsorted(keys, cells * DAY_STEPS)
        end = np.searchsorted(
            keys, cells * DAY_STEPS + (moment * DAY_STEPS).astype(np.int64), side="right"
        )
        end = np.maximum(end, begin + 1)
        level = heavy[begin] + random.random(len(cells)) * (heavy[end] - heavy[begin])
        return np.clip(np.searchsorted(heavy, level, side="right") - 1, begin, end - 1)

    def _stocked(self, cells: np.ndarray) -> np.ndarray:
        stocked = np.unique(self.cell)
        return stocked[np.searchsorted(stocked, cells).clip(max=len(stocked) - 1)]

    def table(self) -> pl.DataFrame:
        """Items with title, description, categories, tags and price, sorted by id."""
        words = list(_CATEGORIES.items())
        category, style = self.cell // self.n_styles, self.cell % self.n_styles
        table = pl.DataFrame(
            {
                C.ITEM: self.ids,
                "category": pl.Series(
                    [_numbered([name for name, _ in words], k) for k in range(category.max() + 1)]
                ).gather(category),
                "thing": pl.Series(
                    [words[k % len(words)][1] for k in range(category.max() + 1)]
                ).gather(category),
                "style": pl.Series([_numbered(_STYLES, k) for k in range(style.max() + 1)]).gather(
                    style
                ),
                "adjective": pl.Series(_ADJECTIVES).gather(self.adjective),
                C.PRICE: self.price,
            }
        )
        return table.select(
            C.ITEM,
            pl.concat_str(
                pl.col("adjective").str.to_titlecase(),
                pl.lit(" "),
                "style",
                pl.lit(" "),
                "thing",
                pl.lit(" "),
                pl.col(C.ITEM).str.slice(1).str.strip_chars_start("0"),
            ).alias(C.TITLE),
            pl.concat_str(
                pl.lit("A "),
                "style",
                pl.lit(", "),
                "adjective",
                pl.lit(" "),
                "thing",
                pl.lit(" from our range of "),
                "category",
                pl.lit("."),
            ).alias(C.DESCRIPTION),
            pl.concat_list("category").alias(C.CATEGORIES),
            pl.concat_list("style", "adjective").alias(C.TAGS),
            C.PRICE,
        ).sort(C.ITEM)


def build(
    n_items: int,
    n_categories: int,
    n_styles: int,
    exponent: float,
    new_share: float,
    random: np.random.Generator,
) -> ShopItems:
    """Make the items of a shop; ids are independent of popularity and cell."""
    sizes = 1 / np.sqrt(np.arange(1, n_categories + 1))
    category = random.choice(n_categories, n_items, p=sizes / sizes.sum())
    cell = np.sort(category * n_styles + random.integers(n_styles, size=n_items))
    first = np.r_[True, cell[1:] != cell[:-1]]
    arrival = np.where(random.random(n_items) < new_share, random.random(n_items), 0.0)
    arrival[first] = 0.0
    order = np.lexsort((arrival, cell))
    arrival = arrival[order]
    # a random rank within the cell, independent of the arrival
    shuffled = np.lexsort((random.random(n_items), cell))
    starts = np.flatnonzero(first)[np.cumsum(first) - 1]
    rank = np.empty(n_items, np.int64)
    rank[shuffled] = np.arange(n_items) - starts + 1
    base = np.exp(random.normal(3.0, 0.8, size=n_categories))[cell // n_styles]
    return ShopItems(
        ids=pl.Series(names("i", n_items)).gather(random.permutation(n_items)),
        cell=cell,
        arrival=arrival,
        popularity=rank.astype(float) ** -exponent,
        price=np.round(base * np.exp(0.4 * random.standard_normal(n_items)), 2),
        n_styles=n_styles,
        adjective=random.integers(len(_ADJECTIVES), size=n_items),
    )


def names(letter: str, n: int) -> list[str]:
    """Ids such as u00042, all of the same length, numbered from 1."""
    width = max(len(str(n)), 5)
    return [f"{letter}{number:0{width}d}" for number in range(1, n + 1)]


def _numbered(words: list[str] | tuple[str, ...], k: int) -> str:
    return words[k] if k < len(words) else f"{words[k % len(words)]} {k // len(words) + 1}"
