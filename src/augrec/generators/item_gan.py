"""Interactions for items that no training user met: their place in the space of tastes is drawn
from their content."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import polars as pl
import torch
from pydantic import Field
from torch import Tensor

from augrec.core.config import Auto
from augrec.core.data_shape import DataShape
from augrec.core.seeds import derive, rng
from augrec.data.columns import Columns as C
from augrec.data.row_details import build_interactions
from augrec.data.training_data import TrainingData
from augrec.generators._latent.item_content import ItemContent
from augrec.generators._latent.item_decoder import ItemDecoder
from augrec.generators._latent.user_space import Whitening
from augrec.generators._latent.vector_gan import VectorGenerator, new_networks
from augrec.generators._training.loop import one_of_several
from augrec.generators.latent_gan import LatentGan, LatentGanConfig
from augrec.generators.neural import MOST
from augrec.nn.determinism import fixed_threads

_logger = logging.getLogger(__name__)
_PENALTIES = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0, 1e6)
_FOLDS = 5
_ITEM_PASSES, _FEWEST_ITEM_STEPS = 50, 300


class ItemGanConfig(LatentGanConfig):
    """Options of the latent GAN, and of the one over items."""

    item_steps: Annotated[int, Field(ge=1)] | Auto = "auto"
    """Generator updates of the GAN over items. auto: more for more items, see `item_steps`."""
    content_directions: int = Field(128, ge=1)
    """Numbers that represent an item's content."""
    min_item_users: int = Field(1, ge=1)
    """Items of fewer users are not learnt from."""
    spread: float = Field(0.3, ge=0.0)
    """How far new items lie from where their content predicts: 0 not at all, 1 as far as known ones
    do."""
    max_new_items: int = Field(10_000, ge=0)
    """At most this number of items that no training user met: the last ones of the items table with
    a text."""
    boost: float = Field(1.0, gt=0.0)
    """Factor on the odds of new items; at 1 they are on average as popular as known ones."""
    drawings: int = Field(16, ge=1)
    """Groups that a sample's users are cut into; for each the new items' vectors are drawn
    anew."""


def item_steps(shape: DataShape, config: ItemGanConfig) -> int:
    """The steps in which the GAN over items reads each item 50 times."""
    share, fewest = config.batch_size / shape.n_items, _FEWEST_ITEM_STEPS
    return shape.steps(_ITEM_PASSES, share, fewest, MOST * fewest)


@dataclass(frozen=True)
class Ridge:
    """Linear regression y = weights · (x, 1) of many targets, each with the penalty that predicts
    it best on rows it was not fitted to.

    Attributes:
        weights: float32 (c + 1, t).
    """

    weights: Tensor

    @classmethod
    def fit(cls, given: Tensor, targets: Tensor, seed: int) -> tuple[Ridge, Tensor]:
        """The regression, and its residuals float32 (n, t), each of a fit without that row's fold.

        Args:
            given: float32 (n, c).
            targets: float32 (n, t); each column gets the penalty with the least squared residuals.
            seed: of the folds.
        """
        folds = torch.as_tensor(
            rng(seed, "folds").permutation(len(given)) % _FOLDS, device=given.device
        )
        residuals = torch.stack(
            [_residuals(given, targets, folds, penalty) for penalty in _PENALTIES]
        )  # (p, n, t)
        best = residuals.square().sum(dim=1).argmin(dim=0)  # (t,)
        whole = torch.stack(
            [_solve(given, targets, penalty) for penalty in _PENALTIES]
        )  # (p, c + 1, t)
        columns = torch.arange(targets.shape[1], device=given.device)
        return cls(whole[best, :, columns].T.contiguous()), residuals[
            best, :, columns
        ].T.contiguous()

    def predict(self, given: Tensor) -> Tensor:
        """Float32 (n, t)."""
        return given @ self.weights[:-1] + self.weights[-1]


