"""A random table, written in every way the import offers, is read back as the same table."""

from __future__ import annotations

import csv
import gzip
import io
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
import pytest
from pytest import MonkeyPatch

from augrec.core.config import parse
from augrec.data import own_tables
from augrec.data.canonical import Tables
from augrec.data.config import ImportConfig
from augrec.data.importing import blocks
from augrec.data.importing.source import Source
from augrec.data.own_tables import import_tables

SEEDS = range(6)
LETTERS = list("abcxyzÄéß漢7,;|\t\n\"'\\ /&-")
TABLE = {
    "interactions": {"event": "event", "value": "value"},
    "items": {"title": "title", "categories": "categories", "price": "price", "extra": ["year"]},
}
Rows = dict[str, list[Any]]


def text(random: np.random.Generator, longest: int) -> str:
    """Text with everything that files treat in a special way, but for spaces around it."""
    return f"t{''.join(random.choice(LETTERS, random.integers(1, longest)))}."


def random_rows(random: np.random.Generator) -> dict[str, Rows]:
    """Interactions and items; the ids of items have zeros in front."""
    n, begin = 60, datetime(2024, 1, 1, tzinfo=UTC)
    items = [f"{number:05d}" for number in random.choice(99_999, 12, replace=False)]
    return {
        "interactions": {
            "user_id": [str(number) for number in random.integers(10**14, 10**15, n)],
            "item_id": random.choice(items, n).tolist(),
            "timestamp": [
                begin + timedelta(seconds=int(at)) for at in random.integers(0, 10**7, n)
            ],
            "event": random.choice(["view", "purchase"], n).tolist(),
            "value": [
                None if at < 0.2 else float(np.float32(round(at * 4000, 2)))
                for at in random.random(n)
            ],
        },
        "items": {
            "item_id": items,
            "title": [text(random, 12) for _ in items],
            "categories": [[f"c{k}" for k in range(1 + n % 3)] for n in range(len(items))],
            "price": [float(cents) / 100 for cents in random.integers(1, 10**6, len(items))],
            "year": random.integers(1900, 2024, len(items)).tolist(),
        },
    }


def check(found: Tables, rows: dict[str, Rows]) -> None:
    for name, table in rows.items():
        for column, values in table.items():
            assert getattr(found, name)[column].to_list() == values, (name, column)


def read(folder: Path, ending: str, settings: dict[str, dict[str, Any]]) -> Tables:
    merged = {name: TABLE[name] | settings.get(name, {}) for name in TABLE}
    config = parse(ImportConfig, merged, "data.import")
    sources = [Source(str(folder / f"{name}{ending}")) for name in ("interactions", "items")]
    whole = import_tables(config, *sources).tables.collect()
    with TemporaryDirectory() as scratch, MonkeyPatch.context() as patched:
        patched.setattr(own_tables, "LARGE_BYTES", 0)
        patched.setattr(blocks, "_BLOCK_BYTES", 500)
        patched.setattr(blocks, "_BLOCK_ROWS", 7)
        in_blocks = import_tables(config, *sources, scratch=Path(scratch)).tables.collect()
    assert all(a.equals(b) for a, b in zip(in_blocks, whole, strict=True))
    return whole


def number(value: float | None, decimal: str, thousands: str) -> str:
    if value is None:
        return ""
    return f"{value:,.2f}".translate(str.maketrans({",": thousands, ".": decimal}))


@pytest.mark.parametrize("seed", SEEDS)
def test_text_files_of_any_dialect(tmp_path: Path, seed: int) -> None:
    random = np.random.default_rng(seed)
    rows = random_rows(random)
    decimal, thousands = [(".", ""), (",", ""), (",", "."), (".", ","), (",", " "), (".", "'")][
        seed
    ]
    encoding = ["utf-8", "utf-8-sig", "utf-16", "utf-8", "gb18030", "utf-8"][seed]
    null = ["", r"\N", "NULL", "", "NaN", "None"][seed]
    form = ["%Y-%m-%dT%H:%M:%SZ", "%d.%m.%Y %H:%M:%S", "%Y-%m-%d %H:%M:%S UTC"][seed % 3]
    separator = str(random.choice([",", ";", "\t", "|"]))
    ending = str(random.choice([".csv", ".csv.gz"]))
    for name, table in rows.items():
        out = io.StringIO()
        quoting = [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC][seed % 3]
        end = str(random.choice(["\n", "\r\n"]))
        writer = csv.writer(out, delimiter=separator, quoting=quoting, lineterminator=end)
        writer.writerow(table)
        for row in zip(*table.values(), strict=True):
            cells = [
                value.strftime(form)
                if isinstance(value, datetime)
                else "|".join(value)
                if isinstance(value, list)
                else number(value, decimal, thousands)
                if isinstance(value, float)
                else null
                if value is None
                else value
                for value in row
            ]
            writer.writerow(cells)
            out.write(end if random.random() < 0.1 else "")
        data = out.getvalue().encode(encoding)
        path = tmp_path / f"{name}{ending}"
        path.write_bytes(gzip.compress(data) if ending.endswith("gz") else data)
    common = {"quoted": True} | ({"encoding": encoding} if encoding == "gb18030" else {})
    dates = {"timestamp_format": form} if "." in form else {}
    check(read(tmp_path, ending, {"interactions": common | dates, "items": common}), rows)


