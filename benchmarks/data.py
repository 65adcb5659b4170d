"""The two prepared splits that every library reads: a folder with train.parquet and
cases.parquet."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import numpy as np
import polars as pl

from augrec.core.seeds import rng
from augrec.data.columns import Columns as C
from augrec.data.slices import slice_of

MIN_ITEM_ROWS = 5


def random_split(layout: str, folder: Path, out: Path, seed: int) -> None:
    """CFGAN's protocol: a random fifth of all ratings is the test; each rating counts as 1."""
    split_rows(_rows(layout, folder), out, seed)


def split_rows(rows: pl.DataFrame, out: Path, seed: int) -> None:
    """The random split of rows user_id, item_id, timestamp in order of time."""
    held_out = pl.Series(rng(seed, "split").random(len(rows)) < 0.2)
    _write(rows.filter(~held_out), rows.filter(held_out), out)


def validation_part(train: pl.DataFrame, seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The training rows without a random fifth of them, and cases with that fifth as targets: to
    choose settings by."""
    held_out = pl.Series(rng(seed, "validation").random(len(train)) < 0.2)
    rows = train.filter(~held_out)
    return rows, _cases(rows, train.filter(held_out))


def time_split(layout: str, folder: Path, out: Path, seed: int) -> None:
    """The test is what comes after the 80 % quantile of time, for users with earlier rows; items
    with at least 5 earlier rows."""
    rows = _rows(layout, folder)
    cut = rows[C.TIMESTAMP].sort()[int(0.8 * len(rows))]
    train, test = rows.filter(pl.col(C.TIMESTAMP) < cut), rows.filter(pl.col(C.TIMESTAMP) >= cut)
    common = train.group_by(C.ITEM).len().filter(pl.col("len") >= MIN_ITEM_ROWS)
    _write(train.join(common, on=C.ITEM, how="semi", maintain_order="left"), test, out)


def _rows(layout: str, folder: Path) -> pl.DataFrame:
    """user_id, item_id, timestamp in order of time; a user's first row of each item."""
    tables = import_module(f"augrec.data.sources.{layout}").read(folder)
    columns = (C.USER, C.ITEM, C.TIMESTAMP)
    rows = tables.interactions.select(columns).sort(C.TIMESTAMP, C.USER, C.ITEM)
    return rows.unique([C.USER, C.ITEM], keep="first", maintain_order=True)


def _cases(train: pl.DataFrame, test: pl.DataFrame) -> pl.DataFrame:
    """The users of both; their history is all of their training rows."""
    histories = train.group_by(C.USER).agg(history=pl.col(C.ITEM))
    targets = (
        test.join(train, on=[C.USER, C.ITEM], how="anti")
        .sort(C.TIMESTAMP, C.ITEM)
        .group_by(C.USER)
        .agg(targets=pl.col(C.ITEM))
    )
    cases = histories.join(targets, on=C.USER, how="inner").sort(C.USER)
    lengths = cases["history"].list.len().to_numpy().astype(np.int64)
    return cases.with_columns(slice=pl.Series(slice_of(lengths).tolist()))


def _write(train: pl.DataFrame, test: pl.DataFrame, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    train.write_parquet(out / "train.parquet")
    _cases(train, test).write_parquet(out / "cases.parquet")


SPLITS = {"random": random_split, "time": time_split}
