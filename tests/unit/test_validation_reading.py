from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from augrec.core.errors import InputError
from augrec.data.columns import TIME
from augrec.validation import reading

SCHEMA = {"user_id": pl.String, "value": pl.Float32, "timestamp": TIME}


def read(tmp_path: Path, table: pl.DataFrame, schema: dict[str, Any]) -> pl.DataFrame:
    table.write_parquet(tmp_path / "table.parquet")
    return reading.read(tmp_path / "table.parquet", schema)


@pytest.mark.parametrize(
    ("given", "kind", "expected"),
    [
        (pl.Series([1, None], dtype=pl.Int64), pl.String, ["1", None]),
        (pl.Series([1.0, float("nan"), None]), pl.String, ["1", None, None]),
        (pl.Series(["a", "b"], dtype=pl.Categorical), pl.String, ["a", "b"]),
        (pl.Series([4, 5], dtype=pl.Int32), pl.Float32, [4.0, 5.0]),
        (pl.Series([4.5, float("nan")]), pl.Float32, [4.5, None]),
        (pl.Series([None, None]), pl.Float32, [None, None]),
        (pl.Series([date(2024, 1, 2)]), TIME, [datetime(2024, 1, 2, tzinfo=UTC)]),
        (
            pl.Series([datetime(2024, 1, 2, 3)], dtype=pl.Datetime("ns")),
            TIME,
            [datetime(2024, 1, 2, 3, tzinfo=UTC)],
        ),
        (
            pl.Series([datetime(2024, 1, 2, 3)]).dt.replace_time_zone("Asia/Tokyo"),
            TIME,
            [datetime(2024, 1, 1, 18, tzinfo=UTC)],
        ),
    ],
)
def test_types_are_mended_where_nothing_is_lost(
    tmp_path: Path, given: pl.Series, kind: Any, expected: list[Any]
) -> None:
    found = read(tmp_path, given.alias("x").to_frame(), {"x": kind})
    assert found.schema["x"] == kind
    assert found["x"].to_list() == expected


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (pl.Series([1.5]), pl.String),
        (pl.Series(["4.5"]), pl.Float32),
        (pl.Series([1704067200]), TIME),
        (pl.Series(["2024-01-01"]), TIME),
        (pl.Series([[1]]), pl.Float32),
    ],
)
def test_types_that_cannot_be_mended_are_named(tmp_path: Path, given: pl.Series, kind: Any) -> None:
    with pytest.raises(InputError, match=r"x is .*, must be"):
        read(tmp_path, given.alias("x").to_frame(), {"x": kind})


def test_further_columns_stay_after_those_of_the_schema(tmp_path: Path) -> None:
    table = pl.DataFrame({"age": [3], "user_id": ["u"]})
    assert read(tmp_path, table, {"user_id": pl.String}).columns == ["user_id", "age"]


def test_categories_of_further_columns_become_text(tmp_path: Path) -> None:
    table = pl.DataFrame({"user_id": ["a"], "sex": ["f"]}, schema_overrides={"sex": pl.Enum(["f"])})
    assert read(tmp_path, table, {"user_id": pl.String})["sex"].dtype == pl.String


@pytest.mark.parametrize("number", [2**53, -(2**53)])
def test_ids_that_lost_digits_as_floats_are_not_mended(tmp_path: Path, number: int) -> None:
    with pytest.raises(InputError, match="user_id is Float64"):
        read(tmp_path, pl.DataFrame({"user_id": [float(number)]}), {"user_id": pl.String})


def test_every_missing_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="missing columns: value, timestamp"):
        read(tmp_path, pl.DataFrame({"user_id": ["u"]}), SCHEMA)


def test_a_missing_an_empty_and_a_truncated_file_are_distinguished(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    with pytest.raises(InputError, match="missing"):
        reading.read(path, SCHEMA)
    path.touch()
    with pytest.raises(InputError, match="empty"):
        reading.read(path, SCHEMA)
    pl.DataFrame({"user_id": ["u"] * 1000}).write_parquet(path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match="truncated"):
        reading.read(path, SCHEMA)
    path.write_text("user_id,value\nu,1\n")
    with pytest.raises(InputError, match="not Parquet"):
        reading.read(path, SCHEMA)


def test_pages_inside_a_file_that_are_damaged_are_noticed(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    pl.DataFrame({"user_id": [str(n) for n in range(50_000)]}).write_parquet(path)
    content = bytearray(path.read_bytes())
    content[200:2200] = b"\xff" * 2000
    path.write_bytes(content)
    with pytest.raises(InputError, match="cannot be read"):
        reading.read(path, {"user_id": pl.String})


def test_the_moment_of_the_snapshot_is_optional_but_must_be_a_time(tmp_path: Path) -> None:
    source = tmp_path / "source.json"
    assert reading.taken_at(source) is None
    source.write_text('{"source": "simulated"}')
    assert reading.taken_at(source) is None
    source.write_text('{"taken_at": "2024-05-01T10:00:00+02:00"}')
    assert reading.taken_at(source) == datetime(2024, 5, 1, 8, tzinfo=UTC)
    source.write_text('{"taken_at": "noon"}')
    with pytest.raises(InputError, match="taken_at"):
        reading.taken_at(source)
    source.write_text("{")
    with pytest.raises(InputError, match="cannot be read"):
        reading.taken_at(source)
