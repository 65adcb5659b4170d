"""The contract every recommender keeps."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import polars as pl

from augrec import component
from augrec.component import Component
from augrec.data.columns import Columns as C
from augrec.data.columns import require
from augrec.data.histories import Histories, ItemIndex
from augrec.data.ranking import top_k
from augrec.errors import InputError

Log = Callable[[Mapping[str, float]], None]
"""Receives one row of a training curve, e.g. {"step": 100, "loss": 3.2, "ndcg@10": 0.21}."""

_NEEDED = {C.USER: pl.String, C.ITEM: pl.String}
_CELLS = 2**24
"""At most so many scores are held at once: 64 MiB of float32."""


class Recommender(Component):
    """Learns from weighted interactions; recommends to any history, those of unseen users included.

    A subclass implements `_fit`, `_scores`, `_model_state` and `_restore_model`; this class keeps the item index and
    the items' popularity. `_scores` must not depend on which other users are in the batch. A history without a known
    item is ranked by popularity, whatever the model: nothing else is known of that user.

    Attributes:
        items: the catalogue: every item of the training interactions.
        popularity: each item's share of the weight of all training interactions, float32 (n_items,).
    """

    items: ItemIndex
    popularity: np.ndarray

    def fit(
        self,
        interactions: pl.DataFrame,
        *,
        cases: pl.DataFrame | None = None,
        items: pl.DataFrame | None = None,
        log: Log | None = None,
    ) -> Recommender:
        """Learn.

        Args:
            interactions: canonical interactions; `weight` and `observed` are honoured when present. A row of weight
                0 counts as absent.
            cases: validation cases (see `augrec.data.cases`) to choose a checkpoint by; optional.
            items: what is known of the items (see `augrec.data.columns.ITEMS`); most recommenders do without.
            log: receives the training curve.

        Raises:
            InputError: no rows, columns are missing, or a weight is negative or not a number; or the recommender needs
                `items` and there are none.
        """
        require(interactions, _NEEDED, where="training interactions")
        interactions = _present(interactions)
        if interactions.is_empty():
            raise InputError(
                "there is nothing to learn from", where="training interactions", fix="check the data window"
            )
        self.items = ItemIndex(interactions[C.ITEM])
        total = np.bincount(self.items.encode(interactions[C.ITEM]), self._importance(interactions))
        self.popularity = (total / total.sum()).astype(np.float32)
        self._read_items(items)
        self._fit(Histories.from_interactions(interactions, self.items), cases, log or (lambda row: None))
        return self

    def recommend(
        self, histories: pl.Series, k: int, *, exclude_seen: bool = True, batch_size: int = 512
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k best items for each history, best first; ties go to the smaller item id.

        Args:
            histories: List(String) (n,): item ids, oldest first; unknown ids are ignored, empty lists are fine.
            k: how many; fewer come back where the catalogue is smaller.
            exclude_seen: leave out items of the history.
            batch_size: at most so many users are scored at once; fewer where the catalogue is large.

        Returns:
            items, str (n, k') and scores, float32 (n, k'), with k' = min(k, catalogue). Places that cannot be filled
            hold "" and -inf.

        Raises:
            InputError: k is less than 1.
        """
        ranked, scores = self.rank(histories, k, exclude_seen=exclude_seen, batch_size=batch_size)
        return np.where(ranked < 0, "", self.items.decode(ranked)), scores

    def rank(
        self, histories: pl.Series, k: int, *, exclude_seen: bool = True, batch_size: int = 512
    ) -> tuple[np.ndarray, np.ndarray]:
        """As `recommend`, with positions in `items`, int32 (n, k'), in place of ids; -1 where a place is empty."""
        if k < 1:
            raise InputError(
                f"{k} recommendations were asked for", where="recommend", fix="ask for at least one"
            )
        k = min(k, len(self.items))
        encoded = Histories.from_lists(histories, self.items)
        ranked, scores = np.empty((len(encoded), k), np.int32), np.empty((len(encoded), k), np.float32)
        batch_size = max(1, min(batch_size, _CELLS // len(self.items)))
        for number, batch in enumerate(encoded.batches(batch_size)):
            rows = slice(number * batch_size, number * batch_size + len(batch))
            table = self._scores(batch).astype(np.float32, copy=False)  # (B, n_items)
            table[batch.lengths == 0] = self.popularity
            if exclude_seen:
                table[np.repeat(np.arange(len(batch)), batch.lengths), batch.items] = -np.inf
            best, scores[rows] = top_k(table, k)
            ranked[rows] = np.where(np.isneginf(scores[rows]), -1, best)
        return ranked, scores

    def describe(self) -> dict[str, int]:
        """Whole numbers that tell a fitted model's size and training, for training.json and the registry."""
        return {
            "items": len(self.items),
            "parameters": sum(array.size for array in self._model_state().values()),
        }

    def save(self, path: Path) -> None:
        """Write the fitted recommender to the directory `path`."""
        super().save(path)

    def _state(self) -> dict[str, np.ndarray]:
        return {"items": self.items.ids, "popularity": self.popularity, **self._model_state()}

    def _restore(self, state: dict[str, np.ndarray]) -> None:
        self.items = ItemIndex(state.pop("items"))
        self.popularity = state.pop("popularity")
        self._restore_model(state)

    def _importance(self, interactions: pl.DataFrame) -> np.ndarray:
        """What each training row adds to its item's popularity, float64 (n,)."""
        return _weights(interactions)

    def _read_items(self, items: pl.DataFrame | None) -> None:
        """Learn from the items table; comes before `_fit`, when the catalogue and its popularity are known."""

    @abstractmethod
    def _fit(self, histories: Histories, cases: pl.DataFrame | None, log: Log) -> None: ...

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


def _present(interactions: pl.DataFrame) -> pl.DataFrame:
    """The rows with a weight above zero."""
    weights = _weights(interactions)
    if not (np.isfinite(weights) & (weights >= 0)).all():
        raise InputError("weights must be numbers of at least 0", where="training interactions, column weight",
                         fix="check the `weight` options of the policy in params.yaml")  # fmt: skip
    return interactions.filter(pl.Series(weights > 0, dtype=pl.Boolean))


def _weights(interactions: pl.DataFrame) -> np.ndarray:
    if C.WEIGHT not in interactions.columns:
        return np.ones(len(interactions))
    return interactions[C.WEIGHT].cast(pl.Float64).fill_null(np.nan).to_numpy()