@pytest.mark.parametrize("seed", SEEDS)
def test_tab_separated_files_have_no_quotes(tmp_path: Path, seed: int) -> None:
    random = np.random.default_rng(seed)
    rows = random_rows(random)
    titles = rows["items"]["title"]
    rows["items"]["title"] = [title.replace("\t", "").replace("\n", "") for title in titles]
    for name, table in rows.items():
        lines = ["\t".join(table)]
        for row in zip(*table.values(), strict=True):
            cells = [value.isoformat() if isinstance(value, datetime) else value for value in row]
            cells = [str(cell) if isinstance(cell, list) else cell for cell in cells]
            lines.append("\t".join("" if cell is None else str(cell) for cell in cells))
        (tmp_path / f"{name}.tsv").write_text("\n".join(lines))
    check(read(tmp_path, ".tsv", {}), rows)


INTEGERS: list[Callable[[pl.Series], pl.Series]] = [
    lambda ids: ids.cast(pl.Int64),
    lambda ids: ids.cast(pl.Categorical),
    lambda ids: ids.cast(pl.Enum(ids.unique())),
    lambda ids: ids.cast(pl.UInt64),
    lambda ids: ids.cast(pl.Decimal(30, 0)),
    lambda ids: ids.cast(pl.Float64),
]
TIMES: list[Callable[[pl.Series], pl.Series]] = [
    lambda times: times.cast(pl.Datetime("ms", "UTC")),
    lambda times: times.cast(pl.Datetime("ns", "UTC")).dt.convert_time_zone("Asia/Tokyo"),
    lambda times: times.dt.replace_time_zone(None),
    lambda times: times.dt.epoch("s"),
    lambda times: times.dt.epoch("ms").cast(pl.Float64),
    lambda times: times.dt.strftime("%Y-%m-%d %H:%M:%S+00"),
]
AMOUNTS: list[Any] = [pl.Float32, pl.Decimal(38, 2), pl.Float64, pl.String, pl.Float32, pl.Float64]


@pytest.mark.parametrize("seed", SEEDS)
def test_parquet_of_any_type_in_one_file_or_a_folder(tmp_path: Path, seed: int) -> None:
    rows = random_rows(np.random.default_rng(seed))
    tables = {name: pl.DataFrame(table) for name, table in rows.items()}
    written = tables["interactions"].with_columns(
        INTEGERS[seed](tables["interactions"]["user_id"]),
        TIMES[seed](tables["interactions"]["timestamp"]),
        pl.col("event").cast(pl.Categorical),
    )
    if AMOUNTS[seed] != pl.Float32:
        written = written.with_columns(pl.col("value").round(2).cast(AMOUNTS[seed]))
    items = tables["items"].with_columns(pl.col("price").round(2).cast(AMOUNTS[seed - 1]))
    if seed % 2:
        folder = tmp_path / "interactions.parquet" / "day=2024-01-31"
        folder.mkdir(parents=True)
        written[:20].write_parquet(folder / "part-00000.snappy.parquet")
        written[20:].write_parquet(folder / "part-00001.snappy.parquet")
        (folder.parent / "_SUCCESS").touch()
        (folder / ".part-00000.snappy.parquet.crc").write_bytes(b"crc")
    else:
        written.write_parquet(tmp_path / "interactions.parquet")
    items.write_parquet(tmp_path / "items.parquet")
    unit = {3: "s", 4: "ms"}.get(seed)
    found = read(tmp_path, ".parquet", {"interactions": {"timestamp_unit": unit}})
    if AMOUNTS[seed - 1] == pl.Float32:
        rows["items"]["price"] = pl.Series(rows["items"]["price"]).cast(pl.Float32).to_list()
    check(found, rows)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_table_and_a_query_of_sqlite(tmp_path: Path, seed: int) -> None:
    rows = random_rows(np.random.default_rng(seed))
    url = f"sqlite:///{tmp_path}/shop.db"
    with sqlite3.connect(tmp_path / "shop.db") as database:
        for name, table in rows.items():
            marks = ", ".join("?" * len(table))
            database.execute(f"create table {name} ({', '.join(table)})")
            plain = [
                [
                    str(value)
                    if isinstance(value, list | datetime)
                    else str(Decimal(str(value)))
                    if seed % 2 and isinstance(value, float)
                    else value
                    for value in row
                ]
                for row in zip(*table.values(), strict=True)
            ]
            database.executemany(f"insert into {name} values ({marks})", plain)
    database.close()
    config = parse(ImportConfig, TABLE, "data.import")
    found = import_tables(
        config,
        Source(url, table="interactions"),
        Source(url, query="select * from items where item_id like '%'"),
    ).tables.collect()
    check(found, rows)
