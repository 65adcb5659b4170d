"""Interactions for items that nobody has met yet: their place in the space of tastes is drawn from
what is written of them."""

from __future__ import annotations

import logging

import numpy as np
import polars as pl
import torch
from pydantic import Field
from torch import Tensor

from augrec.core.seeds import derive, rng
from augrec.data.columns import Columns as C
from augrec.data.row_details import build_interactions
from augrec.generators._latent import vector_gan
from augrec.generators._latent.item_content import ItemContent
from augrec.generators._latent.item_decoder import ItemDecoder
from augrec.generators._latent.ridge import Ridge
from augrec.generators._latent.vector_gan import VectorGenerator
from augrec.generators._latent.whitening import Whitening
from augrec.generators._training.lesson import Lesson
from augrec.generators.latent_gan import LatentGan, LatentGanConfig
from augrec.nn.determinism import fixed_threads

_logger = logging.getLogger(__name__)


class ItemGanConfig(LatentGanConfig):
    """Knobs of the latent GAN, and of the one over items."""

    item_steps: int = Field(300, ge=1)
    """Generator updates of the GAN over items."""
    content_directions: int = Field(128, ge=1)
    """Numbers that stand for what is written about an item."""
    min_item_users: int = Field(1, ge=1)
    """Items of fewer users are not learnt from."""
    spread: float = Field(0.3, ge=0.0)
    """How far new items stray from what their content leads to expect: 0 not at all, 1 as far as
    known ones do."""
    max_new_items: int = Field(10_000, ge=0)
    """So many items that nobody has met are taken at most: the last ones of the items table with a
    text."""
    boost: float = Field(1.0, gt=0.0)
    """Factor on the odds of new items; at 1 they are on average as popular as known ones."""
    drawings: int = Field(16, ge=1)
    """A sample's users are cut into so many groups; for each the new items' vectors are drawn
    anew."""


class ItemGan(LatentGan):
    """A latent GAN whose users also meet new items: items of the items table that no training user
    met.

    An item's place is its vector and its bias in the decoder. A ridge regression predicts it from
    the item's content (TF-IDF of title, description, categories and tags); a second GAN, given the
    content, learns what the regression leaves open. New items get a place from both and compete
    with all others in the decoder. Of a user's items the new ones come last in time. What is
    unknown of them, events and values, is that of items at large. Without an items table, or
    without new items in it, it is a latent GAN.
    """

    Config = ItemGanConfig

    content: ItemContent
    whitening: Whitening
    ridge: Ridge
    item_network: VectorGenerator

    def facts(self) -> dict[str, object]:
        """{"new_items": ids of the items that no training user met}."""
        return {"new_items": self.content.new_ids.tolist()}

    def _learn(self, lesson: Lesson) -> None:
        super()._learn(lesson)
        self._learn_items(lesson)

    def _learn_items(self, lesson: Lesson) -> None:
        config = self.config
        self.content = ItemContent.of(
            lesson.interactions,
            lesson.items,
            self.items,
            directions=config.content_directions,
            max_new_items=config.max_new_items,
            seed=self.seed,
        )
        places, content = self._item_lesson(lesson)
        self.whitening = Whitening.of(places)
        targets = self.whitening.whiten(places)
        self.ridge, left_open = Ridge.fit(content, targets, self.seed)
        _logger.info("%d new items, %d items to learn from", len(self.content.new_ids), len(places))
        if not len(self.content.new_ids):
            self.item_network = self._new_item_network()
            return
        self.item_network, _ = self._train_gan(
            left_open,
            content,
            lesson,
            "items",
            config.item_steps,
            lambda network: self._look_at_items(network, left_open, content),
            after=config.steps,
        )

    def _item_lesson(self, lesson: Lesson) -> tuple[Tensor, Tensor]:
        """Vectors and biases float32 (k, d + 1) of items met by enough users, and what is written
        of them."""
        users = np.bincount(self.items.encode(lesson.interactions.unique([C.USER, C.ITEM])[C.ITEM]))
        chosen = np.flatnonzero(users >= min(self.config.min_item_users, users.max()))
        content = torch.as_tensor(self.content.known[chosen], device=self._device())
        return self._places()[torch.as_tensor(chosen, device=self._device())], content

    @torch.no_grad()
    def _places(self) -> Tensor:
        """Every known item's vector and bias, float32 (n_items, d + 1)."""
        return torch.cat([self.decoder.vectors, self.decoder.bias.detach()[:, None]], dim=1)

    @torch.no_grad()
    def _look_at_items(
        self, network: VectorGenerator, left_open: Tensor, content: Tensor
    ) -> dict[str, float]:
        """How far drawn vectors lie apart, item from item, against 1 for those to learn."""
        random = torch.Generator(self._device()).manual_seed(derive(self.seed, "look at items"))
        drawn = vector_gan.draw(network, content, random)
        if len(drawn) < 2:
            return {"spread": 1.0}
        apart, wanted = (vectors.var(dim=0).sum().sqrt() for vectors in (drawn, left_open))
        return {"spread": (apart / wanted.clamp(min=1e-6)).item()}

    def _sample(self, n: int, condition: dict[str, object], seed: int) -> pl.DataFrame:
        rows = self._people(n, condition, seed)
        lengths = self.conditions.lengths[rows]
        with fixed_threads(self.config.threads):
            parts = [
                self._profiles(
                    self.network,
                    self._widened(derive(seed, "items", turn)),
                    some,
                    derive(seed, "profiles", turn),
                )
                for turn, some in enumerate(np.array_split(rows, self.config.drawings))
                if len(some)
            ]
        positions = np.concatenate([np.empty(0, np.int64), *parts])
        users = np.repeat(np.arange(n), lengths)
        positions = positions[
            np.lexsort((positions >= len(self.items), users))
        ]  # the new ones last
        like, random = positions.copy(), rng(seed, "details")
        new = positions >= len(self.items)
        like[new] = np.searchsorted(
            self.details.item_ends,
            random.integers(0, self.details.item_ends[-1], new.sum()),
            side="right",
        )
        ids = np.concatenate([self.items.ids, self.content.new_ids])[positions]
        return build_interactions(
            self.name(), lengths, ids, self.details.draw(like, lengths, random)
        )

    @torch.no_grad()
    def _widened(self, seed: int) -> ItemDecoder:
        """The decoder with new items at places drawn for them."""
        if not len(self.content.new_ids):
            return self.decoder
        random = torch.Generator(self._device()).manual_seed(seed)
        content = torch.as_tensor(self.content.new, device=self._device())
        astray = self.config.spread * vector_gan.draw(self.item_network, content, random)
        places = self.whitening.restore(self.ridge.predict(content) + astray)
        bias = places[:, -1]
        bias = (
            bias
            + (self.decoder.bias.logsumexp(0) - np.log(len(self.items)))
            - (bias.logsumexp(0) - np.log(len(bias)))
        )
        return self.decoder.with_items(places[:, :-1], bias + float(np.log(self.config.boost)))

    def _new_item_network(self) -> VectorGenerator:
        width, condition = self.config.factors + 1, self.content.known.shape[1]
        return vector_gan.new_networks(self.config, width, condition, self._device(), self.seed)[0]

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
        self.whitening = Whitening.from_state(state, "items_", self._device())
        self.ridge = Ridge(torch.as_tensor(state["ridge"], device=self._device()))
        self.item_network = self._new_item_network()
        super()._restore(state)

    def _modules(self) -> dict[str, torch.nn.Module]:
        return {**super()._modules(), "item_network": self.item_network}
