"""Validation of a large table in parts: how it is divided, and what its results are together.

Great Expectations works on pandas, which takes some 400 bytes for a row of interactions, so that a
table has to be shown to it in parts. The parts follow from a column: rows with the same value are
in the same one, so that what must be unique by that column is unique if it is so in every part.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import polars as pl

if TYPE_CHECKING:
    from great_expectations.core import (
        ExpectationSuiteValidationResult,
        ExpectationValidationResult,
    )

ROWS_AT_ONCE: Final = 2**20
"""Tables with at most this number of rows are validated whole."""
_SHOWN: Final = 20
"""Unexpected values that a result holds, as Great Expectations' format SUMMARY does."""


def parts(table: pl.DataFrame, by: str | None) -> Iterator[pl.DataFrame]:
    """The table itself if it is small or `by` is None; else parts of about `ROWS_AT_ONCE` rows, by
    the hash of that column."""
    number = -(-len(table) // ROWS_AT_ONCE)
    if by is None or number <= 1:
        yield table
        return
    part = table.select(pl.col(by).hash() % number).to_series()
    for n in range(number):
        yield table.filter(part == n)


def together(
    results: Sequence[ExpectationSuiteValidationResult],
) -> ExpectationSuiteValidationResult:
    """The result of a suite on a table from its results on all parts of it; changes the first.

    Counts are sums, and an expectation holds if it does for the sums. Of unexpected values the
    first ones are kept, part after part.

    Args:
        results: of the same suite; each expectation has a distinct `position` in its meta.
    """
    whole = results[0]
    if len(results) == 1:
        return whole
    others = [{_position(one): one for one in part.results} for part in results[1:]]
    for one in whole.results:
        _join(one, [part[_position(one)] for part in others])
    held = sum(bool(one.success) for one in whole.results)
    n = len(whole.results)
    whole.success = held == n
    whole.statistics = {
        "evaluated_expectations": n,
        "successful_expectations": held,
        "unsuccessful_expectations": n - held,
        "success_percent": 100 * held / n,
    }
    return whole


def _position(result: ExpectationValidationResult) -> int:
    assert result.expectation_config is not None
    return int(result.expectation_config.meta["position"])


def _join(
    whole: ExpectationValidationResult, others: Sequence[ExpectationValidationResult]
) -> None:
    assert whole.expectation_config is not None
    found, asked = [whole.result, *(one.result for one in others)], whole.expectation_config.kwargs
    observed = whole.result.get("observed_value")
    if "element_count" in whole.result:
        whole.result = _rows(found)
        checked = whole.result["element_count"] - whole.result.get("missing_count", 0)
        fulfilled = checked - whole.result["unexpected_count"]
        whole.success = not checked or fulfilled / checked >= asked.get("mostly", 1)
    elif isinstance(observed, int) and not isinstance(observed, bool):
        total = sum(one["observed_value"] for one in found)
        low, high = asked.get("min_value"), asked.get("max_value")
        whole.result["observed_value"] = total
        whole.success = (low is None or total >= low) and (high is None or total <= high)
    else:  # of types and names of columns, which all parts share
        whole.success = bool(whole.success) and all(one.success for one in others)
    whole.exception_info = next(
        (one.exception_info for one in [whole, *others] if _raised(one.exception_info)),
        whole.exception_info,
    )


def _rows(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Of an expectation on rows: counts as sums, shares of these, the first unexpected values."""
    total = {
        name: sum(one[name] for one in found)
        for name in ("element_count", "unexpected_count", "missing_count")
        if name in found[0]
    }
    n, unexpected = total["element_count"], total["unexpected_count"]
    present = n - total.get("missing_count", 0)
    of_present = 100 * unexpected / present if present else None
    values = [value for one in found for value in one["partial_unexpected_list"]][:_SHOWN]
    result = dict(found[0]) | total
    result |= {"unexpected_percent": of_present, "partial_unexpected_list": values}
    if "missing_count" in total:
        result["missing_percent"] = 100 * total["missing_count"] / n if n else None
        result["unexpected_percent_total"] = 100 * unexpected / n if n else None
        result["unexpected_percent_nonmissing"] = of_present
    plain = [tuple(value.values()) if isinstance(value, dict) else value for value in values]
    counts = sorted(Counter(plain).items(), key=lambda pair: (-pair[1], str(pair[0])))
    result["partial_unexpected_counts"] = [{"value": v, "count": count} for v, count in counts]
    result.pop("partial_unexpected_index_list", None)  # places within a part
    return result


def _raised(info: Mapping[str, Any] | None) -> bool:
    records = [info or {}, *(one for one in (info or {}).values() if isinstance(one, Mapping))]
    return any(record.get("raised_exception") for record in records)
