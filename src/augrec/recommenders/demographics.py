"""Demographics: what users with similar attributes prefer; for users without a history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import polars as pl
from pydantic import Field

from augrec.core.config import BaseConfig
from augrec.core.data_shape import DataShape
from augrec.core.errors import InputError
from augrec.data.histories import Histories
from augrec.data.training_data import TrainingData, recency, row_weights
from augrec.recommenders._attributes import FEATURE_PREFIX, labels, numbers
from augrec.recommenders._explain import POPULAR, Background
from augrec.recommenders.base import Recommender

_USERS = 4096
_NUMBERS = 0.9
"""A column is one of numbers when at least this share of its values are."""


class DemographicsConfig(BaseConfig):
    """Which attributes count, and how far they may move the scores from popularity."""

    attributes: list[str] | None = None
    """Columns of the users table to learn from; null: all."""
    l2: float = Field(80.0, gt=0)
    """Penalty on the weights, in users: a label that few users carry moves little."""
    strength: float = Field(1.0, ge=0)
    """What the attributes add is multiplied by this; 0: popularity alone."""
    brackets: int = Field(5, ge=2)
    """The number of brackets that a numeric attribute is cut into, each with about as many
    users."""
    min_users: int = Field(5, ge=1)
    """Labels that fewer users carry are left out."""
    max_labels: int = Field(50, ge=1)
    """At most this number of labels of an attribute is kept, the most frequent."""
    half_life_days: float | None = Field(None, gt=0)
    """Of the popularity that scores start from: days after which an interaction counts half; null:
    all count the same."""


class Demographics(Recommender):
    """Popularity moved by ridge regression from users' labels to what they met (Hoerl & Kennard
    1970).

    Let y_u be 1 for the items user u met, w_u the mean weight of u's interactions, and z_u hold one
    column for each label (an attribute's value, or the bracket of a number), centred on its mean
    over the users whose attribute is known, 0 where it is not. It minimises Σ_u w_u |y_u - ȳ - z_u
    B|² + l2 |B|². A user scores popularity + strength × z_u B / n, n being the mean number of items
    met: popularity alone where no attribute is known, or there were none to learn from. A user of
    weight 2 counts as two users.

    Memory is labels × items. The history of a user changes nothing.
    """

    Config = DemographicsConfig
    draws = False
    cost = "counting"
    scores_cold_users = True
    search_space: ClassVar = {
        "l2": {"low": 5.0, "high": 1000.0, "log": True},
        "strength": {"low": 0.1, "high": 3.0, "log": True},
    }

    def check_fits(self, shape: DataShape) -> None:
        """Refuse users without an attribute that `attributes` names."""
        _require(self.config.attributes, sorted(shape.user_columns))

    def _fit(self, data: TrainingData) -> None:
        age = recency(data.positives, self.config.half_life_days, None)
        weights = row_weights(data.positives) * age
        self.popularity = data.popularity_in(self.items, weights)
        histories = data.histories
        met = histories.matrix()
        weight = np.asarray(met.sum(1), dtype=np.float64).ravel() / np.maximum(met.getnnz(1), 1)
        self._blocks = self._learn_labels(histories.user_features, weight)
        n_labels = sum(len(block.labels) for block in self._blocks)
        if histories.user_features is None or not n_labels:
            self._weights = np.zeros((n_labels, histories.n_items), np.float32)
            return
        total = np.asarray(met.sum(0), dtype=np.float64).ravel()
        gram, pull = self.config.l2 * np.eye(n_labels), np.zeros((n_labels, histories.n_items))
        for start in range(0, len(histories), _USERS):
            rows = slice(start, start + _USERS)
            z = self._encode(histories.user_features[rows])  # (B, n_labels)
            weighted = z * weight[rows, None]
            gram += weighted.T @ z
            pull += (met[rows].T @ z).T - np.outer(weighted.sum(0), total / weight.sum())
        per_user = total.sum() / weight.sum()
        self._weights = (np.linalg.solve(gram, pull) / per_user).astype(np.float32)

    def _learn_labels(self, user_features: pl.DataFrame | None, weight: np.ndarray) -> list[_Block]:
        """The labels worth a column, and their means; `weight` is that of each user, float64
        (n,)."""
        config, blocks = self.config, []
        for name in _attributes(user_features, config.attributes):
            assert user_features is not None  # otherwise it has no attributes
            edges = _edges(user_features[name], config.brackets)
            found = pl.DataFrame(
                {"label": labels(user_features[name], edges), "weight": weight}
            ).drop_nulls()
            counts = found.group_by("label").agg(pl.len(), pl.col("weight").sum())
            kept = counts.filter(pl.col("len") >= config.min_users).sort(
                "len", "label", descending=[True, False]
            )
            kept = kept.head(config.max_labels).sort("label")
            if len(kept):
                means = kept["weight"].to_numpy() / found["weight"].sum()
                blocks.append(_Block(name, edges, kept["label"].to_numpy().astype(str), means))
        return blocks

    def _encode(self, user_features: pl.DataFrame) -> np.ndarray:
        """z of each user, float64 (n, n_labels)."""
        parts = [
            block.encode(user_features[block.attribute])
            if block.attribute in user_features.columns
            else np.zeros((len(user_features), len(block.labels)))
            for block in self._blocks
        ]
        return np.concatenate(parts, axis=1)

    def _scores(self, histories: Histories) -> np.ndarray:
        table = np.tile(self.popularity, (len(histories), 1))
        if histories.user_features is not None and len(self._weights):
            z = self._encode(histories.user_features)
            some = np.flatnonzero(z.any(1))
            table[some] += self.config.strength * (z[some].astype(np.float32) @ self._weights)
        return table

    def contributions(self, histories: Histories, targets: np.ndarray) -> np.ndarray:
        """Zeros: scores do not depend on the history."""
        return np.zeros((len(histories.items), targets.shape[1]), np.float32)

    def background(self, histories: Histories, targets: np.ndarray) -> Background:
        """Exactly: popularity, and how far the user's label of each attribute moves the score from
        it."""
        found, start = {POPULAR: self.popularity[targets]}, 0
        for block in self._blocks:
            weights = self._weights[start : start + len(block.labels)]
            start += len(block.labels)
            if (
                histories.user_features is not None
                and block.attribute in histories.user_features.columns
            ):
                z = block.encode(histories.user_features[block.attribute]).astype(np.float32)
                found[block.attribute] = self.config.strength * np.einsum(
                    "nl,lnm->nm", z, weights[:, targets]
                )
        return found

    def _model_state(self) -> dict[str, np.ndarray]:
        if not self._blocks:
            return {"weights": self._weights}
        width = max(len(block.edges) for block in self._blocks)
        edges = [
            np.pad(block.edges, (0, width - len(block.edges)), constant_values=np.nan)
            for block in self._blocks
        ]
        return {
            "weights": self._weights,
            "attributes": np.array([block.attribute for block in self._blocks], dtype=str),
            "edges": np.stack(edges),
            "n_labels": np.array([len(block.labels) for block in self._blocks]),
            "labels": np.concatenate([block.labels for block in self._blocks]),
            "means": np.concatenate([block.means for block in self._blocks]),
        }

    def _restore_model(self, state: dict[str, np.ndarray]) -> None:
        self._weights, self._blocks = state["weights"], []
        if "attributes" not in state:
            return
        ends = np.cumsum(state["n_labels"])[:-1]
        names, means = np.split(state["labels"], ends), np.split(state["means"], ends)
        for place, attribute in enumerate(state["attributes"]):
            edges = state["edges"][place]
            edges = edges[~np.isnan(edges)]
            self._blocks.append(_Block(str(attribute), edges, names[place], means[place]))


@dataclass(frozen=True)
class _Block:
    """One attribute: its name, the edges of its brackets (none: it is a category), its labels,
    sorted, and their means."""

    attribute: str
    edges: np.ndarray
    labels: np.ndarray
    means: np.ndarray

    def encode(self, values: pl.Series) -> np.ndarray:
        """1 for the user's label, less the mean; 0 where the attribute is unknown; float64 (n,
        n_labels)."""
        label = labels(values, self.edges)
        is_label = label.fill_null("").to_numpy().astype(str)[:, None] == self.labels
        return np.where(label.is_not_null().to_numpy()[:, None], is_label - self.means, 0.0)


def _attributes(user_features: pl.DataFrame | None, wanted: list[str] | None) -> list[str]:
    """The columns to learn from."""
    if user_features is None:
        return []
    there = [
        name
        for name, kind in user_features.schema.items()
        if not name.startswith(FEATURE_PREFIX) and not kind.is_nested()
    ]
    _require(wanted, there)
    return [name for name in there if wanted is None or name in wanted]


def _require(wanted: list[str] | None, there: Sequence[str]) -> None:
    missing = sorted(set(wanted or []) - set(there))
    if missing:
        raise InputError(
            f"users have no attribute {', '.join(missing)}; there are: "
            f"{', '.join(there) or 'none'}",
            where="demographics, attributes",
            fix="correct recommenders.demographics.attributes",
        )


def _edges(values: pl.Series, brackets: int) -> np.ndarray:
    """Where a column of numbers is cut; empty for categories: text, or no more different values
    than brackets."""
    found = numbers(values).drop_nulls()
    if (
        len(found) < values.drop_nulls().len() * _NUMBERS
        or found.n_unique() <= brackets
        or values.dtype == pl.Boolean
    ):
        return np.zeros(0)
    return np.unique(np.quantile(found.to_numpy(), np.arange(1, brackets) / brackets))
