"""Users of a generator, of whose items a model is to predict those that it is wrong about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import polars as pl
from pydantic import Field

from augrec.augmentation._recommender import trained
from augrec.augmentation._users import NUMBER, append_users, users_to_add
from augrec.augmentation.adversarial_users import INPUT_ONLY
from augrec.augmentation.base import Kind, Operation, PolicyInputs
from augrec.core.config import BaseConfig
from augrec.core.errors import ConfigError
from augrec.core.seeds import rng
from augrec.data.columns import INTERACTIONS, require
from augrec.data.columns import Columns as C
from augrec.data.histories import Histories, ItemIndex
from augrec.recommenders.base import Recommender

_AT_ONCE = 256
_NEAR = 10
"""A random item of the same popularity is at most this number of places away in the order of
popularity."""


class AdversarialItemsConfig(BaseConfig):
    """Which sample, how many of its users, and which of their items."""

    sample: str
    """A generator."""
    ratio: float = Field(1.0, ge=0.0)
    """Users for each real one."""
    share: float = Field(0.25, gt=0.0, lt=1.0)
    """Of a user's items that are to be predicted from the others: those that the model ranks
    lowest; at least one, and never all of them."""
    items: Literal["mistaken", "random"] = "mistaken"
    """random: each of them is replaced by a random item about as popular, the placebo."""
    recommender: dict[str, dict[str, Any] | None] = {"item_knn": None}
    """The model that is attacked, one recommender and its config; it is trained on the real
    rows."""


class AdversarialItems(Operation):
    """Adds users of a sample with two kinds of items: those that the model ranks low although the
    generator gave them to the user, as targets that are no input, and all others as input, which as
    targets weigh `INPUT_ONLY`.

    The generator picks items as in IRGAN (Wang et al. 2017, arXiv 1705.10513), from what it has
    learnt of real users, and only those count that the model is wrong about. Half of a user's items
    are ranked from the other half, so that no item is ranked by a model that reads it. Users with a
    single item that the model knows are added as they are.
    """

    Config = AdversarialItemsConfig
    kind: Kind = "generated"
    makes_users = True

    def __init__(
        self, config: BaseConfig | Mapping[str, Any] | None = None, *, seed: int = 0
    ) -> None:
        super().__init__(config, seed=seed)
        self.generators = (self.config.sample,)
        if self.config.items == "random":
            self.kind = "placebo"

    def apply(self, training: pl.DataFrame, inputs: PolicyInputs) -> pl.DataFrame:
        """Append the users.

        Raises:
            ConfigError: the sample holds too few users.
            InputError: the sample is not canonical.
        """
        n = users_to_add(self.config.ratio, training, inputs)
        if not n:
            return training
        model = trained(self.config.recommender, inputs, seed=self.seed, where=self.name())
        rows = self._users(n, inputs)
        histories = Histories.from_interactions(rows, model.items)
        picked = self._picked(model, histories)
        marks = pl.DataFrame(
            {
                NUMBER: np.repeat(np.arange(n), histories.lengths)[picked],
                C.ITEM: model.items.decode(histories.items[picked]).tolist(),
                "instead": self._instead(inputs.real, model.items, histories.items[picked]),
            },
            schema_overrides={NUMBER: rows.schema[NUMBER], C.ITEM: pl.String, "instead": pl.String},
        )
        made = rows.join(marks, on=[NUMBER, C.ITEM], how="left", maintain_order="left")
        chosen = pl.col("instead").is_not_null()
        made = made.with_columns(
            pl.coalesce("instead", C.ITEM).alias(C.ITEM),
            (~chosen).alias(C.OBSERVED),
            pl.when(chosen.any().over(NUMBER) & ~chosen)
            .then(INPUT_ONLY)
            .otherwise(1.0)
            .alias(C.WEIGHT),
        ).unique([NUMBER, C.ITEM], keep="first", maintain_order=True)
        return append_users(training, made.drop(C.USER, "instead"), self.config.sample)

    def _users(self, n: int, inputs: PolicyInputs) -> pl.DataFrame:
        """The rows of the first n users, each item once, with NUMBER 0 … n-1, sorted by user and
        time."""
        rows = inputs.sample(self.config.sample)
        require(rows, INTERACTIONS, where=f"the sample of {self.config.sample}")
        rows = rows.sort(C.USER, C.TIMESTAMP, maintain_order=True).unique(
            [C.USER, C.ITEM], keep="first", maintain_order=True
        )
        rows = rows.with_columns(pl.col(C.USER).rle_id().alias(NUMBER))
        if n > (held := rows[C.USER].n_unique()):
            raise ConfigError(
                f"the policy asks for {n} users of {self.config.sample}, its sample holds {held}",
                where="params.yaml, adversarial_items.ratio",
                fix="raise synthesis.ratio, or lower the ratio",
            )
        return rows.filter(pl.col(NUMBER) < n)

    def _picked(self, model: Recommender, histories: Histories) -> np.ndarray:
        """Which entries the model ranks lowest among the user's, bool (nnz,)."""
        users = np.repeat(np.arange(len(histories)), histories.lengths)
        half = rng(self.seed, "halves").permutation(len(users))
        place = _within(users, half, histories.indptr)
        first = place < np.repeat(histories.lengths // 2, histories.lengths)
        ranks = np.empty(len(users))
        for asked in (first, ~first):
            ranks[asked] = _ranks(model, histories.keep(~asked), histories.keep(asked))
        many = np.clip(np.rint(self.config.share * histories.lengths), 1, histories.lengths - 1)
        return _within(users, -ranks, histories.indptr) < np.repeat(many, histories.lengths)

    def _instead(self, real: pl.DataFrame, items: ItemIndex, picked: np.ndarray) -> list[str]:
        """The items that are to be predicted in place of those picked, int (m,): themselves, or as
        a placebo others about as popular."""
        if self.config.items == "mistaken":
            return items.decode(picked).tolist()
        random = rng(self.seed, "others")
        counts = np.bincount(items.encode(real[C.ITEM]), minlength=len(items))
        order = np.argsort(-counts, kind="stable")
        places = np.empty_like(order)
        places[order] = np.arange(len(order))
        away = random.integers(1, _NEAR + 1, len(picked)) * random.choice([-1, 1], len(picked))
        near = places[picked] + away
        near = np.where((near < 0) | (near >= len(order)), near - 2 * away, near)
        return items.decode(order[near.clip(0, len(order) - 1)]).tolist()


def _within(users: np.ndarray, keys: np.ndarray, indptr: np.ndarray) -> np.ndarray:
    """The place of each entry in the order of `keys` among its user's, int64 (nnz,)."""
    order = np.lexsort((keys, users))
    place = np.empty(len(users), np.int64)
    place[order] = np.arange(len(users)) - indptr[:-1][users[order]]
    return place


def _ranks(model: Recommender, shown: Histories, asked: Histories) -> np.ndarray:
    """The rank of each entry of `asked` in the scores for `shown`, float64 (nnz,)."""
    found = []
    for given, wanted in zip(shown.batches(_AT_ONCE), asked.batches(_AT_ONCE), strict=True):
        scores = model.score(given)  # (B, n_items)
        rows = np.repeat(np.arange(len(wanted)), wanted.lengths)
        own = scores[rows, wanted.items]
        order = np.sort(scores, axis=1)
        below = [np.searchsorted(order[row], score) for row, score in zip(rows, own, strict=True)]
        found.append(scores.shape[1] - np.array(below, np.float64))
    return np.concatenate(found)
