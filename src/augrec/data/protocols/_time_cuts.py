"""Cuts in time that are the same for all users."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from augrec.core.errors import RefusedError
from augrec.data.config import SplitConfig


def time_cuts(times: pl.Series, config: SplitConfig) -> tuple[datetime, datetime]:
    """The times at which validation and test begin: the quantiles given in `config`.

    Where so many rows share a timestamp that a period would be empty, a cut moves to the nearest
    moment that leaves one to each of training, validation and test.

    Raises:
        RefusedError: there are fewer than three distinct moments.
    """
    if config.valid_from >= config.test_from:
        raise RefusedError(
            f"validation would begin at quantile {config.valid_from}, not before test at "
            f"{config.test_from}",
            where="params.yaml, prepare.split",
            fix="keep valid_from below test_from",
        )
    ordered = times.sort()
    moments = ordered.unique(maintain_order=True)
    if len(moments) < 3:
        raise RefusedError(
            f"all {len(times):,} interactions lie at {len(moments)} distinct moments; training, "
            "validation and test need at least one each",
            where=f"timestamps from {ordered[0]} to {ordered[-1]}",
            fix="check that the timestamps are real and of the right unit (data.import), use data "
            "of a longer time, or set prepare.split.protocol to one without cuts in time",
        )
    places = [
        moments.search_sorted(ordered[int(share * (len(ordered) - 1))], side="left")
        for share in (config.valid_from, config.test_from)
    ]
    valid = min(max(places[0], 1), len(moments) - 2)
    test = max(places[1], valid + 1)
    return moments[valid], moments[test]
