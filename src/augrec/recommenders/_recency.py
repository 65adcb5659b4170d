"""What an interaction counts by its age."""

from __future__ import annotations

import numpy as np
import polars as pl

from augrec.data.columns import TIME, require
from augrec.data.columns import Columns as C

_DAY_US = 86_400_000_000


def recency(
    interactions: pl.DataFrame, half_life_days: float | None, window_days: float | None
) -> np.ndarray:
    """2^(-age / half_life_days), and 0 from an age of window_days on; age is the time before the
    newest interaction.

    Args:
        interactions: with timestamps, unless both others are None.
        half_life_days: None: no decay.
        window_days: None: no end.

    Returns:
        float64 (n,) in [0, 1]; 1 for the newest.

    Raises:
        InputError: there are no timestamps and they are needed.
    """
    if half_life_days is None and window_days is None:
        return np.ones(len(interactions))
    require(
        interactions,
        {C.TIMESTAMP: TIME},
        where="training interactions, for half_life_days or window_days",
    )
    times = interactions[C.TIMESTAMP].dt.epoch("us").to_numpy()
    age_days = (times.max() - times) / _DAY_US
    counts = np.ones(len(times)) if half_life_days is None else np.exp2(-age_days / half_life_days)
    return counts if window_days is None else np.where(age_days < window_days, counts, 0.0)
