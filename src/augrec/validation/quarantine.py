"""Good rows and bad rows: nothing is dropped in silence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from augrec.validation.rules import Rule

REASON: Final = "reason"
"""Column of a judged table: why the row is bad, several reasons joined by "; "; null where it is
good."""


@dataclass(frozen=True)
class Verdict:
    """A table after its rules were applied.

    Attributes:
        judged: all rows, in their order, with `reason`.
        counts: reason -> bad rows that have it; those of no row are left out.
    """

    judged: pl.DataFrame
    counts: dict[str, int]

    @property
    def good(self) -> pl.DataFrame:
        """The rows without a reason, as they came."""
        return self.judged.filter(pl.col(REASON).is_null()).drop(REASON)

    @property
    def bad(self) -> pl.DataFrame:
        """The rows with a reason."""
        return self.judged.filter(pl.col(REASON).is_not_null())


def judge(table: pl.DataFrame, rules: Sequence[Rule]) -> Verdict:
    """Apply every rule to every row. Linear in the rows; a row can have several reasons.

    Of rows that must differ but do not, the first that is good otherwise stays.
    """
    names = [f"rule {n}" for n in range(len(rules))]
    masks = table.select(rule.flagged.alias(name) for name, rule in zip(names, rules, strict=True))
    own = [name for name, rule in zip(names, rules, strict=True) if not rule.repeats]
    spoiled = masks.select(
        pl.any_horizontal(own) if own else pl.lit(False).alias("spoiled")
    ).to_series()
    for name, rule in zip(names, rules, strict=True):
        if rule.repeats:
            groups = table.select(*rule.repeats, spoiled.alias("spoiled"))
            first = groups.select(pl.struct(pl.all()).is_first_distinct()).to_series()
            masks = masks.with_columns((pl.col(name) & ~(first & ~spoiled)).alias(name))
    words = [
        pl.when(pl.col(name)).then(pl.lit(rule.reason))
        for name, rule in zip(names, rules, strict=True)
    ]
    reason = masks.select(
        pl.concat_str(words, separator="; ", ignore_nulls=True).alias(REASON)
    ).to_series()
    totals = masks.sum().row(0)
    return Verdict(
        judged=table.with_columns(reason.replace("", None).alias(REASON)),
        counts={rule.reason: total for rule, total in zip(rules, totals, strict=True) if total},
    )
