"""Adds users of a sample: a generator's, a placebo's, or several samples at once."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from math import ceil
from typing import Any

import numpy as np
import polars as pl
from pydantic import Field, model_validator

from augrec.augmentation._selectors import base as selectors
from augrec.augmentation._users import NUMBER, append_users, users_to_add
from augrec.augmentation.base import KINDS, Operation, PolicyInputs
from augrec.core import component
from augrec.core.config import BaseConfig
from augrec.core.errors import ConfigError
from augrec.core.seeds import derive, rng
from augrec.data.columns import INTERACTIONS, REAL, require
from augrec.data.columns import Columns as C

_logger = logging.getLogger(__name__)


class MixConfig(BaseConfig):
    """Which samples, how many users, which of them, and at what weight."""

    sample: str | None = None
    """A generator, or an operation that makes users: popularity_random, crossover, bootstrap, …"""
    samples: dict[str, float] = {}
    """Or several, each with its share of the added users."""
    options: dict[str, dict[str, Any]] = {}
    """Options of the operations among them, by name; `ratio` is the mix's."""
    ratio: float = Field(1.0, ge=0.0)
    """Users added for each real one."""
    weight: float = Field(1.0, ge=0.0)
    """Weight of their rows where a real row has 1; at 0 nothing is added."""
    choose: list[dict[str, dict[str, Any] | None]] = []
    """Selectors that decide which users are taken; empty: the first ones. Values of several are
    multiplied."""
    weigh: list[dict[str, dict[str, Any] | None]] = []
    """Selectors whose values weight users, `weight` on average; empty: all alike."""
    pool: float | None = Field(None, gt=0.0)
    """Choose among this many users for each real one; null: all users of the sample, and of an
    operation's users 1 or `ratio`, whichever is more."""

    @model_validator(mode="after")
    def _names_a_sample(self) -> MixConfig:
        if (self.sample is None) == (not self.samples):
            raise ValueError("name either one `sample`, or several `samples` with their shares")
        if any(share < 0 for share in self.samples.values()) or (
            self.samples and not sum(self.samples.values()) > 0
        ):
            raise ValueError("shares of `samples` must not be negative, nor all 0")
        if unused := set(self.options) - set(self.samples or {self.sample}):
            raise ValueError(f"`options` are given to {', '.join(sorted(unused))}, no sample here")
        return self


