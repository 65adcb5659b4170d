"""MMoE: a deep multi-task recommender, from features, attributes and histories to clicks, purchases
and ratings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import astuple
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
import polars as pl
import torch
from pydantic import Field, NonNegativeFloat

from augrec.core.data_shape import DataShape
from augrec.core.errors import ConfigError
from augrec.data.columns import Columns as C
from augrec.data.histories import Histories
from augrec.data.training_data import TrainingData
from augrec.nn.arrays import with_column
from augrec.nn.membership import MembershipConfig
from augrec.nn.negatives import NegativesConfig, negatives
from augrec.nn.pairs import History
from augrec.recommenders._explain import POPULAR, Background, leave_columns_out
from augrec.recommenders._heads import Head
from augrec.recommenders._mmoe.disclosure import Disclosure
from augrec.recommenders._mmoe.experts import Columns, Features, Towers
from augrec.recommenders._mmoe.features import Encoded, Encoder, known_items, known_rows
from augrec.recommenders._mmoe.multitask import Balance, Examples, Losses
from augrec.recommenders._mmoe.outcomes import Outcomes, Scale
from augrec.recommenders._neural.base import NeuralConfig, NeuralRecommender

_HEAD_KEYS = ("name", "event", "kind")
_ITEMS_AT_ONCE = 8192
_CELLS = 2**22
"""At most this number of floats is gathered at once to predict for pairs: 16 MiB."""


class MmoeConfig(NegativesConfig, MembershipConfig, NeuralConfig):
    """The towers, the losses of the heads, and how heads make a ranking."""

    factors: int = Field(64, ge=1)
    """Length of the vectors of items and users."""
    experts: int = Field(4, ge=1)
    """Experts in each tower, shared by all heads."""
    hidden: int = Field(32, ge=1)
    """Width inside an expert."""
    history_exponent: float = Field(0.5, ge=0, le=1)
    """A history of n items is the sum of its vectors divided by n to this power; 1: their mean."""
    text_factors: int = Field(8, ge=1)
    """Length of the vector of a text attribute's value."""
    max_values: int = Field(32, ge=1)
    """The number of values of a text attribute that are distinguished, the most frequent ones …"""
    min_users: int = Field(10, ge=1)
    """… among those that at least this number of training users have; all others count as
    unknown."""
    dropout: float = Field(0.5, ge=0, lt=1)
    """Share of a tower's inputs hidden while training."""
    unknown: float = Field(0.1, ge=0, lt=1)
    """Chance that a feature or attribute, and that all of them, are hidden while training."""
    truncate: float = Field(0.5, ge=0, le=1)
    """Share of the training histories cut to at most 5 items: what a cold user looks like."""
    negatives: int = Field(256, ge=1)
    """Items drawn in each step, for all users of the batch."""
    negative_weight: float = Field(10.0, gt=0)
    """Weight of the drawn items for each positive: the larger, the more the top of the ranking
    counts."""
    balance: Literal["fixed", "uncertainty"] = "fixed"
    """Heads' losses are weighted by `loss_weights`, or besides by learnt uncertainty."""
    loss_weights: dict[str, NonNegativeFloat] = Field(default_factory=dict)
    """Weight of a head's loss, by its name, 1 where it is not named; times the share of the
    interactions that it is about, so that a purchase counts like a view, and rare events do not
    rule what all heads share."""
    score_weights: dict[str, NonNegativeFloat] = Field(default_factory=lambda: {"rating": 0.0})
    """Weight of a head in the ranking, by its name; 1 where it is not named."""
    learning_rate: float = Field(2e-3, gt=0)
    """Of Adam."""
    weight_decay: float = Field(0.0, ge=0)
    """Decoupled, as in AdamW; not on biases."""
    batch_size: int = Field(128, ge=1)
    """Users in a step, each at a moment of their history."""
    positives: int = Field(16, ge=1)
    """Later interactions drawn for each of them."""

    passes: ClassVar[int] = 10

    def share_read(self, shape: DataShape) -> float:
        """A step reads some interactions of each of its users."""
        return shape.share_read(self.batch_size, self.positives)


