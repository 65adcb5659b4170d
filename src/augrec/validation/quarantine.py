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
    def n_good(self) -> int:
        """The number of valid rows."""
        return self.rows[REASON].null_count()

    @property
    def bad(self) -> pl.DataFrame:
        """The invalid rows, with their reasons."""
        return self.rows.filter(pl.col(REASON).is_not_null())


def apply_rules(table: pl.DataFrame, rules: Sequence[Rule]) -> CheckedTable:
    """Apply every rule to every row, in linear time; a row can have several reasons.

    Of rows that must differ but do not, the first one that no other rule flags is kept.
    """
    names = [f"rule {n}" for n in range(len(rules))]
    named = list(zip(names, rules, strict=True))
    own = [name for name, rule in named if not rule.repeats]
    masks = table.select(rule.flagged.alias(name) for name, rule in named if not rule.repeats)
    invalid = masks.select(
        pl.any_horizontal(own) if own else pl.repeat(False, len(table)).alias("invalid")
    ).to_series()
    for name, rule in named:
        if rule.repeats:
            masks = masks.with_columns(_repeats(table, rule, invalid).alias(name))
    # words for invalid rows alone: a column of texts for each rule would be most of the memory
    places = masks.select(pl.any_horizontal(names)).to_series().arg_true()
    words = [pl.when(pl.col(name)).then(pl.lit(rule.reason)) for name, rule in named]
    found = masks[places].select(pl.concat_str(words, separator="; ", ignore_nulls=True))
    reason = pl.repeat(None, len(table), dtype=pl.String, eager=True)
    totals = masks.select(names).sum().row(0)
    return CheckedTable(
        rows=table.with_columns(reason.scatter(places, found.to_series()).alias(REASON)),
        counts={rule.reason: total for rule, total in zip(rules, totals, strict=True) if total},
    )


def _repeats(table: pl.DataFrame, rule: Rule, invalid: pl.Series) -> pl.Series:
    """The rows that the rule flags, but for the first valid one of each group of equal rows.

    Only rows that share a hash are compared in full: that takes 8 bytes for each other row.
    """
    hashes = table.select(pl.struct(rule.repeats).hash()).to_series()
    places = hashes.is_duplicated().arg_true()
    alike = table[places].with_columns(invalid[places].alias("invalid"))
    first = pl.struct(*rule.repeats, "invalid").is_first_distinct() & ~pl.col("invalid")
    flagged = alike.select(rule.flagged & ~first).to_series()
    return pl.repeat(False, len(table), eager=True).scatter(places, flagged)
