"""From validated events to positive interactions: the first one of each user with each item, and
the events that followed it."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import polars as pl

from augrec.core.errors import InputError
from augrec.data.columns import INTERACTIONS, require
from augrec.data.columns import Columns as C
from augrec.data.instants import in_order

log = logging.getLogger(__name__)


def clean(
    interactions: pl.DataFrame,
    positive: Mapping[str, float | None],
    *,
    min_item_interactions: int = 1,
) -> pl.DataFrame:
    """Keep each user's first positive interaction with each item.

    Args:
        interactions: canonical interactions.
        positive: event -> the smallest value that counts as interest; None: any value counts, also
            a missing one. Events that are not listed do not count.
        min_item_interactions: items with fewer users are left out. They are counted only once: the
            removal of an item does not lead to the removal of others.

    Returns:
        Canonical interactions, one row for each user and item, in the order of
        `augrec.data.instants.in_order`.

    Raises:
        InputError: columns or ids are missing, or nothing is left.
    """
    require(interactions, INTERACTIONS, where="interactions to clean")
    _require_no_nulls(interactions)
    kept = firsts(interactions, positive, [C.USER, C.ITEM])
    if min_item_interactions > 1:
        kept = kept.filter(pl.len().over(C.ITEM) >= min_item_interactions)
    if kept.is_empty():
        raise InputError(
            f"none of {len(interactions):,} interactions counts as interest",
            where=f"events found: {', '.join(sorted(interactions[C.EVENT].unique())) or 'none'}",
            fix="list those that count under prepare.positive in params.yaml, or give them other "
            "names with data.import.interactions.events, or lower prepare.min_item_interactions",
        )
    log.info(
        "%s events, %s positive interactions of distinct user and item",
        f"{len(interactions):,}",
        f"{len(kept):,}",
    )
    return kept


def first_events(
    interactions: pl.DataFrame, positive: Mapping[str, float | None], pairs: pl.DataFrame
) -> pl.DataFrame:
    """Each user's first positive event of each kind with each item: a click, and the purchase that
    followed it.

    Args:
        interactions, positive: as given to `clean`.
        pairs: user_id and item_id of the rows that `clean` returned; other pairs are left out.

    Returns:
        Canonical interactions, one row for each user, item and event, sorted as by `clean`. The
        first row of each pair is the one that `clean` returned.
    """
    kinds = firsts(interactions, positive, [C.USER, C.ITEM, C.EVENT])
    return kinds.join(pairs, on=[C.USER, C.ITEM], how="semi", maintain_order="left")


def firsts(
    interactions: pl.DataFrame, positive: Mapping[str, float | None], key: list[str]
) -> pl.DataFrame:
    """The first positive row of each `key`, in the order of `augrec.data.instants.in_order`."""
    rows = interactions.select(list(INTERACTIONS)).filter(_is_positive(positive))
    ordered = in_order(rows, C.EVENT, C.VALUE, C.ORIGIN, C.WEIGHT)
    return ordered.unique(key, keep="first", maintain_order=True)


def _is_positive(positive: Mapping[str, float | None]) -> pl.Expr:
    is_positive = pl.lit(False)
    for event, least in positive.items():
        enough = pl.lit(True) if least is None else (pl.col(C.VALUE) >= least).fill_null(False)
        is_positive = is_positive | ((pl.col(C.EVENT) == event) & enough)
    return is_positive


def _require_no_nulls(interactions: pl.DataFrame) -> None:
    missing = [
        f"{name} in {interactions[name].null_count():,} rows"
        for name in (C.USER, C.ITEM, C.EVENT, C.TIMESTAMP)
        if interactions[name].null_count()
    ]
    if missing:
        raise InputError(
            f"missing values: {', '.join(missing)}",
            where="interactions to clean",
            fix="run the stage `validate` first: it moves such rows to the quarantine",
        )
