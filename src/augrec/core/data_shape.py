"""The size and shape of the data of a run: what decides which components can learn from it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class DataShape:
    """The training rows of a run, and what is known of their users and items.

    Attributes:
        n_users, n_items, n_interactions: of the training rows.
        n_listed_items: rows of the items table.
        item_columns: its columns with at least one value, but for the id.
        user_columns: the same of the users table.
    """

    n_users: int
    n_items: int
    n_interactions: int
    n_listed_items: int = 0
    item_columns: frozenset[str] = field(default_factory=frozenset)
    user_columns: frozenset[str] = field(default_factory=frozenset)
