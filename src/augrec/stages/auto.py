"""What `auto` under `run` in params.yaml stands for: what suits the size of the data.

It is resolved when a run begins, from counts of data/raw, and the run's own params.yaml then holds
plain lists, so that its members are known before the first stage and a rebuild has the same.

* **Popularity** always takes part: nothing that is not better than it may serve.
* **Up to 5,000 items** a dense model of items × items (EASE) and an autoencoder over all items
  (MultVAE) are the strongest of the quick ones, and `profile_gan`, which draws whole profiles, sees
  enough users of each item. EASE's solve takes a time in proportion to items³, 10 seconds at 5,000
  and an hour at 33,000; the batches of the others grow with the catalogue.
* **With more items** each has few users. Then models that place items in a space of few dimensions,
  or count neighbours, learn more and cost time in proportion to the interactions: iALS, item-KNN,
  SASRec, and `latent_gan`, a GAN over iALS's vectors. `profile_gan` learns no more than popularity
  there.
* **With fewer than 100 users** a network has too few examples: item-KNN in place of MultVAE.

Policies are real data alone, the cheap policies that generated data must beat, and for each
generator the policy of its name. Where policies are named and generators are not, generators are
those that the policies use.

Whether a component can take the data at all is another question, which its class answers once the
data are prepared: see the stage `select`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl

from augrec.augmentation.base import Policy
from augrec.core.component import available
from augrec.core.config import AUTO, PARAMS, parse, section
from augrec.core.data_shape import DataShape
from augrec.core.errors import ConfigError, InputError
from augrec.core.policies import steps_of
from augrec.data.columns import Columns as C
from augrec.validation.config import WindowConfig

KEYS: Final = ("generators", "policies", "recommenders")
"""Those of `run` that may be `auto`."""
CHOSEN: Final = "run.chosen"
_DENSE_ITEMS = 5_000
_LEAST_USERS = 100
_WITHOUT_GENERATOR = ("none", "bootstrap", "popularity_random", "crossover", "truncation")


@dataclass(frozen=True)
class Choice:
    """What `auto` stands for in a run.

    Attributes:
        values: {"run.generators": names, …} for the keys that are `auto`; and `run.chosen`, the
            sentences; empty where none is.
        sentences: what was chosen and why, for the log and the report.
        shape: of the raw data; None where nothing is `auto`.
    """

    values: dict[str, Any]
    sentences: list[str]
    shape: DataShape | None = None


def choose(params: Mapping[str, Any], raw: Path) -> Choice:
    """Resolve `auto` for the raw data of a project.

    Args:
        params: params.yaml, with what a run overrides.
        raw: data/raw; read only where something is `auto`.

    Raises:
        InputError: there is no raw data to count.
        ConfigError: a generator that is named has no policy of its name.
    """
    run = section(params, "run")
    if not any(run.get(key) == AUTO for key in KEYS):
        return Choice({}, [])
    return suited(params, raw_shape(raw, section(params, "data.window")))


def suited(params: Mapping[str, Any], shape: DataShape) -> Choice:
    """Resolve `auto` for data of a size, see `choose`."""
    run, described = section(params, "run"), section(params, "policies")
    found = dict(run)
    if run.get("recommenders") == AUTO:
        found["recommenders"] = _recommenders(shape)
    if run.get("generators") == AUTO:
        named = run.get("policies")
        used = [] if named == AUTO else _used(named or [], described)
        found["generators"] = used or [_generator(shape)]
    if run.get("policies") == AUTO:
        found["policies"] = [*_WITHOUT_GENERATOR, *_policies(found["generators"], described)]
    size = (
        f"{shape.n_users:,} users, {shape.n_items:,} items and {shape.n_interactions:,} "
        "interactions"
    )
    reasons = {
        "recommenders": f"{size}: {_why(shape)}",
        "generators": size if run.get("policies") == AUTO else "the policies use them",
        "policies": "placebos, and each generator's own",
    }
    chosen = [key for key in KEYS if run.get(key) == AUTO]
    sentences = [f"auto chose {key} {', '.join(found[key])} ({reasons[key]})" for key in chosen]
    values = {f"run.{key}": found[key] for key in chosen}
    return Choice(values | {CHOSEN: sentences}, sentences, shape)


def raw_shape(raw: Path, window: Mapping[str, Any]) -> DataShape:
    """The number of users, items and interactions in data/raw, within the data window.

    Raises:
        InputError: there is no table of interactions.
    """
    file = raw / "interactions.parquet"
    if not file.exists():
        raise InputError(
            "there is no data to choose generators and recommenders by",
            where=str(file),
            fix="run `augrec data get ml-100k`, `augrec data simulate` or `augrec data import` "
            f"first; or name them under run in {PARAMS}",
        )
    bounds = parse(WindowConfig, window, "data.window")
    rows, time = pl.scan_parquet(file), pl.col(C.TIMESTAMP)
    if bounds.start is not None:
        rows = rows.filter(time >= bounds.start)
    if bounds.end is not None:
        rows = rows.filter(time < bounds.end)
    users, items, n = (
        rows.select(pl.col(C.USER).n_unique(), pl.col(C.ITEM).n_unique(), n=pl.len())
        .collect()
        .row(0)
    )
    return DataShape(n_users=users, n_items=items, n_interactions=n)


def _recommenders(shape: DataShape) -> list[str]:
    if shape.n_items > _DENSE_ITEMS:
        return ["popularity", "ials", "item_knn", "sasrec"]
    if shape.n_users < _LEAST_USERS:
        return ["popularity", "item_knn", "ease"]
    return ["popularity", "ease", "multvae"]


def _generator(shape: DataShape) -> str:
    return "latent_gan" if shape.n_items > _DENSE_ITEMS else "profile_gan"


def _why(shape: DataShape) -> str:
    if shape.n_items > _DENSE_ITEMS:
        return f"above {_DENSE_ITEMS:,} items, models whose cost grows with the interactions"
    if shape.n_users < _LEAST_USERS:
        return f"below {_LEAST_USERS} users, no networks"
    return f"up to {_DENSE_ITEMS:,} items, models over the whole catalogue"


def _used(names: Sequence[str], described: Mapping[str, Any]) -> list[str]:
    """The generators that policies use, in their order; one that does not exist is refused when the
    run is planned."""
    policies = [Policy(name, steps_of(described.get(name)), seed=0) for name in names]
    return list(dict.fromkeys(one for policy in policies for one in policy.generators))


def _policies(generators: Sequence[str], described: Mapping[str, Any]) -> list[str]:
    known = [name for name in generators if name in available("augrec.generators")]
    for name in known:
        if name not in described:
            raise ConfigError(
                f"auto takes the policy of each generator's name, and there is none called {name}",
                where=f"{PARAMS}, run.policies",
                fix=f"add `{name}: [mix: {{sample: {name}, ratio: 1.0}}]` under policies, or name "
                "the policies of the run",
            )
    return known
