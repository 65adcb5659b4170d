"""The size and shape of the data of a run: what decides which components can learn from it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field


@dataclass(frozen=True)
class DataShape:
    """The training rows of a run, and what is known of their users and items.

    Attributes:
        n_users, n_items, n_interactions: of the training rows.
        n_listed_items: rows of the items table.
        item_columns: its columns with at least one value, but for the id.
        user_columns: the same of the users table.
        user_length: interactions of the user of an average interaction, Σ_u n_u² / Σ_u n_u: the
            mean over users where all are equally active, more where some are far more so.
        item_length: the same of the item of an average interaction.
        user_variance: how far chance alone moves the row of a user with a long history, see
            `augrec.data.training_data.long_row_variance`; None: as `user_length`.
        item_variance: the same of the column of a popular item.
        n_targets: mean number of items that a validation case wants; None: there are no cases.
    """

    n_users: int
    n_items: int
    n_interactions: int
    n_listed_items: int = 0
    item_columns: frozenset[str] = field(default_factory=frozenset)
    user_columns: frozenset[str] = field(default_factory=frozenset)
    user_length: float = 1.0
    item_length: float = 1.0
    user_variance: float | None = None
    item_variance: float | None = None
    n_targets: float | None = None

    def share_read(self, n_users: int, of_each: float = math.inf) -> float:
        """The share of the interactions that are read of this number of average users, at most
        `of_each` of each."""
        mean = self.n_interactions / self.n_users
        return n_users * min(of_each, mean) / self.n_interactions

    def steps(self, passes: float, share: float, fewest: int, most: int) -> int:
        """The gradient steps that read everything `passes` times where a step reads this share of
        it: at least `fewest` and at most `most`, to the hundred between them."""
        return int(min(max(round(passes / max(share, 1e-9), -2), fewest), most))

    @property
    def noise(self) -> float:
        """The largest singular value that a random 0/1 matrix (n_users, n_items) with as many ones
        in its rows and columns has beside that of its mean: what taste cannot be told from below.

        A matrix of independent entries has a norm of about its longest row's plus its longest
        column's (Bandeira, van Handel 2016, arXiv 1408.6185). Rows and columns that are long, but
        not the longest, stand for them: within 7 % below and 16 % above the singular value of
        shuffled MovieLens 100k, MovieTweetings, Complete Journey and simulated shops.
        """
        user = self.user_length if self.user_variance is None else self.user_variance
        item = self.item_length if self.item_variance is None else self.item_variance
        return math.sqrt(item) + math.sqrt(user)
