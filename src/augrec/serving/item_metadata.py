"""Titles, categories and prices of items; filters and search."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from augrec.data.columns import Columns as C
from augrec.serving.schemas import Filters
from augrec.serving.spelling import Spelling
from augrec.serving.status_schemas import ItemCard


class ItemMetadata:
    """The items table, by id, by category and by words of the title.

    Args:
        items: item_id, title, categories and optionally price; the first row of an item counts.
    """

    def __init__(self, items: pl.DataFrame) -> None:
        table = items.unique(C.ITEM, keep="first", maintain_order=True)
        empty = pl.lit(None)
        self._ids = table[C.ITEM].to_list()
        self._places = {item: place for place, item in enumerate(self._ids)}
        self._titles = table[C.TITLE].to_list()
        self._categories = table[C.CATEGORIES].to_list()
        prices = table if C.PRICE in table.columns else table.with_columns(empty.alias(C.PRICE))
        self._prices = prices[C.PRICE].to_list()
        self._words = table[C.TITLE].fill_null("").str.to_lowercase()
        exploded = table.select(C.ITEM, C.CATEGORIES).explode(C.CATEGORIES).drop_nulls()
        grouped = exploded.group_by(C.CATEGORIES, maintain_order=True).agg(C.ITEM)
        self._members: dict[str, list[str]] = dict(grouped.iter_rows())

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, item: str) -> bool:
        return item in self._places

    def details(self, item: str) -> dict[str, Any]:
        """title, categories, price of an item; None or empty where unknown."""
        place = self._places.get(item)
        if place is None:
            return {"title": None, "categories": [], "price": None}
        return {
            "title": self._titles[place],
            "categories": self._categories[place] or [],
            "price": self._prices[place],
        }

    def title(self, item: str) -> str | None:
        """The title of an item."""
        place = self._places.get(item)
        return None if place is None else self._titles[place]

    def categories_of(self, item: str) -> list[str]:
        """The categories of an item."""
        place = self._places.get(item)
        return [] if place is None else self._categories[place] or []

    def card(self, item: str) -> ItemCard:
        """An item as the API shows it."""
        return ItemCard(item_id=item, **self.details(item))

    def members(self, categories: Iterable[str]) -> set[str]:
        """Items of at least one of these categories."""
        return {item for name in categories for item in self._members.get(name, ())}

    @property
    def by_category(self) -> Mapping[str, list[str]]:
        """The items of each category."""
        return self._members

    def category_sizes(self) -> list[tuple[str, int]]:
        """(category, number of items), the largest first."""
        sizes = ((name, len(items)) for name, items in self._members.items())
        return sorted(sizes, key=lambda one: (-one[1], one[0]))

    def allowed(self, filters: Filters) -> Iterator[str]:
        """Items that the filters allow, in the order of the table; ignores `exclude_seen`."""
        wanted = None if filters.categories is None else self.members(filters.categories)
        without = self.members(filters.exclude_categories).union(filters.exclude_items)
        return (
            item for item in self._ids if item not in without and (wanted is None or item in wanted)
        )

    def search(self, query: str, limit: int, popularity: Callable[[str], float]) -> list[str]:
        """At most `limit` items whose title contains every word of the query, most popular first.

        A word that no title contains stands for those that are spelt like it.
        """
        found = np.ones(len(self._ids), np.bool_)
        for word in query.lower().split()[:10]:
            with_it = self._containing([word])
            found &= with_it if with_it.any() else self._containing(self._spelling.alike(word))
        items = [self._ids[place] for place in np.flatnonzero(found)]
        return sorted(items, key=lambda item: (-popularity(item), item))[:limit]

    def _containing(self, words: list[str]) -> np.ndarray:
        """Whether each title contains one of these words, bool (n_items,)."""
        patterns = pl.lit(words, pl.List(pl.String))
        return (
            self._words.to_frame()
            .select(pl.nth(0).str.contains_any(patterns))
            .to_series()
            .to_numpy()
        )

    @cached_property
    def _spelling(self) -> Spelling:
        return Spelling(self._words.str.extract_all(r"\w+").explode().drop_nulls().unique().sort())


NO_METADATA = ItemMetadata(
    pl.DataFrame(schema={C.ITEM: pl.String, C.TITLE: pl.String, C.CATEGORIES: pl.List(pl.String)})
)
"""For data without an items table."""