class Mmoe(NeuralRecommender):
    """Two towers with multi-gate mixtures of experts (Ma, Zhao, Yi, Chen, Hong, Chi 2018), a head
    for each kind of event.

    A user is a history, Feast's features of the moment and attributes; an item is a vector and its
    latest features in the training set, those it is ranked with later, too. Whatever is missing,
    NaN included, is flagged as such, and training hides things at random, so the model works with
    any part of it: a user without a history is ranked by attributes, one without attributes by the
        history, and one without either by popularity.

    Experts over pairs of user and item would cost users × items passes through a network. Here
    experts and gates lie in each tower, and a head is the product of a user's vector with an
    item's: a catalogue is scored by one matrix product, with the items' vectors computed once. The
    logits are those of `augrec.recommenders._mmoe.experts.Towers`.

    Heads (`augrec.recommenders._heads`): a probability for each kind of event in the data, outcomes
    included (what was viewed and then bought counts for both, see `augrec.data.outcomes`), by
    logistic loss of later interactions against all items alike, of which some are drawn, and the
    value of ratings, by squared error. A ranking adds the heads up by `score_weights`: log-odds of
    the probabilities (so odds are multiplied) and standardised ratings. With balance "uncertainty"
    head t's loss L_t counts exp(-s_t) L_t + s_t / 2 with s_t learnt (Kendall, Gal, Cipolla 2018).

    Training sees users as evaluation does, at a moment: what came before is the history, what comes
    later is wanted. Memory grows with training rows × features. With a `membership_weight` it is
    trained against a membership attack as well (`augrec.nn.membership.MembershipAdversary`).
    """

    Config = MmoeConfig
    scores_cold_users = True
    reads_features = True
    architecture = ("factors", "experts", "hidden", "text_factors")
    search_space: ClassVar = {
        "learning_rate": {"low": 0.0005, "high": 0.01, "log": True},
        "weight_decay": [0.0, 0.01, 0.1],
        "dropout": {"low": 0.05, "high": 0.5},
        "adversarial_epsilon": [0.0, 0.1, 0.3],
    }
    regularisation: ClassVar = {"weight_decay": [0.1]}

    heads: tuple[Head, ...]
    _scale: Scale
    _users: Encoder
    _of_items: Encoder

    def _fit(self, data: TrainingData) -> None:
        order = [C.USER] + [C.TIMESTAMP] * (C.TIMESTAMP in data.learnt.columns)
        table = data.learnt.sort(order, maintain_order=True)  # row by row the entries of histories
        previous = data.previous if isinstance(data.previous, Mmoe) else None
        like = (previous.heads, previous._scale) if previous else None
        histories, outcomes = data.histories, Outcomes.of(table, like=like)
        rows, items = known_rows(table, histories), known_items(table, self.items.ids)
        if previous:  # its weights mean nothing but with its encoders
            self._users, self._of_items = previous._users, previous._of_items
        else:
            options = {"max_values": self.config.max_values}
            users = pl.DataFrame() if histories.user_features is None else histories.user_features
            self._users = Encoder.fit(rows, min_rows=self.config.min_users, texts=users, **options)
            self._of_items = Encoder.fit(items, min_rows=1, **options)
        self.heads, self._scale = outcomes.heads, outcomes.scale
        self._check_weights()
        self._known_items = self._of_items.encode(items, len(self.items))
        if previous:  # items that the recent rows do not touch
            places = previous.items.encode(pl.Series(self.items.ids, dtype=pl.String))
            self._known_items = self._known_items.filled(previous._known_items, places)
        known = Features.of(self._users.encode(rows, len(histories.items)), self._device)
        self._train(data, Examples(histories, outcomes, known))

    def _initialise(self, data: Examples) -> None:
        histories, outcomes = data.histories, data.outcomes
        self._network.start_at(outcomes.start(histories.items, histories.weights, len(self.items)))

    def _descend(self, data: Examples) -> Iterator[torch.Tensor]:
        config, device = self.config, self._device
        items, disclosure = Features.of(self._known_items, device), None
        if config.membership_weight:
            heads = torch.tensor(self._score_weights(), device=device)
            disclosure = Disclosure(
                config, self._network, data, items, heads, config.batch_size, self.seed
            )
            data = disclosure.members
        sampler = negatives(config, self.popularity, device)
        losses = Losses(self._network, data, items, config.negative_weight, sampler)
        named = [config.loss_weights.get(head.name, 1.0) for head in self.heads]
        shares = data.outcomes.shares(data.histories.weights)
        weights = torch.tensor(named) * torch.from_numpy(shares)
        balance = Balance(weights, learnt=config.balance == "uncertainty").to(self._network.where)
        optimiser = self._optimiser(balance)
        adversary = self._adversary(self._network.lookup, softmax=False)
        for _ in range(config.steps):
            batch = losses.draw(
                config.batch_size, config.positives, config.negatives, config.truncate
            )
            loss, logged = adversary.loss(partial(losses.on, batch, balance))
            if disclosure is not None:
                loss = disclosure.penalised(loss)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.learn()
            yield logged

    def _losses(self) -> Sequence[str]:
        return ["loss", *(f"loss_{head.name}" for head in self.heads)]

    def _optimiser(self, balance: Balance) -> torch.optim.Optimizer:
        biases = [self._network.bias, *balance.parameters()]
        rest = [each for each in self._network.parameters() if each is not self._network.bias]
        groups: list[dict[str, Any]] = [{"params": rest}, {"params": biases, "weight_decay": 0.0}]
        return torch.optim.AdamW(
            groups, lr=self.config.learning_rate, weight_decay=self.config.weight_decay, fused=True
        )

    @torch.inference_mode()
    def _settle(self) -> None:
        """Compute the items' vectors and biases, (n_items, heads, factors) and (n_items, heads),
        for these weights."""
        where = self._network.where
        known = Features.of(self._known_items, where)
        parts = [
            self._network.items(items, known.rows(items))
            for items in torch.arange(len(self.items), device=where).split(_ITEMS_AT_ONCE)
        ]
        self._offered = torch.cat([vectors for vectors, _ in parts])
        self._bias = torch.cat([bias for _, bias in parts])

    @torch.inference_mode()
    def _wanted(self, histories: Histories) -> tuple[torch.Tensor, torch.Tensor]:
        """Users' vectors (B, heads, factors) and biases (B, heads)."""
        where = self._network.where
        known = Features.of(self._users.encode(histories.user_features, len(histories)), where)
        return self._network.users(History.of(histories.matrix(), where), known)

    def score(self, histories: Histories) -> np.ndarray:
        """As for every recommender; users without history, attributes and features get the
        popularity."""
        table = super().score(histories)
        table[self._unknown(histories)] = self.popularity
        return table

    def background(self, histories: Histories, targets: np.ndarray) -> Background:
        """What the score loses without each feature and attribute; for users without any of them
        and without a history, the popularity."""
        unknown = self._unknown(histories)[:, None]
        lost = leave_columns_out(
            self._scores,
            histories,
            targets,
            [*self._users.numbers.tolist(), *self._users.texts.tolist()],
        )
        return {
            POPULAR: np.where(unknown, self.popularity[targets], np.float32(0)),
            **{name: np.where(unknown, np.float32(0), share) for name, share in lost.items()},
        }

    def _unknown(self, histories: Histories) -> np.ndarray:
        """Users without a history, attributes and features, bool (n,)."""
        unknown = histories.lengths == 0
        cold = np.flatnonzero(unknown)
        unknown[cold] = self._users.encode(histories.take(cold).user_features, len(cold)).empty
        return unknown

    @torch.inference_mode()
    def _scores(self, histories: Histories) -> np.ndarray:
        vectors, weights = self._weighted(histories)
        return (vectors @ self._offered.flatten(1).T + self._bias @ weights).cpu().numpy()

    @torch.inference_mode()
    def _weighted(self, histories: Histories) -> tuple[torch.Tensor, torch.Tensor]:
        """Users' vectors, each head's by its weight (B, heads × factors), and the weights
        (heads,)."""
        vectors, _ = self._wanted(histories)
        weights = torch.tensor(self._score_weights(), device=vectors.device)
        return (vectors * weights[:, None]).flatten(1), weights

    @torch.inference_mode()
    def item_factors(self) -> np.ndarray:
        """The items' vectors of all heads, and their weighted biases."""
        weights = torch.tensor(self._score_weights(), device=self._bias.device)
        return with_column(self._offered.flatten(1), self._bias @ weights)

    @torch.inference_mode()
    def user_factors(self, histories: Histories) -> np.ndarray:
        """The users' weighted vectors, and a one."""
        vectors, _ = self._weighted(histories)
        return with_column(vectors, vectors.new_ones(len(vectors)))

    @torch.inference_mode()
    def predict_events(self, histories: Histories, items: np.ndarray) -> dict[str, np.ndarray]:
        """The prediction of every head for the pairs; see `augrec.recommenders._heads.HasHeads`."""
        size = max(1, _CELLS // max(1, items.shape[1] * self.config.factors))
        found = np.zeros((len(self.heads), *items.shape), np.float32)
        for number, batch in enumerate(histories.batches(size)):
            rows = slice(number * size, number * size + len(batch))
            vectors, ease = self._wanted(batch)
            asked = torch.from_numpy(items[rows].astype(np.int64)).to(vectors.device)
            for t, head in enumerate(self.heads):
                logit = torch.einsum("bf,bmf->bm", vectors[:, t], self._offered[:, t][asked])
                logit += self._bias[:, t][asked] + ease[:, t, None]
                value = logit if head.kind == "value" else torch.sigmoid(logit)
                found[t, rows] = value.cpu().numpy()
        return {
            head.name: self._scale.to_values(found[t]) if head.kind == "value" else found[t]
            for t, head in enumerate(self.heads)
        }

    def _score_weights(self) -> list[float]:
        return [self.config.score_weights.get(head.name, 1.0) for head in self.heads]

    def _check_weights(self) -> None:
        for key, named in (
            ("loss_weights", self.config.loss_weights),
            ("score_weights", self.config.score_weights),
        ):
            if not any(named.get(head.name, 1.0) for head in self.heads):
                raise ConfigError(
                    "every head of this data has the weight 0",
                    where=f"params.yaml, recommenders.mmoe.{key}",
                    fix=f"give one of {', '.join(head.name for head in self.heads)} a weight",
                )

    def _build(self) -> Towers:
        config = self.config
        options = (config.text_factors, config.unknown)
        return Towers(
            len(self.items),
            len(self.heads),
            Columns(self._users.widths.tolist(), self._users.sizes, *options),
            Columns(self._of_items.widths.tolist(), self._of_items.sizes, *options),
            factors=config.factors,
            hidden=config.hidden,
            experts=config.experts,
            exponent=config.history_exponent,
            dropout=config.dropout,
        )

    def describe(self) -> dict[str, int]:
        """Size, steps taken, the step whose weights were kept, and the number of heads."""
        return super().describe() | {"heads": len(self.heads)}

    def _model_state(self) -> dict[str, np.ndarray]:
        heads = {
            f"head_{key}": np.array([getattr(head, key) for head in self.heads])
            for key in _HEAD_KEYS
        }
        known = {
            f"known_{key}": getattr(self._known_items, key) for key in Encoded.__dataclass_fields__
        }
        return {
            **super()._model_state(),
            **heads,
            **known,
            **self._users.state("users_"),
            **self._of_items.state("items_"),
            "scale": np.array(astuple(self._scale)),
        }

    def _restore_model(self, state: dict[str, np.ndarray]) -> None:
        self._scale = Scale(*state.pop("scale").tolist())
        self._users, self._of_items = (
            Encoder.restore(state, "users_"),
            Encoder.restore(state, "items_"),
        )
        self._known_items = Encoded(
            *(state.pop(f"known_{key}") for key in Encoded.__dataclass_fields__)
        )
        named = [state.pop(f"head_{key}").tolist() for key in _HEAD_KEYS]
        self.heads = tuple(Head(*head) for head in zip(*named, strict=True))
        super()._restore_model(state)
