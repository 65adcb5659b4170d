"""Taste groups that any part can ask: users' vectors by the feature network alone, k-means, and the
same names from run to run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Final, Self

import numpy as np
from pydantic import Field

from augrec.core.component import Component
from augrec.core.config import Auto, BaseConfig
from augrec.core.data_shape import DataShape
from augrec.data.histories import Histories, ItemIndex
from augrec.data.training_data import TrainingData
from augrec.recommenders._taste.clusters import NO_GROUP, Clusters, k_means, nearest, same_names
from augrec.recommenders._taste.description import TasteGroups, describe, popular_value

TASTE_GROUP: Final = "taste_group"
"""The attribute of users that says which group they are in: its number, as a text."""
_PASSES, _FEWEST, _MOST = 25, 200, 1_000
_PREFIX: Final = "tastes."
_LAYERS: Final = ("read_weight", "read_bias", "write_weight", "write_bias")


class TastesConfig(BaseConfig):
    """`taste_groups`: how users of like taste are put into groups."""

    groups: (
        Annotated[int, Field(ge=0)]
        | Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)]
    ) = 10
    """How many; of several numbers the one whose groups' popular items suit validation users best.
    0: no groups."""
    min_group_users: int = Field(10, ge=1)
    """Smaller groups are dissolved into the nearest others."""
    width: int = Field(32, ge=1)
    """Length of the vectors of users, items and groups."""
    steps: Annotated[int, Field(ge=1)] | Auto = "auto"
    """Gradient steps of the network. auto: until each user was read 25 times, 200 to 1,000."""
    batch_size: int = Field(128, ge=1)
    """Users in a step."""
    attribute: bool = False
    """Whether generators learn the group as one more attribute of users, `taste_group`, so that
    `synthesis.condition` can ask for users of a group by its number."""
    previous: str | None = None
    """Whose names the groups keep: a run writes here which groups the last published run had."""

    @property
    def numbers(self) -> list[int]:
        """The numbers of groups to choose from; none where there are to be no groups."""
        several = self.groups if isinstance(self.groups, list) else [self.groups]
        return [number for number in several if number]


def training_steps(shape: DataShape, config: TastesConfig) -> int:
    """The steps that read each user 25 times: groups are coarser than lists, and change little with
    more."""
    return shape.steps(_PASSES, shape.share_read(config.batch_size), _FEWEST, _MOST)


class Tastes(Component):
    """Users of the same taste form a group.

    A user's vector is W₂ tanh(W₁ s + b₁) + b₂ of s, the sum of the vectors of the n items met over
    √n; those are learnt by `FeatureNetwork` from behaviour and content. k-means on the training
    users' vectors gives the groups. Anybody with a history belongs to that of the nearest centre.

    Attributes:
        items: the catalogue.
        numbers: the groups' names, ascending, int64 (k,); a group keeps its number from run to run,
            and a number may be free.
        centres: float32 (k, width).
        groups: what each says of itself, in the same order.
    """

    Config = TastesConfig
    rules: ClassVar = {"steps": training_steps}

    items: ItemIndex
    numbers: np.ndarray
    centres: np.ndarray
    groups: TasteGroups
    _vectors: np.ndarray
    _layers: tuple[np.ndarray, ...]

    @classmethod
    def section(cls) -> str:
        """Where params.yaml holds its config."""
        return "taste_groups"

    def fit(self, data: TrainingData, previous: Tastes | None = None) -> Self:
        """Find the groups of the training users.

        Args:
            data: `cases` are used only to choose among several numbers of groups.
            previous: groups found before. k-means begins where their users are now, and the groups
                nearest to them keep their numbers; None: numbers are by size, the largest 0.
        """
        from augrec.recommenders.group_gan import GroupGan  # loads torch

        if not self.is_settled():
            self.settle(data.shape)
        config, self.items = self.config, data.catalogue
        features = GroupGan(
            {
                **{"grouping": "none", "vae": False, "gan": False, "live": False},
                **{key: getattr(config, key) for key in ("steps", "width", "batch_size")},
                **{"hidden": 2 * config.width, "content_width": 2 * config.width},
            },
            seed=self.seed,
        ).fit(replace(data, cases=None, previous=None))
        self._vectors, self._layers = features.feature_weights()
        points = self.vectors(data.histories)
        before = None if previous is None else previous._centres_in(points, data.histories, self)
        found = self._choose(points, data, before)
        numbers = _numbers(found, before)
        order = np.argsort(numbers)
        self.numbers, self.centres = numbers[order], found.centres[order]
        placed = np.argsort(order)[found.labels], np.zeros(len(points), np.float32)
        self.groups = describe(placed, data.histories, self.items, data.items, len(order))
        return self

    def _centres_in(self, points: np.ndarray, histories: Histories, other: Tastes) -> _Named:
        """The centres that the users of these groups have in the space of another fit.

        Args:
            points: the users' vectors there, float32 (n, width).
            histories: of the same users.
            other: that fit.
        """
        places = self.over(other.items).places(histories)[0]
        there = np.unique(places[places >= 0])
        means = [points[places == place].mean(0) for place in there]
        return _Named(self.numbers[there], np.array(means, np.float32).reshape(-1, points.shape[1]))

    def _choose(self, points: np.ndarray, data: TrainingData, before: _Named | None) -> Clusters:
        found = []
        for k in self.config.numbers:
            same = before is not None and len(before.centres) == k
            start = before.centres if before is not None and same else None
            smallest = self.config.min_group_users
            found.append(k_means(points, k, self.seed, start=start, smallest=smallest))
        cases = data.cases
        if len(found) == 1 or cases is None or cases.is_empty():
            return found[0]
        known = Histories.from_lists(cases["history"], self.items)
        of_cases = self.vectors(known)
        values = [
            popular_value(one.labels, nearest(of_cases, one.centres)[0], known, data)
            for one in found
        ]
        return found[int(np.argmax(values))]

    def _state(self) -> dict[str, np.ndarray]:
        layers = dict(zip(_LAYERS, self._layers, strict=True))
        own = {"items": self.items.ids, "numbers": self.numbers, "centres": self.centres}
        return {**own, "vectors": self._vectors, **layers, **self.groups.state()}

    def _restore(self, state: dict[str, np.ndarray]) -> None:
        self.groups = TasteGroups.of_state(state)
        self.items, self._vectors = ItemIndex(state["items"]), state["vectors"]
        self.numbers, self.centres = state["numbers"], state["centres"]
        self._layers = tuple(state[name] for name in _LAYERS)

    def vectors(self, histories: Histories) -> np.ndarray:
        """The vectors of users with a history, float32 (n, width)."""
        observed = histories.matrix(observed_only=True)
        observed.data[:] = 1
        lengths = observed @ self._vectors.any(1).astype(np.float32)  # of items with a vector
        total = (observed @ self._vectors) / np.sqrt(np.maximum(lengths, 1))[:, None]
        read, read_bias, write, write_bias = self._layers
        return np.tanh(total @ read.T + read_bias) @ write.T + write_bias

    def places(self, histories: Histories) -> tuple[np.ndarray, np.ndarray]:
        """The place of each user's group in `numbers`, int64 (n,), and the distance to its centre,
        float32 (n,); -1 and NaN for users of whom no item is known."""
        labels, away = nearest(self.vectors(histories), self.centres)
        nothing = histories.keep(histories.observed).lengths == 0
        return np.where(nothing, NO_GROUP, labels), np.where(nothing, np.float32("nan"), away)

    def labels(self, histories: Histories) -> list[str | None]:
        """The group of each user as an attribute, see `TASTE_GROUP`; None where no item is
        known."""
        found = self.numbers[self.places(histories)[0]]
        unknown = histories.keep(histories.observed).lengths == 0
        return [None if no else str(one) for one, no in zip(found, unknown, strict=True)]

    def over(self, items: ItemIndex) -> Tastes:
        """The same groups for histories over another catalogue; items they do not know count for
        nothing."""
        other = type(self)(self.config, seed=self.seed)
        place = np.searchsorted(self.items.ids, items.ids)
        near = np.minimum(place, len(self.items) - 1)
        known = self.items.ids[near] == items.ids
        vectors = np.where(known[:, None], self._vectors[near], np.float32(0))
        other._restore(self._state() | {"items": items.ids, "vectors": vectors})
        return other

    def stored(self) -> dict[str, np.ndarray]:
        """As part of the state of what asks it."""
        return {_PREFIX + name: value for name, value in self._state().items()}

    @classmethod
    def of_stored(cls, state: dict[str, np.ndarray]) -> Tastes | None:
        """Take it out of such a state; None where there is none."""
        own = {name: state.pop(name) for name in list(state) if name.startswith(_PREFIX)}
        if not own:
            return None
        found = cls()
        found._restore({name.removeprefix(_PREFIX): value for name, value in own.items()})
        return found

    def as_json(self) -> list[dict[str, Any]]:
        """One object for each group: its number, name, users and their share, and what sets it
        apart."""
        total = max(int(self.groups.sizes.sum()), 1)
        return [
            {**told, "group": int(number), "share": told["users"] / total}
            for number, told in zip(self.numbers, self.groups.as_json(), strict=True)
        ]


@dataclass(frozen=True, eq=False)
class _Named:
    """Numbers of groups, int64 (m,), and their centres, float32 (m, width)."""

    numbers: np.ndarray
    centres: np.ndarray


def _numbers(found: Clusters, before: _Named | None) -> np.ndarray:
    """The number of each group, int64 (k,): that of the former group that is most like it, and the
    lowest free ones, by size."""
    by_size = np.argsort(-found.sizes, kind="stable")
    numbers = np.full(len(by_size), -1, np.int64)
    if before is not None and len(before.centres):
        middle = found.centres.mean(0)
        old = same_names(found.centres - middle, before.centres - middle)
        kept = old < len(before.numbers)
        numbers[kept] = before.numbers[old[kept]]
    free = (one for one in range(2 * len(numbers) + 1) if one not in set(numbers.tolist()))
    for place in by_size[numbers[by_size] < 0]:
        numbers[place] = next(free)
    return numbers