class Mix(Operation):
    """Adds users of one sample or of several.

    Without `choose` the first users of a sample are taken. Otherwise users are drawn without
    replacement in proportion to the product of the selectors' values (Efraimidis & Spirakis 2006).
    More users than there are to choose from are refused, unless `inputs.short_samples`: with fewer,
    the comparison with a placebo would not be equal. An operation's users are chosen and weighed
    just like a generator's, so that each generated policy can have a placebo of its own.
    """

    Config = MixConfig

    def __init__(
        self, config: BaseConfig | Mapping[str, Any] | None = None, *, seed: int = 0
    ) -> None:
        super().__init__(config, seed=seed)
        made = {name: self._maker(name, 1.0) for name in self.shares}
        self.generators = tuple(
            dict.fromkeys(
                generator
                for name, maker in made.items()
                for generator in (maker.generators if maker else (name,))
            )
        )
        kinds = (maker.kind if maker else "generated" for maker in made.values())
        self.kind = max(kinds, key=KINDS.index)
        self.adds_no_real_users = all(
            maker is None or maker.adds_no_real_users for maker in made.values()
        )
        self._choose = selectors.build(self.config.choose, seed=seed, where="mix.choose")
        self._weigh = selectors.build(self.config.weigh, seed=seed, where="mix.weigh")

    @property
    def shares(self) -> dict[str, float]:
        """Each sample's share of the added users."""
        named = self.config.samples or {self.config.sample: 1.0}
        return {name: share / sum(named.values()) for name, share in named.items() if share > 0}

    def apply(self, training: pl.DataFrame, inputs: PolicyInputs) -> pl.DataFrame:
        """Append the users, sample after sample.

        Raises:
            ConfigError: there are fewer users to choose from than are asked for, or a selector
                lacks what it needs.
            InputError: a sample is not canonical.
        """
        n = users_to_add(self.config.ratio, training, inputs) if self.config.weight > 0 else 0
        for (name, share), many in zip(
            self.shares.items(), _whole(n, list(self.shares.values())), strict=True
        ):
            if many:
                training = append_users(training, self._draw(name, share, many, inputs), name)
        return training

    def _draw(self, name: str, share: float, n: int, inputs: PolicyInputs) -> pl.DataFrame:
        """Rows of n users of one sample, numbered from 0."""
        n_real = inputs.real[C.USER].n_unique()
        rows, origin = self._sample(name, share, inputs), f"the sample of {name}"
        require(rows, INTERACTIONS, where=origin)
        rows = rows.sort(C.USER, C.TIMESTAMP, maintain_order=True).with_columns(
            pl.col(C.USER).rle_id().alias(NUMBER)
        )
        held = rows[C.USER].n_unique()
        if self.config.pool is not None:
            held = min(held, ceil(self.config.pool * share * n_real))
            rows = rows.filter(pl.col(NUMBER) < held)
        if n > held and inputs.short_samples:
            n = held
        if n > held:
            raise ConfigError(
                f"the policy asks for {n} users of {name}, its sample holds {held}",
                where="params.yaml, mix.ratio",
                fix="raise synthesis.ratio (or mix.pool) to at least mix.ratio, or lower mix.ratio",
            )
        chosen, weights = np.arange(n), np.ones(n)
        if n and (self._choose or self._weigh):
            pool = selectors.Pool(
                name,
                rows,
                inputs.real,
                lambda table: inputs.sample_table(name, table),
                inputs.tastes,
            )
            if self._choose:
                chosen = self._chosen(pool, n)
            if self._weigh:
                weights = _on_average_one(selectors.product(self._weigh, pool)[chosen])
        picked = pl.DataFrame(
            {
                NUMBER: chosen,
                "to": np.arange(n),
                "times": (self.config.weight * weights).astype(np.float32),
            },
            schema_overrides={NUMBER: rows.schema[NUMBER]},
        )
        taken = rows.join(picked, on=NUMBER, how="inner", maintain_order="left")
        taken = taken.with_columns(pl.col(C.WEIGHT) * pl.col("times"))
        return taken.drop(NUMBER, "times").rename({"to": NUMBER})

    def _sample(self, name: str, share: float, inputs: PolicyInputs) -> pl.DataFrame:
        n_real = inputs.real[C.USER].n_unique()
        many = ceil((self.config.pool or max(1.0, self.config.ratio)) * share * n_real)
        maker = self._maker(name, many / n_real)
        if maker is None:
            return inputs.sample(name)
        made = maker.apply(inputs.real, replace(inputs, max_ratio=many + 1))
        return made.filter(pl.col(C.ORIGIN) != REAL)

    def _maker(self, name: str, ratio: float) -> Operation | None:
        """The operation of that name that makes users; None: the name is a generator's."""
        if name not in component.available("augrec.augmentation"):
            return None
        kind = component.find("augrec.augmentation", name, Operation)  # type: ignore[type-abstract]
        if not kind.makes_users:
            raise ConfigError(
                f"{name} makes no users of its own",
                where="params.yaml, mix.sample",
                fix="name a generator, or an operation such as bootstrap or popularity_random",
            )
        config = {**self.config.options.get(name, {}), "ratio": ratio}
        return kind(config, seed=derive(self.seed, name))

    def _chosen(self, pool: selectors.Pool, n: int) -> np.ndarray:
        """Numbers of n users, int64, ascending."""
        chances = selectors.product(self._choose, pool)
        if (left := int((chances > 0).sum())) < n:
            raise ConfigError(
                f"the policy asks for {n} users of {pool.name}; `choose` leaves {left} of "
                f"{len(chances)}",
                where="params.yaml, mix.choose",
                fix="raise synthesis.ratio (or mix.pool), lower mix.ratio, or let the selectors "
                "leave more",
            )
        if left == n:
            _logger.warning(
                "%s: all %d users that `choose` leaves are needed, so it selects none out",
                pool.name,
                n,
            )
        with np.errstate(divide="ignore"):
            keys = np.log(chances) + rng(self.seed, "choose", pool.name).gumbel(size=len(chances))
        return np.sort(np.argsort(-keys, kind="stable")[:n])


def _whole(n: int, shares: list[float]) -> list[int]:
    """n in parts as near to the shares as whole numbers allow (largest remainders)."""
    exact = n * np.array(shares)
    parts = np.floor(exact + 1e-9).astype(int)
    for place in np.argsort(parts - exact, kind="stable")[: n - parts.sum()]:
        parts[place] += 1
    return parts.tolist()


def _on_average_one(values: np.ndarray) -> np.ndarray:
    """Scaled to a mean of 1; ones where all are 0."""
    return values / values.mean() if values.sum() > 0 else np.ones(len(values))
