"""The contract every recommender keeps."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import polars as pl

from augrec.core import component
from augrec.core.component import Component
from augrec.core.errors import InputError
from augrec.data.histories import Histories, ItemIndex
from augrec.data.ranking import top_k
from augrec.data.training_data import TrainingData
from augrec.recommenders._blend import popularity_weight
from augrec.recommenders._explain import POPULAR, Background, explanations, leave_one_out

_CELLS = 2**24
"""At most this number of scores is held at once: 64 MiB of float32."""


class Recommender(Component):
    """Learns from weighted interactions; recommends to any history, those of unseen users included.

    A subclass implements `_fit`, `_scores`, `_model_state` and `_restore_model`. `_scores` must not
    depend on which other users are in the batch.

    Attributes:
        items: the catalogue. `fit` sets it to the items of the training data; a model that can
            place further ones sets it again in `_fit`.
        popularity: each item's share of the weight of all training interactions, float32
            (n_items,); 0 for items without any. A user without a history is ranked by it.
    """

    scores_cold_users: ClassVar[bool] = False
    """Whether `_scores` ranks users without a history, by their features, better than popularity
    does."""
    reads_features: ClassVar[bool] = False
    """Whether training reads features of the moment, columns user__… and item__…, and outcomes, see
    `augrec.data.outcomes`."""
    draws: ClassVar[bool] = True
    """Whether another seed gives another model; a model without draws is not trained twice."""
    cost: ClassVar[Literal["counting", "solving", "gradient_steps"]] = "gradient_steps"
    """What training takes: counting rows; solving for weights, neighbours or factors; or gradient
    steps, the most. Of models that are about as good the cheaper one is chosen, see
    `augrec.evaluation.parsimony`."""
    continues: ClassVar[bool] = False
    """Whether training can start from the weights of a fitted recommender of the same kind."""
    architecture: ClassVar[tuple[str, ...]] = ()
    """The config keys that decide the shapes of the weights; a model that starts from another one
    must have the same."""
    search_space: ClassVar[Mapping[str, Any]] = {}
    """The config keys that a search for better values tunes, each with a list of choices or {low,
    high, log}; `tuning.spaces` of params.yaml may replace it."""
    regularisation: ClassVar[Mapping[str, list[Any]]] = {}
    """Config keys and the values that each training set is also tried with when there is no search,
    since more rows want less regularisation; "x4" is four times the recommender's own value.
    `tuning.regularisation` of params.yaml may replace it."""

    items: ItemIndex
    popularity: np.ndarray

    def fit(self, data: TrainingData) -> Self:
        """Learn.

        Raises:
            InputError: no row counts, columns are missing, or a weight is negative or not a number;
                or the recommender needs `data.items` and there are none; or training cannot start
                from `data.previous`.
        """
        self.items, self.popularity = data.catalogue, data.popularity
        if not self.is_settled():  # a search fits often, and the shape takes passes over the rows
            self.settle(data.shape)
        previous = data.previous
        if previous is not None and not (self.continues and type(previous) is type(self)):
            raise InputError(
                f"training of {self.name()} cannot start from a fitted {previous.name()}",
                where="training data, previous",
                fix="give a neural recommender one of its own kind",
            )
        self._fit(data)
        return self

    def recommend(
        self,
        histories: pl.Series,
        k: int,
        *,
        user_features: pl.DataFrame | None = None,
        among: np.ndarray | None = None,
        exclude_seen: bool = True,
        batch_size: int = 512,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k best items for each history, best first; ties go to the smaller item id.

        Args:
            histories: List(String) (n,): item ids, oldest first; unknown ids are ignored, empty
                lists are fine.
            k: how many; fewer come back where the catalogue is smaller.
            user_features: what is known of each user at that moment, n rows: attributes by their
                names, Feast's features as user__…; any column may be missing or null.
            among: recommend only these, bool (n_items,) over `items`.
            exclude_seen: leave out items of the history.
            batch_size: at most this number of users is scored at once; fewer where the catalogue is
                large.

        Returns:
            items, str (n, k') and scores, float32 (n, k'), with k' = min(k, catalogue). Places that
            cannot be filled hold "" and -inf.

        Raises:
            InputError: k is less than 1, or `user_features` has another number of rows.
        """
        ranked, scores = self.rank(
            histories,
            k,
            user_features=user_features,
            among=among,
            exclude_seen=exclude_seen,
            batch_size=batch_size,
        )
        return np.where(ranked < 0, "", self.items.decode(ranked)), scores

    def rank(
        self,
        histories: pl.Series,
        k: int,
        *,
        user_features: pl.DataFrame | None = None,
        among: np.ndarray | None = None,
        exclude_seen: bool = True,
        batch_size: int = 512,
    ) -> tuple[np.ndarray, np.ndarray]:
        """As `recommend`, with positions in `items`, int32 (n, k'), in place of ids; -1 where a
        place is empty."""
        if k < 1:
            raise InputError(
                f"{k} recommendations were asked for", where="recommend", fix="ask for at least one"
            )
        k = min(k, len(self.items))
        encoded = Histories.from_lists(histories, self.items, user_features=user_features)
        ranked, scores = (
            np.empty((len(encoded), k), np.int32),
            np.empty((len(encoded), k), np.float32),
        )
        batch_size = max(1, min(batch_size, _CELLS // len(self.items)))
        for number, batch in enumerate(encoded.batches(batch_size)):
            rows = slice(number * batch_size, number * batch_size + len(batch))
            table = self.score(batch)
            if among is not None:
                table[:, ~among] = -np.inf
            if exclude_seen:
                table[np.repeat(np.arange(len(batch)), batch.lengths), batch.items] = -np.inf
            best, scores[rows] = top_k(table, k)
            ranked[rows] = np.where(np.isneginf(scores[rows]), -1, best)
        return ranked, scores

    def score(self, histories: Histories) -> np.ndarray:
        """A score for every item of the catalogue, a fresh float32 (B, n_items); items met are
        scored like any other.

        Scores of one user can be compared with one another, and with nothing else. Memory is B ×
        n_items: see `rank`.
        """
        table = self._scores(histories).astype(np.float32, copy=False)
        if not self.scores_cold_users:
            table[histories.lengths == 0] = self.popularity
        return table

    def item_factors(self) -> np.ndarray | None:
        """A vector for each item, float32 (n_items, d), whose products with `user_factors` order
        the items as scores do.

        An index of them finds the best items of a large catalogue without scoring all. None: scores
        are no such products.
        """
        return None

    def user_factors(self, histories: Histories) -> np.ndarray:
        """The vectors that `item_factors` are multiplied with, float32 (n, d); only where there are
        such."""
        raise InputError(
            f"the scores of {self.name()} are no products of vectors",
            where="user_factors",
            fix="ask item_factors first",
        )

    def profile_slopes(self, histories: Histories) -> np.ndarray | None:
        """How the loss grows with each entry of a user's profile while the user's items stay the
        target, float32 (n, n_items); None: the loss is no function of profiles."""
        return None

    def explain(
        self,
        histories: pl.Series,
        items: np.ndarray,
        *,
        user_features: pl.DataFrame | None = None,
        top: int = 3,
    ) -> pl.DataFrame:
        """What contributed to each recommendation, the strongest first: items of the history,
        attributes and features of the user, popularity.

        Args:
            histories: List(String) (n,).
            items: the items to explain, str (n, m), as `recommend` gives them; "" and unknown ids
                are passed over.
            user_features: as for `recommend`.
            top: at most this number of reasons of a kind for each.

        Returns:
            row (UInt32, position in `histories`), item_id, kind, because, contribution (Float32:
            what the score would lose without it, above 0), sorted by row, item's place and
            contribution. By kind, because is: of "item" an item of the history, of "attribute" a
            column of `user_features`, of "popularity" null. Where nothing of it carried an item
            that at least as many took as the average one, it was popular: contribution is then its
            `popularity`. What is left has no row.
        """
        encoded = Histories.from_lists(histories, self.items, user_features=user_features)
        targets = self.items.encode(pl.Series(items.ravel().tolist(), dtype=pl.String)).reshape(
            items.shape
        )
        nothing = np.zeros((len(encoded.items), items.shape[1]), np.float32)
        shares = self.contributions(encoded, targets) if nothing.size else nothing
        others = self.background(encoded, targets) if targets.size else {}
        return explanations(shares, others, self.popularity, self.items, encoded, targets, top)

    def describe(self) -> dict[str, int]:
        """Whole numbers that tell a fitted model's size and training, for training.json and the
        registry."""
        return {
            "items": len(self.items),
            "parameters": sum(array.size for array in self._model_state().values()),
        }

    def choices(self) -> dict[str, Any]:
        """What a fitted model decided by itself, as JSON has it, for training.json; most decide
        nothing."""
        return {}

    def save(self, path: Path) -> None:
        """Write the fitted recommender to the directory `path`."""
        super().save(path)

    def _state(self) -> dict[str, np.ndarray]:
        return {"items": self.items.ids, "popularity": self.popularity, **self._model_state()}

    def _restore(self, state: dict[str, np.ndarray]) -> None:
        self.items = ItemIndex(state.pop("items"))
        self.popularity = state.pop("popularity")
        self._restore_model(state)

    def contributions(self, histories: Histories, targets: np.ndarray) -> np.ndarray:
        """What each item of a history adds to the score of each target, float32 (nnz, m).

        By leaving it out: the difference that the history without it makes. A model that knows
        better overrides this.

        Args:
            histories: of n users.
            targets: positions of the items to explain, int (n, m); -1 is an empty place, whatever
                it is given.
        """
        return leave_one_out(self._scores, histories, targets)

    def background(self, histories: Histories, targets: np.ndarray) -> Background:
        """What besides items of the history adds to the score of each target: {name: float32 (n,
        m)}.

        The name is `POPULAR` or a column of `user_features`. Here popularity: all that ranks a user
        without a history, and the part that `popularity_weights` give it.
        Arguments as for `contributions`.
        """
        popular = self.popularity[targets]
        weight = self.popularity_weights(histories)[:, None]
        cold = (histories.lengths == 0)[:, None]
        return {POPULAR: np.where(cold, popular, weight * popular / self.popularity.max())}

    def popularity_weights(self, histories: Histories) -> np.ndarray:
        """What popularity, the most popular item being 1, counts in the scores of each history,
        float32 (n,); by the config key `popularity_blend`, where there is one."""
        blend = getattr(self.config, "popularity_blend", 0.0)
        return popularity_weight(histories.matrix().getnnz(1), blend)

    @abstractmethod
    def _fit(self, data: TrainingData) -> None:
        """Learn from checked data; `items` and `popularity` are set."""

    @abstractmethod
    def _scores(self, histories: Histories) -> np.ndarray:
        """A fresh float array (B, n_items); higher is better, finite everywhere."""

    @abstractmethod
    def _model_state(self) -> dict[str, np.ndarray]: ...

    @abstractmethod
    def _restore_model(self, state: dict[str, np.ndarray]) -> None: ...


def find(name: str) -> type[Recommender]:
    """The recommender class called `name`."""
    return component.find("augrec.recommenders", name, Recommender)  # type: ignore[type-abstract]


def load(path: Path) -> Recommender:
    """Load any saved recommender."""
    return component.load("augrec.recommenders", path, Recommender)  # type: ignore[type-abstract]
