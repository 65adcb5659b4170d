"""Separates valid from invalid rows; each invalid row keeps the reasons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from augrec.validation.rules import Rule

REASON: Final = "reason"
"""Column of a checked table: why the row is invalid, several reasons joined by "; "; null for valid
rows."""


@dataclass(frozen=True)
class CheckedTable:
    """A table after its rules were applied.

    Attributes:
        rows: all rows, in their order, with `reason`.
        counts: {reason: number of invalid rows}; reasons without rows are left out.
    """

    rows: pl.DataFrame
    counts: dict[str, int]

    @property
    def good(self) -> pl.DataFrame:
        """The valid rows, without the column `reason`."""
        return self.rows.filter(pl.col(REASON).is_null()).drop(REASON)

    @property
    def bad(self) -> pl.DataFrame:
        """The invalid rows, with their reasons."""
        return self.rows.filter(pl.col(REASON).is_not_null())


def apply_rules(table: pl.DataFrame, rules: Sequence[Rule]) -> CheckedTable:
    """Apply every rule to every row, in linear time; a row can have several reasons.

    Of rows that must differ but do not, the first one that no other rule flags is kept.
    """
    names = [f"rule {n}" for n in range(len(rules))]
    masks = table.select(rule.flagged.alias(name) for name, rule in zip(names, rules, strict=True))
    own = [name for name, rule in zip(names, rules, strict=True) if not rule.repeats]
    invalid = masks.select(
        pl.any_horizontal(own) if own else pl.lit(False).alias("invalid")
    ).to_series()
    for name, rule in zip(names, rules, strict=True):
        if rule.repeats:
            groups = table.select(*rule.repeats, invalid.alias("invalid"))
            first = groups.select(pl.struct(pl.all()).is_first_distinct()).to_series()
            masks = masks.with_columns((pl.col(name) & ~(first & ~invalid)).alias(name))
    reasons = [
        pl.when(pl.col(name)).then(pl.lit(rule.reason))
        for name, rule in zip(names, rules, strict=True)
    ]
    reason = masks.select(
        pl.concat_str(reasons, separator="; ", ignore_nulls=True).alias(REASON)
    ).to_series()
    totals = masks.sum().row(0)
    return CheckedTable(
        rows=table.with_columns(reason.replace("", None).alias(REASON)),
        counts={rule.reason: total for rule, total in zip(rules, totals, strict=True) if total},
    )