class ItemGan(LatentGan):
    """A latent GAN whose users also meet new items: items of the items table that no training user
    met.

    An item's place is its vector and its bias in the decoder. A ridge regression predicts it from
    the item's content (TF-IDF of title, description, categories and tags); a second GAN, given the
    content, learns the residuals. New items get a place from both and compete with all others in
    the decoder. Of a user's items the new ones come last in time. Their events and values, which
    are unknown, are those of items at large. Without an items table, or without new items in it, it
    is a latent GAN.
    """

    Config = ItemGanConfig
    rules: ClassVar = {**LatentGan.rules, "item_steps": item_steps}

    content: ItemContent
    whitening: Whitening
    ridge: Ridge
    item_network: VectorGenerator

    def facts(self) -> dict[str, object]:
        """{"new_items": ids of the items that no training user met}."""
        return {"new_items": self.content.new_ids.tolist()}

    def _learn(self, data: TrainingData) -> None:
        super()._learn(data)
        self._learn_items(data)

    def _learn_items(self, data: TrainingData) -> None:
        config = self.config
        self.content = ItemContent.of(
            data.interactions,
            data.items,
            self.items,
            directions=config.content_directions,
            max_new_items=config.max_new_items,
            seed=self.seed,
        )
        places, content = self._known_items(data)
        self.whitening = Whitening.of(places)
        targets = self.whitening.whiten(places)
        self.ridge, residuals = Ridge.fit(content, targets, self.seed)
        _logger.info("%d new items, %d items to learn from", len(self.content.new_ids), len(places))
        if not len(self.content.new_ids):
            self.item_network = self._new_item_network()
            return
        self.item_network, _ = self._train_gan(
            residuals,
            content,
            one_of_several(data, "items", after=config.steps),
            "items",
            config.item_steps,
            lambda network: self._item_statistics(network, residuals, content),
        )

    def _known_items(self, data: TrainingData) -> tuple[Tensor, Tensor]:
        """Vectors and biases float32 (k, d + 1) of items met by enough users, and their
        content."""
        users = np.bincount(self.items.encode(data.interactions.unique([C.USER, C.ITEM])[C.ITEM]))
        chosen = np.flatnonzero(users >= min(self.config.min_item_users, users.max()))
        content = torch.as_tensor(self.content.known[chosen], device=self.device)
        return self._places()[torch.as_tensor(chosen, device=self.device)], content

    @torch.no_grad()
    def _places(self) -> Tensor:
        """Every known item's vector and bias, float32 (n_items, d + 1)."""
        return torch.cat([self.decoder.vectors, self.decoder.bias.detach()[:, None]], dim=1)

    @torch.no_grad()
    def _item_statistics(
        self, network: VectorGenerator, residuals: Tensor, content: Tensor
    ) -> dict[str, float]:
        """How far drawn vectors lie apart, item from item, over the same of those to learn."""
        drawn = network.draw(content, self._random(derive(self.seed, "look at items")))
        if len(drawn) < 2:
            return {"spread": 1.0}
        apart, wanted = (vectors.var(dim=0).sum().sqrt() for vectors in (drawn, residuals))
        return {"spread": (apart / wanted.clamp(min=1e-6)).item()}

    def _sample(self, n: int, condition: dict[str, object], seed: int) -> pl.DataFrame:
        rows = self._draw_conditions(n, condition, seed)
        lengths = self.conditions.lengths[rows]
        with fixed_threads(self.config.threads):
            parts = [
                self._decoded(
                    self.network,
                    self._widened_decoder(derive(seed, "items", turn)),
                    group,
                    derive(seed, "profiles", turn),
                )
                for turn, group in enumerate(np.array_split(rows, self.config.drawings))
                if len(group)
            ]
        positions = np.concatenate([np.empty(0, np.int64), *parts])
        users = np.repeat(np.arange(n), lengths)
        # the new ones last
        positions = positions[np.lexsort((positions >= len(self.items), users))]
        like, random = positions.copy(), rng(seed, "details")
        new = positions >= len(self.items)
        like[new] = np.searchsorted(
            self.details.item_ends,
            random.integers(0, self.details.item_ends[-1], new.sum()),
            side="right",
        )
        ids = np.concatenate([self.items.ids, self.content.new_ids])[positions]
        details = self.details.draw(like, lengths, random)
        return build_interactions(self.name(), lengths, ids, details)

    @torch.no_grad()
    def _widened_decoder(self, seed: int) -> ItemDecoder:
        """The decoder with new items at places drawn for them."""
        if not len(self.content.new_ids):
            return self.decoder
        content = torch.as_tensor(self.content.new, device=self.device)
        residuals = self.config.spread * self.item_network.draw(content, self._random(seed))
        places = self.whitening.restore(self.ridge.predict(content) + residuals)
        bias = places[:, -1]
        bias = (
            bias
            + (self.decoder.bias.logsumexp(0) - np.log(len(self.items)))
            - (bias.logsumexp(0) - np.log(len(bias)))
        )
        return self.decoder.with_items(places[:, :-1], bias + float(np.log(self.config.boost)))

    def _new_item_network(self) -> VectorGenerator:
        width, condition = self.config.factors + 1, self.content.known.shape[1]
        return new_networks(self.config, width, condition, self.device, self.seed)[0]

    def _build(self) -> None:
        super()._build()
        self.item_network = self._new_item_network()

    def _modules(self) -> dict[str, torch.nn.Module]:
        return {**super()._modules(), "item_network": self.item_network}

    def _state(self) -> dict[str, np.ndarray]:
        return {
            **super()._state(),
            "content_known": self.content.known,
            "content_new": self.content.new,
            "new_ids": self.content.new_ids,
            "ridge": self.ridge.weights.cpu().numpy(),
            **self.whitening.state("items_"),
        }

    def _restore(self, state: dict[str, np.ndarray]) -> None:
        self.content = ItemContent(state["content_known"], state["new_ids"], state["content_new"])
        self.whitening = Whitening.from_state(state, "items_", self.device)
        self.ridge = Ridge(torch.as_tensor(state["ridge"], device=self.device))
        super()._restore(state)


def _residuals(given: Tensor, targets: Tensor, folds: Tensor, penalty: float) -> Tensor:
    residuals = torch.empty_like(targets)
    for fold in range(_FOLDS):
        inside = folds == fold
        if inside.any():
            ridge = Ridge(_solve(given[~inside], targets[~inside], penalty))
            residuals[inside] = targets[inside] - ridge.predict(given[inside])
    return residuals


def _solve(given: Tensor, targets: Tensor, penalty: float) -> Tensor:
    if not len(given):
        return given.new_zeros(given.shape[1] + 1, targets.shape[1])
    middle, level = given.mean(dim=0), targets.mean(dim=0)
    centred = given - middle
    gram = centred.T @ centred + penalty * torch.eye(given.shape[1], device=given.device)
    weights = torch.linalg.solve(gram, centred.T @ (targets - level))
    return torch.cat([weights, (level - middle @ weights)[None]])
