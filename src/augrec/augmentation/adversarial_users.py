"""Real users whose profiles are moved towards what a model is worst at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import polars as pl
from pydantic import Field

from augrec.augmentation._recommender import trained
from augrec.augmentation._users import NUMBER, append_users, copy_users, each_in_turn, users_to_add
from augrec.augmentation.base import Kind, Operation, PolicyInputs
from augrec.core.config import BaseConfig
from augrec.core.errors import ConfigError
from augrec.core.seeds import rng
from augrec.data.columns import Columns as C
from augrec.data.histories import Histories, ItemIndex
from augrec.recommenders.base import Recommender

_AT_ONCE = 256
INPUT_ONLY = 0.01
"""Weight of a row that models should read and not learn to predict; at 0 it would count as
absent."""


class AdversarialUsersConfig(BaseConfig):
    """How many users, how far they are moved, and in which direction."""

    ratio: float = Field(1.0, ge=0.0)
    """Moved users for each real one."""
    epsilon: float = Field(0.1, gt=0.0, le=1.0)
    """Length of a move: the share of a user's items that are exchanged, at least one, and never all
    of them."""
    direction: Literal["loss", "random"] = "loss"
    """loss: where the loss of the model grows fastest; random: exchanges drawn evenly, the placebo
    of the same length."""
    recommender: dict[str, dict[str, Any] | None] = {"multvae": None}
    """The model that is attacked, one autoencoder (`multvae` or `recvae`) and its config; it is
    trained on the real rows. Not used where the direction is random."""


class AdversarialUsers(Operation):
    """Adds users whose input is moved against a model, while what they liked stays the target:
    adversarial training (Goodfellow, Shlens, Szegedy 2015) with discrete moves.

    The slope of the loss at each entry of the profile says what to exchange: the items that the
    model leans on most are hidden, and those of the catalogue that mislead it most take their
    place, with their event, value and time. Hidden items stay as targets that are no input; the
    others that came in are input, and as targets weigh `INPUT_ONLY`. Each user is taken equally
    often, give or take one; users with a single item are added as they are.
    """

    Config = AdversarialUsersConfig
    kind: Kind = "generated"
    makes_users = True

    def __init__(
        self, config: BaseConfig | Mapping[str, Any] | None = None, *, seed: int = 0
    ) -> None:
        super().__init__(config, seed=seed)
        if self.config.direction == "random":
            self.kind = "placebo"

    def apply(self, training: pl.DataFrame, inputs: PolicyInputs) -> pl.DataFrame:
        """Append the moved users.

        Raises:
            ConfigError: the recommender gives no slopes.
        """
        random, real = rng(self.seed, "users"), inputs.real
        n = users_to_add(self.config.ratio, training, inputs)
        distinct = real.unique([C.USER, C.ITEM], keep="first", maintain_order=True)
        if not n:
            return training
        chosen = each_in_turn(np.arange(distinct[C.USER].n_unique()), n, random)
        items = ItemIndex(real[C.ITEM])
        histories = Histories.from_interactions(distinct, items).take(chosen)
        exchanged = self._exchanges(histories, items, inputs, random)
        rows = copy_users(distinct, chosen).join(
            exchanged, on=[NUMBER, C.ITEM], how="left", maintain_order="left"
        )
        hidden = pl.col("instead").is_not_null()
        come_in = rows.filter(hidden).with_columns(
            pl.col("instead").alias(C.ITEM),
            (pl.col(C.WEIGHT) * INPUT_ONLY).alias(C.WEIGHT),
            pl.lit(True).alias(C.OBSERVED),
        )
        made = pl.concat([rows.with_columns((~hidden).alias(C.OBSERVED)), come_in])
        made = made.drop("instead").sort(NUMBER, C.TIMESTAMP, maintain_order=True)
        return append_users(training, made, self.name())

    def _exchanges(
        self,
        histories: Histories,
        items: ItemIndex,
        inputs: PolicyInputs,
        random: np.random.Generator,
    ) -> pl.DataFrame:
        """NUMBER, item_id, and `instead`, the item that takes its place."""
        model = None
        if self.config.direction == "loss":
            model = trained(self.config.recommender, inputs, seed=self.seed, where=self.name())
        numbers, out, into = [], [], []
        for start, batch in enumerate(histories.batches(_AT_ONCE)):
            held = batch.matrix().toarray() > 0  # (B, n_items)
            slopes = random.random(held.shape) if model is None else _slopes(model, batch)
            n = held.sum(1)
            many = np.clip(np.rint(self.config.epsilon * n), 1, n - 1).astype(np.int64)
            many = np.minimum(many, held.shape[1] - n)
            dropped = np.argsort(np.where(held, slopes, np.inf), axis=1, kind="stable")
            added = np.argsort(np.where(held, np.inf, -slopes), axis=1, kind="stable")
            first = np.arange(held.shape[1]) < many[:, None]
            numbers.append(np.repeat(np.arange(len(batch)) + start * _AT_ONCE, many))
            out.append(dropped[first])
            into.append(added[first])
        return pl.DataFrame(
            {
                NUMBER: np.concatenate(numbers),
                C.ITEM: items.decode(np.concatenate(out)).tolist(),
                "instead": items.decode(np.concatenate(into)).tolist(),
            },
            schema_overrides={C.ITEM: pl.String, "instead": pl.String},
        )


def _slopes(model: Recommender, histories: Histories) -> np.ndarray:
    """Float32 (n, n_items)."""
    slopes = model.profile_slopes(histories)
    if slopes is None:
        raise ConfigError(
            f"{model.name()} does not say how its loss depends on the items of a profile",
            where="params.yaml, adversarial_users.recommender",
            fix="name an autoencoder: multvae or recvae",
        )
    return slopes
