"""The most popular items, for all users or for each group of users: the floor that every model must
clear."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import numpy as np
import polars as pl
from pydantic import Field

from augrec.core.config import BaseConfig
from augrec.core.data_shape import DataShape
from augrec.core.errors import InputError
from augrec.data.columns import Columns as C
from augrec.data.histories import Histories
from augrec.data.training_data import TrainingData, recency, row_weights
from augrec.recommenders._attributes import labels
from augrec.recommenders._explain import POPULAR, Background
from augrec.recommenders._taste.tastes import TASTE_GROUP, Tastes
from augrec.recommenders.base import Recommender


class PopularityConfig(BaseConfig):
    """What is popular, for how long, and with whom."""

    half_life_days: float | None = Field(None, gt=0)
    """Days before the newest interaction after which one counts half as much; null: all count the
    same."""
    window_days: float | None = Field(None, gt=0)
    """Only interactions less than this number of days before the newest one count; null: all."""
    group_by: str | None = None
    """An attribute of the users table, each of whose values has a popularity of its own; or
    taste_group, by the histories; null: one for all."""
    group_edges: list[float] = []
    """Where there are any, the attribute is a number, and groups are the brackets between these,
    ascending."""
    group_shrinkage: float = Field(500.0, ge=0)
    """A group's popularity is mixed with the overall one at the weight of this number of
    interactions."""
    max_groups: int = Field(100, ge=1)
    """At most this number of groups is kept, the largest; users of the others get the overall
    popularity."""


class Popularity(Recommender):
    """Scores an item by the weight of its interactions, recent ones first if a half-life is set.

    With a half-life h the interaction at time t counts c = weight × 2^(-(t_newest - t) / h), 0
    outside of the window. By group g of users an item i scores (Σ c of i in g + s p_i) / (Σ c in g
    + s), where p is the overall share of Σ c and s group_shrinkage. A user whose group is unknown
    or was not kept gets p.
    """

    Config = PopularityConfig
    draws = False
    cost = "counting"
    scores_cold_users = True
    search_space: ClassVar = {
        "half_life_days": [None, 7, 30, 90, 365],
    }

    _tastes: Tastes | None

    def check_fits(self, shape: DataShape) -> None:
        """Refuse users without the attribute that groups them."""
        if self.config.group_by not in (None, TASTE_GROUP, *shape.user_columns):
            raise self._no_attribute(sorted(shape.user_columns))

    def _fit(self, data: TrainingData) -> None:
        self.popularity = data.popularity_in(self.items, self._importance(data.positives))
        self._groups, self._by_group = np.zeros(0, str), np.zeros((0, len(self.items)), np.float32)
        self._tastes = None
        if self.config.group_by is None:
            return
        if self.config.group_by == TASTE_GROUP:
            self._tastes = self._given(data).over(self.items)
        histories, counted = data.histories, pl.Series("counted", self._importance(data.learnt))
        users = pl.DataFrame({C.USER: histories.users.tolist(), "group": self._labels(histories)})
        rows = data.learnt.select(C.USER, C.ITEM).with_columns(counted)
        rows = rows.join(users, on=C.USER).drop_nulls("group").filter(pl.col("counted") > 0)
        sizes = (
            rows.group_by("group")
            .agg(pl.col("counted").sum())
            .sort("counted", "group", descending=[True, False])
        )
        groups = sizes["group"].head(self.config.max_groups).sort()
        if groups.is_empty():
            return
        self._groups = groups.to_numpy().astype(str)
        rows = rows.filter(pl.col("group").is_in(groups.implode()))
        cell = self._codes(rows["group"]).astype(np.int64) * len(self.items) + self.items.encode(
            rows[C.ITEM]
        )
        sums = np.bincount(cell, rows["counted"].to_numpy(), len(self.items) * len(groups))
        sums = sums.reshape(len(groups), -1)
        shrinkage = self.config.group_shrinkage
        total = sums.sum(1, keepdims=True) + shrinkage
        self._by_group = ((sums + shrinkage * self.popularity) / total).astype(np.float32)

    def _importance(self, interactions: pl.DataFrame) -> np.ndarray:
        """What each row adds to its item's popularity, float64 (n,)."""
        age = recency(interactions, self.config.half_life_days, self.config.window_days)
        return row_weights(interactions) * age

    def _given(self, data: TrainingData) -> Tastes:
        if isinstance(data.tastes, Tastes):
            return data.tastes
        raise InputError(
            "there are no taste groups to group users by",
            where="popularity, group_by",
            fix="set taste_groups.groups above 0, or recommenders.popularity.group_by to null",
        )

    def _labels(self, histories: Histories) -> pl.Series:
        """The group of each user, null where it is unknown."""
        attribute, user_features = self.config.group_by, histories.user_features
        if self._tastes is not None:
            return pl.Series(self._tastes.labels(histories), dtype=pl.String)
        if user_features is None or attribute not in user_features.columns:
            raise self._no_attribute([] if user_features is None else user_features.columns)
        return labels(user_features[attribute], self.config.group_edges)

    def _no_attribute(self, there: Iterable[str]) -> InputError:
        return InputError(
            f"users have no attribute {self.config.group_by!r}; there are: "
            f"{', '.join(there) or 'none'}",
            where="popularity, group_by",
            fix="set recommenders.popularity.group_by to one of them, or to null",
        )

    def _codes(self, group: pl.Series) -> np.ndarray:
        """The place of each user's group in `_groups`, -1 where it is not kept, int (n,)."""
        found = np.searchsorted(self._groups, names := group.fill_null("").to_numpy().astype(str))
        near = np.minimum(found, len(self._groups) - 1)
        return np.where((self._groups[near] == names) & group.is_not_null().to_numpy(), near, -1)

    def _scores(self, histories: Histories) -> np.ndarray:
        table = np.tile(self.popularity, (len(histories), 1))
        user_features = histories.user_features
        there = [] if user_features is None else user_features.columns
        if len(self._groups) and (self._tastes is not None or self.config.group_by in there):
            codes = self._codes(self._labels(histories))
            table[codes >= 0] = self._by_group[codes[codes >= 0]]
        return table

    def contributions(self, histories: Histories, targets: np.ndarray) -> np.ndarray:
        """Zeros: popularity does not depend on the history."""
        return np.zeros((len(histories.items), targets.shape[1]), np.float32)

    def background(self, histories: Histories, targets: np.ndarray) -> Background:
        """Popularity among all users, and what the user's group adds to it."""
        popular = self.popularity[targets]
        if self.config.group_by is None:
            return {POPULAR: popular}
        in_group = self._scores(histories)[np.arange(len(histories))[:, None], targets]
        if self._tastes is None:
            return {POPULAR: popular, self.config.group_by: in_group - popular}
        places, _ = self._tastes.places(histories)
        return {POPULAR: popular} | self._tastes.groups.background(places, in_group - popular)

    def _model_state(self) -> dict[str, np.ndarray]:
        if not len(self._groups):
            return {}
        tastes = {} if self._tastes is None else self._tastes.stored()
        return {"groups": self._groups, "by_group": self._by_group} | tastes

    def _restore_model(self, state: dict[str, np.ndarray]) -> None:
        self._groups = state.get("groups", np.zeros(0, str))
        self._by_group = state.get("by_group", np.zeros((0, len(self.items)), np.float32))
        self._tastes = Tastes.of_stored(state)
