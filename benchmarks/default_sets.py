"""The data that defaults are judged on: public sets from their folders, and simulated shops of five
shapes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import polars as pl

from augrec.data import sources
from augrec.data.clean import clean
from augrec.data.columns import Columns as C
from augrec.data.config import SplitConfig
from augrec.data.simulate import ShopConfig, simulate
from augrec.data.split import Split, split
from benchmarks import million
from benchmarks.tuning import completejourney

PROTOCOLS: Final = ("time", "random", "leave_last_out")
SHOPS: Final[Mapping[str, ShopConfig]] = {
    "tiny": ShopConfig(n_users=200, n_items=120, n_interactions=4_000),
    "sparse": ShopConfig(n_users=4_000, n_items=3_000, n_interactions=40_000),
    "dense": ShopConfig(n_users=1_000, n_items=500, n_interactions=100_000),
    "long_tail": ShopConfig(
        n_users=3_000, n_items=8_000, n_interactions=100_000, popularity_exponent=1.2
    ),
    "many_users": ShopConfig(n_users=20_000, n_items=1_000, n_interactions=200_000),
}
MILLION: Final = "million"
SIMULATED: Final = (*SHOPS, MILLION)
_MIN_ROWS, _DENSE_ROWS, _RECENT_DAYS = 3, 20, 365
_MAX_CASES = 2_000
_EVENTS = dict.fromkeys(("view", "click", "cart", "purchase", "rating"))


def interactions(name: str, spec: str | None, seed: int = 1) -> pl.DataFrame:
    """All interactions of a data set, cleaned; arguments as for `cells`."""
    return _rows(spec) if spec else clean(_simulated(name, seed), _EVENTS)


def cells(name: str, spec: str | None, protocol: str, seed: int = 1) -> Split:
    """A data set under a protocol; of more cases than 2,000, evenly spaced ones.

    Args:
        name: one of `SIMULATED`, or any name of a public set.
        spec: "layout:folder", layout one of `augrec.data.sources.LAYOUTS` or "completejourney";
            with ":recent" only the last year, with ":dense" only users and items with at least 20
            interactions among one another. None: it is simulated.
        protocol: one of `PROTOCOLS`.
        seed: of the split and of the shop.
    """
    parts = split(interactions(name, spec, seed), SplitConfig(protocol=protocol), seed)
    few = {
        role: cases.gather_every(max(1, -(-len(cases) // _MAX_CASES)))
        for role, cases in (("cases_valid", parts.cases_valid), ("cases_test", parts.cases_test))
    }
    return Split(**{**vars(parts), **few})


def _simulated(name: str, seed: int) -> pl.DataFrame:
    return million.ratings(seed) if name == MILLION else simulate(SHOPS[name], seed).interactions


def _rows(spec: str) -> pl.DataFrame:
    layout, folder, *part = spec.split(":")
    tables = (
        completejourney(Path(folder))
        if layout == "completejourney"
        else sources.read(layout, Path(folder))
    )
    rows = clean(tables.interactions, _EVENTS, min_item_interactions=_MIN_ROWS)
    if part == ["recent"]:
        since = pl.col(C.TIMESTAMP).max() - pl.duration(days=_RECENT_DAYS)
        rows = frequent(rows.filter(pl.col(C.TIMESTAMP) >= since), C.ITEM, _MIN_ROWS)
    elif part == ["dense"]:
        before = -1
        while before != len(rows):
            before = len(rows)
            for key in (C.ITEM, C.USER):
                rows = frequent(rows, key, _DENSE_ROWS)
    return rows


def frequent(rows: pl.DataFrame, key: str, least: int) -> pl.DataFrame:
    """The rows whose `key` has at least `least` of them."""
    return rows.filter(pl.len().over(key) >= least)
