"""Are rows with items without interactions plausible? There is no real row to compare them with,
but users' categories can be compared."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from augrec.audit.rows import categories_of
from augrec.data.columns import Columns as C


def new_item_fidelity(
    sample: pl.DataFrame, training: pl.DataFrame, new: Sequence[str], items: pl.DataFrame
) -> dict[str, float | None]:
    """Measures on the rows of a sample with new items, which are removed before anything else is
    measured.

    new_item_coverage: share of the new items in the sample. new_item_popularity: interactions of
    the mean new item over those of the mean known one, in the sample. new_category_match: of rows
    with new items, the share in a category that the user's known items have too;
    new_category_match_real: of real rows, the share in a category that the user's other items have
    too. None where no item has categories, or no row a new item.

    Args:
        sample: canonical interactions, those with new items among them.
        training: canonical interactions of the training users.
        new: ids of the new items.
        items: the items table.
    """
    is_new = pl.col(C.ITEM).is_in(list(new))
    rows, rest = sample.filter(is_new), sample.filter(~is_new)
    listed = categories_of(items)
    return {
        "new_item_coverage": rows[C.ITEM].n_unique() / len(new),
        "new_item_popularity": (len(rows) / len(new)) / (len(rest) / training[C.ITEM].n_unique()),
        "new_category_match": None if listed is None else _match(rows, rest, listed, least=1),
        "new_category_match_real": None
        if listed is None
        else _match(training, training, listed, least=2),
    }


def _match(
    rows: pl.DataFrame, others: pl.DataFrame, listed: pl.DataFrame, *, least: int
) -> float | None:
    """Of rows whose item has categories, the share with one that at least `least` items of the user
    in `others` have."""
    asked, known = (
        table.select(C.USER, C.ITEM)
        .unique(maintain_order=True)
        .join(listed, on=C.ITEM)
        .explode(C.CATEGORIES)
        for table in (rows, others)
    )
    if asked.is_empty():
        return None
    often = (
        known.group_by(C.USER, C.CATEGORIES)
        .agg(pl.col(C.ITEM).n_unique())
        .filter(pl.col(C.ITEM) >= least)
    )
    alike = asked.join(often, on=[C.USER, C.CATEGORIES], how="semi")
    return alike.select(C.USER, C.ITEM).n_unique() / asked.select(C.USER, C.ITEM).n_unique()
