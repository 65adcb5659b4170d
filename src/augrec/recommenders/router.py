"""The router: for each kind of user, by the length of their history, the recommender that ranks
best for such users."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import polars as pl
from pydantic import Field, field_validator

from augrec.core.config import BaseConfig
from augrec.core.data_shape import DataShape
from augrec.core.errors import InputError, PermanentError, RefusedError
from augrec.core.seeds import derive
from augrec.data.cases import user_features_of
from augrec.data.columns import Columns as C
from augrec.data.histories import Histories, ItemIndex
from augrec.data.ranking import RankingMetric
from augrec.data.slices import SLICES, slice_of
from augrec.data.training_data import Log, TrainingData
from augrec.recommenders._explain import Background
from augrec.recommenders._router.choosing import choose_weights, simplest_of_the_best
from augrec.recommenders._router.members import Judged, Member, mix
from augrec.recommenders._router.new_items import insert_new_items
from augrec.recommenders._router.routes import Routes
from augrec.recommenders.base import Recommender, find

logger = logging.getLogger(__name__)

_COLD_DEFAULTS = ("demographics", "popularity")
_WARM_DEFAULTS = ("ease", "ials", "item_knn", "content", "popularity")
"""Members to serve a slice without enough validation users; the first that takes part does."""


class RouterConfig(BaseConfig):
    """The members, and how carefully the choice among them is made."""

    members: list[dict[str, dict[str, Any]]] = [
        {"popularity": {}},
        {"popularity": {"half_life_days": 7}},
        {"demographics": {}},
        {"content": {"max_new_items": 1000}},
        {"item_knn": {}},
        {"ease": {}},
        {"ials": {}},
        {"multvae": {}},
        {"sasrec": {}},
    ]
    """Recommenders with their configs, the simplest first: a later one must be better by more than
    noise. Keys not given are as the recommender's class has them. One that cannot learn from the
    data at hand, such as content without an items table, is left out."""
    cutoff: int = Field(10, ge=1)
    """They are judged by NDCG at this length."""
    caution: float = Field(0.5, ge=0)
    """Differences within this number of standard errors are noise."""
    blend_weights: list[float] = [0.25, 0.5, 0.75]
    """Shares of a further member that are tried with the others; empty: no blends."""
    max_blended: int = Field(3, ge=1)
    """At most this number of members is blended in a slice; 1: no blends."""
    new_item_shares: list[float] = [0.0, 0.05, 0.1, 0.2]
    """Shares of a list for items without interactions, ranked by a member that has them all, such
    as content. Each slice gets the first share, and the first such member, that no other beats by
    more than noise on validation users; the first of all where these are too few. 0: they stand
    where the members that serve place them."""
    min_users: int = Field(30, ge=2)
    """A slice with fewer validation users is served as if there were none."""
    max_cases: int = Field(1000, ge=1)
    """At most this number of validation cases of a slice is used."""

    @field_validator("members")
    @classmethod
    def _one_name_each(
        cls, members: list[dict[str, dict[str, Any]]]
    ) -> list[dict[str, dict[str, Any]]]:
        if not members or any(len(member) != 1 for member in members):
            raise ValueError(
                "each entry is one recommender: {name: {its config}}, and there must be one"
            )
        if any("router" in member for member in members):
            raise ValueError("a router cannot hold a router")
        return members

    @field_validator("new_item_shares")
    @classmethod
    def _bounded(cls, shares: list[float]) -> list[float]:
        if not shares or any(not 0 <= share < 1 for share in shares):
            raise ValueError("shares of a list are at least 0 and below 1, and there must be one")
        return shares

    @field_validator("blend_weights")
    @classmethod
    def _shares(cls, weights: list[float]) -> list[float]:
        if any(not 0 < weight < 1 for weight in weights):
            raise ValueError("shares lie between 0 and 1")
        return weights


class Router(Recommender):
    """A switching and weighted hybrid (Burke 2002), chosen by slices of activity on validation
    users.

    It fits its members on the same data. For each slice of `augrec.data.slices`, by the items of
    the history it knows, it takes the simplest member that the best one does not beat by more than
    noise (paired, by user), then tries to blend in one member after the other: Σ_m w_m z_m, where
    z_m are m's scores of the user, standardised over the catalogue. One is taken in where choosing
    it is better by more than noise on users that had no part in the choice.

    The validation cases may also have chosen the members' checkpoints, which flatters neural
    members a little. With new_item_shares a bounded share of a list goes to items without
    interactions, ranked by a member that has them. Where there are too few cases, the first there
    is of demographics and popularity serves users without a history, and of EASE, iALS, item-KNN,
    content and popularity all others.
    """

    Config = RouterConfig
    scores_cold_users = True
    architecture = ("members",)

    _routes: Routes

    def __init__(self, config: BaseConfig | dict[str, Any] | None = None, *, seed: int = 0) -> None:
        super().__init__(config, seed=seed)
        self._untrained = dict(self._build())
        self._members: list[Member] = []

    @property
    def reads_features(self) -> bool:  # type: ignore[override]
        """Whether a member does."""
        return any(model.reads_features for model in self._untrained.values())

    @property
    def continues(self) -> bool:  # type: ignore[override]
        """Whether a member does; the others learn anew."""
        return any(model.continues for model in self._untrained.values())

    def _build(self) -> Iterator[tuple[str, Recommender]]:
        """(label, unfitted member) of each; the second of a name is called name_2."""
        count: dict[str, int] = {}
        for member in self.config.members:
            [(name, config)] = member.items()
            count[name] = count.get(name, 0) + 1
            label = name if count[name] == 1 else f"{name}_{count[name]}"
            yield label, find(name)(config, seed=derive(self.seed, "router", label))

    def is_settled(self) -> bool:
        """Whether its members are, too."""
        return super().is_settled() and all(model.is_settled() for _, model in self._build())

    def settle(self, shape: DataShape) -> dict[str, Any]:
        """The members' settings too."""
        found, members = super().settle(shape), []
        for member, (_, model) in zip(self.config.members, self._build(), strict=True):
            [(name, config)] = member.items()
            members.append({name: {**config, **model.settle(shape)}})
        if members != self.config.members:
            found["members"] = members
            self.config = self.config.model_copy(update={"members": members})
        return found

    def _fit(self, data: TrainingData) -> None:
        fitted = self._fit_members(data)
        self.items = ItemIndex(np.concatenate([model.items.ids for model in fitted.values()]))
        self.popularity = data.popularity_in(self.items)
        self._members = [Member.of(label, model, self.items) for label, model in fitted.items()]
        if isinstance(data.decided, Router):
            self._routes = data.decided._routes
            return
        self._routes = routes = Routes.empty(list(fitted))
        cases = None if data.cases is None else self._encode(data.cases, data.metric)
        offers = self._offers()
        for place, name in enumerate(SLICES):
            offer = 0
            if cases is not None:
                rows = np.flatnonzero(_slots(cases.histories) == place)
                part = cases.at(rows, self.config.max_cases)
                routes.n_users[place] = part.n_users
            if routes.n_users[place] >= self.config.min_users:
                seed = derive(self.seed, "router", place)
                chosen = choose_weights(self._members, part, self.config, seed)
                routes.weights[place], routes.validated[place], routes.gains[place] = chosen
                offer = self._choose_offer(place, part, offers)
            else:
                routes.weights[place] = self._by_default(place)
            routes.new_shares[place], routes.placing[place] = offers[offer]
            logger.info("users with %s items: %s", name, routes.summary(place))

    def _fit_members(self, data: TrainingData) -> dict[str, Recommender]:
        """The members that can learn from the data, fitted; with a previous router, those that
        cannot continue learn anew from all rows.

        Those that `data.decided` did without are left out again.

        Raises:
            PermanentError: none can, or one of `data.decided` cannot; that of the first one.
        """
        self._left_out: dict[str, str] = {}
        fitted: dict[str, Recommender] = {}
        refusal: PermanentError | None = None
        previous: dict[str, Recommender] = {}
        if isinstance(data.previous, Router):
            previous = {member.label: member.model for member in data.previous._members}
        decided: dict[str, Recommender] = {}
        if isinstance(data.decided, Router):
            decided = {member.label: member.model for member in data.decided._members}
            self._left_out = dict(data.decided._left_out)
        for label, model in self._build():
            if label in self._left_out:
                continue
            start = previous.get(label) if model.continues else None
            anew = data.previous is not None and start is None
            own = replace(
                data,
                interactions=data.positives,
                previous=start,
                since=None if anew else data.since,
                decided=decided.get(label),
                log=partial(_log_member, data.log, label),
            )
            try:
                fitted[label] = model.fit(own)
            except (InputError, RefusedError) as error:
                logger.warning("the router does without %s: %s", label, error.what)
                self._left_out[label] = error.what
                refusal = refusal or error
        if refusal is not None and (decided or not fitted):
            raise refusal
        return fitted

    def _encode(self, cases: pl.DataFrame, metric: RankingMetric) -> Judged:
        return Judged(
            cases[C.USER].to_numpy().astype(str),
            Histories.from_lists(
                cases["history"], self.items, user_features=user_features_of(cases)
            ),
            Histories.from_lists(cases["targets"], self.items),
            cases["targets"].list.n_unique().to_numpy(),
            metric.among(self.items),
        )

    def _offers(self) -> list[tuple[float, int]]:
        """The shares of a list for new items, each with the members that could fill it; (0, -1):
        new items get no share."""
        new = self._new_items
        holders = [
            number
            for number, m in enumerate(self._members)
            if len(new) and (m.places[new] >= 0).all()
        ]
        offers = [
            (share, number if share else -1)
            for share in self.config.new_item_shares
            for number in (holders if share else holders[:1])
        ]
        return offers or [(0.0, -1)]

    def _choose_offer(self, place: int, cases: Judged, offers: list[tuple[float, int]]) -> int:
        """Which of the offers serves the users of a slice best."""
        if len(offers) == 1:
            return 0
        values = [
            cases.measure_scores(
                partial(self._serve, place, new_share=share, placing=placing), self.config.cutoff
            )
            for share, placing in offers
        ]
        return simplest_of_the_best(np.stack(values), self.config.caution)

    def _by_default(self, place: int) -> np.ndarray:
        names = [member.model.name() for member in self._members]
        wanted = [
            name for name in (_COLD_DEFAULTS if place == 0 else _WARM_DEFAULTS) if name in names
        ]
        return np.eye(len(names))[names.index(wanted[0]) if wanted else 0]

    def _scores(self, histories: Histories) -> np.ndarray:
        slots, routes = _slots(histories), self._routes
        table = np.empty((len(histories), len(self.items)), np.float32)
        for place in np.unique(slots):
            rows = np.flatnonzero(slots == place)
            part = histories if len(rows) == len(histories) else histories.take(rows)
            table[rows] = self._serve(place, part, routes.new_shares[place], routes.placing[place])
        return table

    def _serve(
        self, place: int, histories: Histories, new_share: float, placing: int
    ) -> np.ndarray:
        """Scores of users of one slice, float32 (B, n_items); the member `placing` ranks the new
        items; -1: they are not ranked apart."""
        table = mix(self._members, self._routes.weights[place], histories)
        if placing < 0:
            return table
        new = self._new_items
        return insert_new_items(
            table, histories, new, self._members[placing].scores(histories)[:, new], new_share
        )

    @property
    def _new_items(self) -> np.ndarray:
        """Items without interactions, int (n_new,)."""
        return np.flatnonzero(self.popularity == 0)

    def contributions(self, histories: Histories, targets: np.ndarray) -> np.ndarray:
        """Those of the members that serve the user, weighted as their scores are; for a new item,
        of the member that ranks it."""
        found = np.zeros((len(histories.items), targets.shape[1]), np.float32)
        user = np.repeat(np.arange(len(histories)), histories.lengths)
        for rows, asked, member, weight in self._scorers(histories, targets):
            said = member.contributions(histories.take(rows), asked, standardised=weight < 1)
            found[np.isin(user, rows)] += weight * said
        return found

    def background(self, histories: Histories, targets: np.ndarray) -> Background:
        """As `contributions`."""
        found: Background = {}
        for rows, asked, member, weight in self._scorers(histories, targets):
            for name, share in member.background(
                histories.take(rows), asked, standardised=weight < 1
            ).items():
                found.setdefault(name, np.zeros(targets.shape, np.float32))[rows] += weight * share
        return found

    def _scorers(
        self, histories: Histories, targets: np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray, Member, float]]:
        """Which member scores which users' targets: users int (B,), their targets (B, m), -1 where
        the member does not score one, the member, and its weight."""
        slots = _slots(histories)
        for place in np.unique(slots):
            rows, placing = np.flatnonzero(slots == place), self._routes.placing[place]
            asked, apart = targets[rows], np.isin(targets[rows], self._new_items) & (placing >= 0)
            for number in np.flatnonzero(self._routes.weights[place]):
                weight = float(self._routes.weights[place, number])
                yield rows, np.where(apart, -1, asked), self._members[number], weight
            if apart.any():
                yield rows, np.where(apart, asked, -1), self._members[placing], 1.0

    def choices(self) -> dict[str, Any]:
        """Which members serve each slice, see `Routes.choices`; those left out, with the reason."""
        slices = self._routes.choices(f"ndcg@{self.config.cutoff}")
        return {"slices": slices, "left_out": self._left_out}

    def describe(self) -> dict[str, int]:
        """Size, the number of members, and the percentage of each member in each slice."""
        return super().describe() | {"members": len(self._members)} | self._routes.percentages()

    def _model_state(self) -> dict[str, np.ndarray]:
        state = self._routes.state() | {
            "left_out": np.array(list(self._left_out), dtype=str),
            "reasons": np.array(list(self._left_out.values()), dtype=str),
        }
        for member in self._members:
            inner = member.model._state()
            if np.array_equal(inner["items"], self.items.ids):
                del inner["items"]
            state |= {f"member.{member.label}.{key}": array for key, array in inner.items()}
        return state

    def _restore_model(self, state: dict[str, np.ndarray]) -> None:
        self._routes = Routes.from_state(state)
        self._left_out = dict(
            zip(state["left_out"].tolist(), state["reasons"].tolist(), strict=True)
        )
        models, self._members = dict(self._build()), []
        for label in self._routes.labels:
            prefix = f"member.{label}."
            inner = {"items": self.items.ids}
            inner |= {
                key.removeprefix(prefix): a for key, a in state.items() if key.startswith(prefix)
            }
            models[label]._restore(inner)
            self._members.append(Member.of(label, models[label], self.items))


def _slots(histories: Histories) -> np.ndarray:
    """The place in `SLICES` of each history, by its distinct items; int (n,)."""
    return np.argmax(slice_of(histories.matrix().getnnz(1))[:, None] == np.array(SLICES), axis=1)


def _log_member(log: Log, label: str, row: Mapping[str, float]) -> None:
    """Log a row of a member's curve, each column under the member's label."""
    log({name if name == "step" else f"{label}.{name}": value for name, value in row.items()})
