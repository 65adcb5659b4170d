"""From validated events to positives: who showed interest in what, when for the first time, and
what came of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import polars as pl

from augrec.core.errors import InputError
from augrec.data.columns import INTERACTIONS, require
from augrec.data.columns import Columns as C

log = logging.getLogger(__name__)

ORDER = (C.USER, C.TIMESTAMP, C.ITEM)
"""How clean interactions are sorted; the item breaks ties in time, so that the order never depends
on the source's."""


def clean(
    interactions: pl.DataFrame,
    positive: Mapping[str, float | None],
    *,
    min_item_interactions: int = 1,
) -> pl.DataFrame:
    """Keep each user's first positive interaction with each item.

    Args:
        interactions: canonical interactions.
        positive: event -> the smallest value that counts as interest; None: any value counts, a
            missing one too. Events that are not listed are no sign of interest.
        min_item_interactions: items that fewer users touched are left out. The count is taken once:
            users who lose interactions by this do not take further items down.

    Returns:
        Canonical interactions, one row for each user and item, sorted by `ORDER`.

    Raises:
        InputError: columns or ids are missing, or nothing is left.
    """
    require(interactions, INTERACTIONS, where="interactions to clean")
    _require_known(interactions)
    kept = _firsts(interactions, positive, [C.USER, C.ITEM])
    if min_item_interactions > 1:
        kept = kept.filter(pl.len().over(C.ITEM) >= min_item_interactions)
    if kept.is_empty():
        raise InputError(
            f"none of {len(interactions):,} interactions counts as interest",
            where=f"events found: {', '.join(sorted(interactions[C.EVENT].unique())) or 'none'}",
            fix="list your events under prepare.positive in params.yaml, or lower "
            "prepare.min_item_interactions",
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
        interactions: what `clean` was given, and `positive`.
        pairs: what `clean` gave: user_id, item_id; all others are left out.

    Returns:
        Canonical interactions, one row for each user, item and event, sorted by `ORDER`. The rows
        of `pairs` are among them, and no pair has an earlier one.
    """
    firsts = _firsts(interactions, positive, [C.USER, C.ITEM, C.EVENT])
    return firsts.join(pairs, on=[C.USER, C.ITEM], how="semi", maintain_order="left")


def _firsts(
    interactions: pl.DataFrame, positive: Mapping[str, float | None], key: list[str]
) -> pl.DataFrame:
    return (
        interactions.select(list(INTERACTIONS))
        .filter(_is_positive(positive))
        .sort([*ORDER, C.EVENT, C.VALUE])
        .unique(key, keep="first", maintain_order=True)
    )


def _is_positive(positive: Mapping[str, float | None]) -> pl.Expr:
    verdict = pl.lit(False)
    for event, least in positive.items():
        enough = pl.lit(True) if least is None else (pl.col(C.VALUE) >= least).fill_null(False)
        verdict = verdict | ((pl.col(C.EVENT) == event) & enough)
    return verdict


def _require_known(interactions: pl.DataFrame) -> None:
    needed = (C.USER, C.ITEM, C.EVENT, C.TIMESTAMP)
    holes = [
        f"{name} in {interactions[name].null_count():,} rows"
        for name in needed
        if interactions[name].null_count()
    ]
    if holes:
        raise InputError(
            f"missing values: {', '.join(holes)}",
            where="interactions to clean",
            fix="run the validate stage first: it quarantines such rows with the reason",
        )
