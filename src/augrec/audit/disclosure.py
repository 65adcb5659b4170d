"""What the sample discloses about a user of whom an attacker knows a part."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import scipy.sparse as sp

from augrec.audit.config import AuditConfig
from augrec.audit.inputs import ProfileSets
from augrec.audit.membership import length_weights, resampled
from augrec.audit.nearest import nearest, some_rows
from augrec.core.seeds import rng
from augrec.data.attribute_labels import to_labels
from augrec.data.columns import Columns as C

_MIN_ITEMS = 4
_NAMES = (
    "item_disclosure",
    "item_disclosure_low",
    "item_disclosure_high",
    "item_disclosure_chance",
)


def item_disclosure(sets: ProfileSets, config: AuditConfig, seed: int) -> dict[str, float | None]:
    """How much better hidden items of members are guessed from the sample than hidden items of
    users that the generator was not trained on.

    The attacker knows a random half of a user's items, finds the synthetic profile nearest to that
    half and guesses that its other items are the user's too (the inference attack of Giomi et al.
    2023, arXiv 2211.10459). item_disclosure is (m - o) / (1 - o), with m and o the shares of right
    guesses for members and for non-members of similar profile lengths: 0 where membership discloses
    nothing, 1 where it discloses everything; with a bootstrap interval over users.
    item_disclosure_chance: o. None where there are no users of at least 4 items.
    """
    random = rng(seed, "hidden")
    sides = [_some(table, config, random) for table in (sets.members, sets.non_members)]
    if min(side.shape[0] for side in sides) < 2 or sets.synthetic.shape[0] == 0:
        return dict.fromkeys(_NAMES)
    weights = length_weights(*(np.diff(side.indptr) for side in sides))
    if not weights[0].any():
        return dict.fromkeys(_NAMES)
    right = [_guessed(side, sets.synthetic, random) for side in sides]
    return dict(zip(_NAMES, _excess(right, weights, config, seed), strict=True))


def attribute_disclosure(
    sets: ProfileSets,
    known: tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame],
    config: AuditConfig,
    seed: int,
) -> dict[str, Any]:
    """How much better attributes of members are guessed from the sample than those of users that
    the generator was not trained on.

    The attacker knows a user's items, finds the nearest synthetic profile and guesses that its
    attribute is the user's. attribute_disclosure is that of the worst attribute, its name
    attribute_disclosed; both as for `item_disclosure`. Numeric attributes of real users are put
    into the ranges that the sample's labels name.

    Args:
        sets: profiles.
        known: attributes of members and non-members as they are, and of synthetic users as
            `Generator.attributes` gives them, one row for each profile in its order; columns that
            not all three have are ignored.
        config, seed: settings, and the seed of what is drawn.
    """
    names = (
        "attribute_disclosure",
        "attribute_disclosure_low",
        "attribute_disclosure_high",
        "attribute_disclosure_chance",
    )
    empty: dict[str, Any] = {**dict.fromkeys(names), "attribute_disclosed": None}
    random = rng(seed, "attributes")
    tables = (sets.members, sets.non_members)
    if min(table.shape[0] for table in (*tables, sets.synthetic)) < 2:
        return empty
    rows = [some_rows(table.shape[0], config.max_users, random) for table in tables]
    sides = [table[picked] for table, picked in zip(tables, rows, strict=True)]
    weights = length_weights(*(np.diff(side.indptr) for side in sides))
    if not weights[0].any():
        return empty
    places = [nearest(side, sets.synthetic)[1] for side in sides]
    worst = empty
    for name in known[0].columns:
        codes = _codes([table[name] for table in known if name in table.columns])
        if name == C.USER or codes is None:
            continue
        right = [
            (codes[at][rows[at]] == codes[2][places[at]]).astype(np.float64) for at in range(2)
        ]
        found = dict(zip(names, _excess(right, weights, config, seed), strict=True))
        if worst[names[0]] is None or found[names[0]] > worst[names[0]]:
            worst = {**found, "attribute_disclosed": name}
    return worst


def _some(table: sp.csr_matrix, config: AuditConfig, random: np.random.Generator) -> sp.csr_matrix:
    long = table[np.diff(table.indptr) >= _MIN_ITEMS]
    return long[some_rows(long.shape[0], config.max_users, random)]


def _guessed(
    profiles: sp.csr_matrix, synthetic: sp.csr_matrix, random: np.random.Generator
) -> np.ndarray:
    """The share of right guesses for each profile, float64 (n,); 0 where nothing was guessed."""
    rows = np.repeat(np.arange(profiles.shape[0]), np.diff(profiles.indptr))
    order = np.lexsort((random.random(len(rows)), rows))
    place = np.arange(len(rows)) - np.repeat(profiles.indptr[:-1], np.diff(profiles.indptr))
    is_known = np.empty(len(rows), bool)
    is_known[order] = place < np.repeat(np.diff(profiles.indptr) // 2, np.diff(profiles.indptr))
    known, hidden = (
        sp.csr_matrix(
            (np.ones(part.sum(), np.float32), (rows[part], profiles.indices[part])),
            shape=profiles.shape,
        )
        for part in (is_known, ~is_known)
    )
    _, position = nearest(known, synthetic)
    twins = synthetic[position]
    guessed = np.diff(twins.indptr) - np.asarray(twins.multiply(known).sum(axis=1)).ravel()
    right = np.asarray(twins.multiply(hidden).sum(axis=1)).ravel()
    return right / np.maximum(guessed, 1)


def _excess(
    right: list[np.ndarray],
    weights: tuple[np.ndarray, np.ndarray],
    config: AuditConfig,
    seed: int,
) -> tuple[float, float, float, float]:
    """(m - o) / (1 - o) with its interval, and o."""
    drawn = resampled(weights, config.bootstrap_samples, seed)
    means = [part @ values for part, values in zip(drawn, right, strict=True)]
    tails = [(1 - config.confidence) / 2, (1 + config.confidence) / 2]
    low, high = np.quantile((means[0] - means[1]) / np.maximum(1 - means[1], 1e-12), tails)
    m, o = (float(part @ values) for part, values in zip(weights, right, strict=True))
    return (m - o) / max(1 - o, 1e-12), float(low), float(high), o


def _codes(columns: list[pl.Series]) -> list[np.ndarray] | None:
    """The values of three columns as numbers that mean the same in each; None where there is
    nothing to compare."""
    if len(columns) < 3:
        return None
    made = columns[2].dtype
    labels = made.categories.to_list() if isinstance(made, pl.Enum) else []
    together = pl.concat([to_labels(column.rename(""), labels) for column in columns])
    codes = np.unique(together.to_numpy().astype(str), return_inverse=True)[1]
    return (
        np.split(codes, np.cumsum([len(column) for column in columns])[:-1])
        if codes.any()
        else None
    )
