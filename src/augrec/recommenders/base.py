"""The contract every recommender keeps."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl
import scipy.sparse as sp

from augrec.core import component
from augrec.core.component import Component
from augrec.core.errors import InputError
from augrec.data.columns import Columns as C
from augrec.data.columns import require
from augrec.data.histories import Histories, ItemIndex
from augrec.data.outcomes import last_known
from augrec.data.ranking import Judging, top_k
from augrec.recommenders._blend import popularity_weight
from augrec.recommenders._explain import POPULAR, Background, explanations, leave_one_out
from augrec.recommenders._introduced import named

Log = Callable[[Mapping[str, float]], None]
"""Receives one row of a training curve, e.g. {"step": 100, "loss": 3.2, "ndcg@10": 0.21}."""

_NEEDED = {C.USER: pl.String, C.ITEM: pl.String}
_CELLS = 2**24
"""At most so many scores are held at once: 64 MiB of float32."""


class Recommender(Component):
    """Learns from weighted interactions; recommends to any history, those of unseen users included.

    A subclass implements `_fit`, `_scores`, `_model_state` and `_restore_model`; this class keeps
    the item index and the items' popularity. `_scores` must not depend on which other users are in
    the batch. A history without a known item is ranked by popularity, unless the model says that it
    `knows_strangers`.

    Attributes:
        items: the catalogue: every item of the training interactions, and more where `_catalogue`
            says so.
        popularity: each item's share of the weight of all training interactions, float32
            (n_items,).
        knows_strangers: whether `_scores` has something to say of users without a history, from
            `Histories.known`.
        reads_features: whether training wants what stands beside interactions: Feast's features,
            columns user__… and item__…, and outcomes, see `augrec.data.outcomes`.
        draws: whether another seed gives another model; what draws nothing is not trained twice.
        continues: whether training can begin at the weights of a fitted recommender of the same
            kind.
        architecture: the config keys that decide the shapes of its weights; to continue a model
            they must be that model's.
        search_space: {config key: a list of choices, or {low, high, log}}: where a search for
            better values looks; empty: there is nothing to search. `tuning.spaces` of params.yaml
            may replace it.
        regularisation: {config key: values}: without a search each training set is tried with
            these, too, since more rows want less regularisation. `tuning.regularisation` of
            params.yaml may replace it.
    """

    knows_strangers: ClassVar[bool] = False
    reads_features: ClassVar[bool] = False
    draws: ClassVar[bool] = True
    continues: ClassVar[bool] = False
    architecture: ClassVar[tuple[str, ...]] = ()
    search_space: ClassVar[Mapping[str, Any]] = {}
    regularisation: ClassVar[Mapping[str, list[Any]]] = {}

    items: ItemIndex
    popularity: np.ndarray
    _left: sp.csr_matrix | None
    """While fitting: what each user of the histories most likely saw and left, see
    `augrec.recommenders._introduced`."""
    _judging: Judging
    """While fitting: how cases are judged."""

    def fit(
        self,
        interactions: pl.DataFrame,
        *,
        cases: pl.DataFrame | None = None,
        items: pl.DataFrame | None = None,
        users: pl.DataFrame | None = None,
        start: Recommender | None = None,
        since: datetime | None = None,
        older: float = 0.0,
        judging: Judging | None = None,
        log: Log | None = None,
    ) -> Recommender:
        """Learn.

        Args:
            interactions: canonical interactions; `weight` and `observed` are honoured when present.
                A row of weight 0 counts as absent, and so does a `negative` one but to recommenders
                that say they use it. Features of the moment, columns user__… and item__…, and
                `outcomes` may stand beside them.
            cases: validation cases (see `augrec.data.cases`) to choose a checkpoint by; optional.
            items: what is known of the items (see `augrec.data.columns.ITEMS`); most recommenders
                do without.
            users: attributes of training users, one row a user; most recommenders do without.
            start: a fitted recommender of the same kind whose weights training begins at; see
                `continues`.
            since: learn only what users did from this moment on, outcomes included: what they did
                before is read, and who did nothing since is left out. Catalogue and popularity are
                those of all rows. Nobody: all is learnt.
            older: with `since`, what those users did before is to be learnt, too, at so much of its
                weight; 0: only read.
            judging: how `cases` are judged; None: by NDCG@10, over the catalogue.
            log: receives the training curve.

        Raises:
            InputError: no rows, columns are missing, or a weight is negative or not a number; or
                the recommender needs `items` and there are none; or training cannot begin at
                `start`.
        """
        require(interactions, _NEEDED, where="training interactions")
        everything, interactions = interactions, _present(interactions)
        if interactions.is_empty():
            raise InputError(
                "there is nothing to learn from",
                where="training interactions",
                fix="check the data window",
            )
        self._start, self._judging = self._checked_start(start), judging or Judging()
        self.items = self._catalogue(interactions, items)
        total = np.bincount(
            self.items.encode(interactions[C.ITEM]), self._importance(interactions), len(self.items)
        )
        self.popularity = (total / total.sum()).astype(np.float32)
        self._read_items(items)
        interactions = _fresh(interactions, since, older)
        self._read_interactions(interactions)
        histories = Histories.from_interactions(interactions, self.items).with_known(users)
        self._left = named(everything, histories, self.items)
        self._fit(histories, cases, log or (lambda row: None))
        self._start = self._left = None
        return self

    def recommend(
        self,
        histories: pl.Series,
        k: int,
        *,
        known: pl.DataFrame | None = None,
        among: np.ndarray | None = None,
        exclude_seen: bool = True,
        batch_size: int = 512,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k best items for each history, best first; ties go to the smaller item id.

        Args:
            histories: List(String) (n,): item ids, oldest first; unknown ids are ignored, empty
                lists are fine.
            k: how many; fewer come back where the catalogue is smaller.
            known: what else is known of each user at that moment, n rows: attributes by their
                names, Feast's features as user__…; any column may be missing or null.
            among: recommend only these, bool (n_items,) over `items`.
            exclude_seen: leave out items of the history.
            batch_size: at most so many users are scored at once; fewer where the catalogue is
                large.

        Returns:
            items, str (n, k') and scores, float32 (n, k'), with k' = min(k, catalogue). Places that
            cannot be filled hold "" and -inf.

        Raises:
            InputError: k is less than 1, or `known` has another number of rows.
        """
        ranked, scores = self.rank(
            histories, k, known=known, among=among, exclude_seen=exclude_seen, batch_size=batch_size
        )
        return np.where(ranked < 0, "", self.items.decode(ranked)), scores

    def rank(
        self,
        histories: pl.Series,
        k: int,
        *,
        known: pl.DataFrame | None = None,
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
        encoded = Histories.from_lists(histories, self.items, known=known)
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
        if not self.knows_strangers:
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

    def explain(
        self,
        histories: pl.Series,
        items: np.ndarray,
        *,
        known: pl.DataFrame | None = None,
        top: int = 3,
    ) -> pl.DataFrame:
        """What carried each recommendation, the strongest first: items of the history, what is
        known of the user, popularity.

        Args:
            histories: List(String) (n,).
            items: the items to explain, str (n, m), as `recommend` gives them; "" and unknown ids
                are passed over.
            known: as for `recommend`.
            top: at most so many reasons of a kind for each.

        Returns:
            row (UInt32, position in `histories`), item_id, kind, because, contribution (Float32:
            what the score would lose without it, above 0), sorted by row, item's place and
            contribution. By kind, because is: of "item" an item of the history, of "attribute" a
                column of `known`, of "popularity" null. Where nothing of it carried an item that
            at least as many took as the average one, it was popular: contribution is then its
                `popularity`. What is left
            has no row.
        """
        encoded = Histories.from_lists(histories, self.items, known=known)
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

    def _importance(self, interactions: pl.DataFrame) -> np.ndarray:
        """What each training row adds to its item's popularity, float64 (n,)."""
        return _weights(interactions)

    def _catalogue(self, interactions: pl.DataFrame, items: pl.DataFrame | None) -> ItemIndex:
        """What can be recommended. One that can place items nobody has met yet adds those of the
        items table."""
        return ItemIndex(interactions[C.ITEM])

    def _read_items(self, items: pl.DataFrame | None) -> None:
        """Learn from the items table; comes before `_fit`, when the catalogue and its popularity
        are known."""

    def _read_interactions(self, interactions: pl.DataFrame) -> None:
        """Learn what `Histories` leave out: events, values, times, features; comes right before
        `_fit`."""

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

        The name is `POPULAR` or a column of `Histories.known`. Here popularity: all that ranks a
        stranger, and the part that the config key `popularity_blend` gives it. Arguments as for
        `contributions`.
        """
        popular = self.popularity[targets]
        blend = getattr(self.config, "popularity_blend", 0.0)
        weight = popularity_weight(histories.matrix().getnnz(1)[:, None], blend)
        stranger = (histories.lengths == 0)[:, None]
        return {POPULAR: np.where(stranger, popular, weight * popular / self.popularity.max())}

    def _checked_start(self, start: Recommender | None) -> Recommender | None:
        """`start`, if training can begin there; a subclass that `continues` finds it as
        `self._start` in `_fit`."""
        if start is None or (self.continues and type(start) is type(self)):
            return start
        raise InputError(
            f"training of {self.name()} cannot begin at a fitted {start.name()}",
            where="fit",
            fix="give a neural recommender one of its own kind",
        )

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
    """The rows with a weight above zero that say what somebody took."""
    if C.NEGATIVE in interactions.columns:
        interactions = interactions.filter(~pl.col(C.NEGATIVE))
    weights = _weights(interactions)
    if not (np.isfinite(weights) & (weights >= 0)).all():
        raise InputError(
            "weights must be numbers of at least 0",
            where="training interactions, column weight",
            fix="check the `weight` options of the policy in params.yaml",
        )
    return interactions.filter(pl.Series(weights > 0, dtype=pl.Boolean))


def _fresh(interactions: pl.DataFrame, since: datetime | None, older: float) -> pl.DataFrame:
    """What is new: the users with a row or outcome at or after `since`. Their older rows weigh
    `older` times what they did.

    All rows, as they are, where there is nobody.
    """
    if since is None:
        return interactions
    new = last_known(interactions) >= since
    users = interactions.filter(new).select(C.USER).unique()
    if users.is_empty():
        return interactions
    weights = pl.Series(
        C.WEIGHT, _weights(interactions) * np.where(new, 1.0, older), dtype=pl.Float32
    )
    return interactions.with_columns(weights).join(
        users, on=C.USER, how="semi", maintain_order="left"
    )


def _weights(interactions: pl.DataFrame) -> np.ndarray:
    if C.WEIGHT not in interactions.columns:
        return np.ones(len(interactions))
    return interactions[C.WEIGHT].cast(pl.Float64).fill_null(np.nan).to_numpy()
