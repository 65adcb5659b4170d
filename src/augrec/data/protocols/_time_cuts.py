"""Cuts in time that are the same for all users."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from augrec.core.errors import RefusedError
from augrec.data.config import SplitConfig
from augrec.data.protocols.base import VALID


def time_cuts(times: pl.Series, config: SplitConfig) -> tuple[datetime, datetime]:
    """The times at which validation and test begin: the quantiles given in `config`.

    Raises:
        RefusedError: a period would be empty.
    """
    if config.valid_from >= config.test_from:
        raise RefusedError(
            f"validation would begin at quantile {config.valid_from}, not before test at "
            f"{config.test_from}",
            where="params.yaml, prepare.split",
            fix="keep valid_from below test_from",
        )
    ordered = times.sort()
    first = ordered[0]
    valid_from = ordered[int(config.valid_from * (len(ordered) - 1))]
    test_from = ordered[int(config.test_from * (len(ordered) - 1))]
    if not first < valid_from < test_from:
        empty = "training" if valid_from == first else "validation"
        raise RefusedError(
            f"the {empty} period is empty: too many interactions share one timestamp",
            where=f"first {first}, {VALID} from {valid_from}, test from {test_from}, last "
            f"{ordered[-1]}",
            fix="check that the timestamps are real and of the right unit (data.import), or move "
            "prepare.split.valid_from and test_from apart",
        )
    return valid_from, test_from
