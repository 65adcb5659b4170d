"""Importing a shop's own files: what comes in, and what is said when it cannot."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from augrec.core.config import parse
from augrec.core.errors import ConfigError, InputError
from augrec.data.columns import INTERACTIONS, ITEMS
from augrec.data.config import ImportConfig
from augrec.data.own_tables import Source, describe, import_tables

CSV = "user_id,item_id,timestamp\n7,007,2024-05-31\n8,x,2024-05-31T18:30:00+02:00\n"


def config(**sections: dict) -> ImportConfig:
    return parse(ImportConfig, sections, "data.import")


def read(path: Path, settings: ImportConfig | None = None) -> pl.DataFrame:
    return import_tables(settings or config(), Source(str(path))).tables.interactions.collect()


def test_csv_becomes_canonical_with_ids_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "clicks.csv"
    path.write_text(CSV)
    tables = import_tables(config(), Source(str(path))).tables.collect()
    assert dict(tables.interactions.schema) == dict(INTERACTIONS)
    assert tables.interactions.rows() == [
        ("7", "007", "view", None, datetime(2024, 5, 31, tzinfo=UTC), "real", 1.0),
        ("8", "x", "view", None, datetime(2024, 5, 31, 16, 30, tzinfo=UTC), "real", 1.0),
    ]
    assert tables.items["item_id"].to_list() == ["007", "x"]
    assert tables.users["user_id"].to_list() == ["7", "8"]


@pytest.mark.parametrize(
    "name", ["t.csv.gz", "t.tsv", "t.tsv.gz", "semicolon.csv", "t.parquet", "folder"]
)
def test_every_kind_of_file_gives_the_same_table(tmp_path: Path, name: str) -> None:
    plain = tmp_path / "plain.csv"
    plain.write_text(CSV)
    path = tmp_path / name
    if name == "folder":
        path.mkdir()
        pl.read_csv(plain, infer_schema=False).write_parquet(path / "part-0.parquet")
    elif name.endswith(".parquet"):
        pl.read_csv(plain, infer_schema=False).write_parquet(path)
    else:
        separator = "\t" if "tsv" in name else ";" if "semicolon" in name else ","
        text = CSV.replace(",", separator).encode()
        path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    assert read(path).equals(read(plain))


def test_columns_are_mapped_and_events_values_and_units_are_read(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    pl.DataFrame(
        {
            "who": [1, 2],
            "what": [5.0, 6.0],
            "ms": [1_000, 2_500],
            "kind": ["click", "rating"],
            "stars": ["", "4,000.5"],
        }
    ).write_parquet(path)
    settings = config(
        interactions={
            "user_id": "who",
            "item_id": "what",
            "timestamp": "ms",
            "timestamp_unit": "ms",
            "event": "kind",
            "value": "stars",
        }
    )
    rows = (
        read(path, settings)
        .select("user_id", "item_id", "event", "value", pl.col("timestamp").dt.epoch("ms"))
        .rows()
    )
    assert rows == [("1", "5", "click", None, 1000), ("2", "6", "rating", 4000.5, 2500)]


def test_items_and_users_keep_lists_prices_and_extra_columns(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(CSV)
    (tmp_path / "items.csv").write_text(
        'sku,name,cats,cost,brand\n007,"A, lamp",home|light||,"$1,299.00",Lux\nx,,,,\n'
    )
    (tmp_path / "users.csv").write_text("user_id,age\n7,30\n")
    settings = config(
        items={
            "item_id": "sku",
            "title": "name",
            "categories": "cats",
            "price": "cost",
            "extra": ["brand"],
        },
        users={"extra": ["age"]},
    )
    sources = [Source(str(tmp_path / f"{name}.csv")) for name in ("log", "items", "users")]
    tables = import_tables(settings, *sources).tables.collect()
    assert list(tables.items.schema.items())[:-1] == list(ITEMS.items())
    assert tables.items.rows() == [
        ("007", "A, lamp", None, ["home", "light"], None, 1299.0, "Lux"),
        ("x", None, None, None, None, None, None),
    ]
    assert tables.users.rows() == [("7", 30)]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (["30", "", "0", "-4"], [30, None, 0, -4]),
        (["30.0", "NaN", "1.5e-05", " 7 "], [30.0, None, 1.5e-05, 7.0]),
        (["01234", "90210", "", "5"], ["01234", "90210", None, "5"]),
        (["30", "young", "", "5"], ["30", "young", None, "5"]),
        (["12345678901234567890", "1", "2", "3"], ["12345678901234567890", "1", "2", "3"]),
        (["12E4", "1", "2", "3"], ["12E4", "1", "2", "3"]),
        (["", "", "", ""], [None, None, None, None]),
    ],
)
def test_an_extra_csv_column_of_numbers_alone_is_numbers_and_one_with_a_code_stays_text(
    tmp_path: Path, written: list[str], expected: list
) -> None:
    (tmp_path / "log.csv").write_text(CSV)
    rows = "".join(f"{user},{value}\n" for user, value in enumerate(written))
    (tmp_path / "users.csv").write_text("user_id,extra\n" + rows)
    sources = Source(str(tmp_path / "log.csv")), None, Source(str(tmp_path / "users.csv"))
    users = import_tables(config(users={"extra": ["extra"]}), *sources).tables.users
    assert users["extra"].to_list() == expected
    assert users["user_id"].to_list() == ["0", "1", "2", "3"]


def test_extra_columns_of_a_typed_file_keep_their_types_but_for_nan(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(CSV)
    table = pl.DataFrame(
        {"user_id": ["7", "8"], "zip_code": ["90210", "10001"], "age": [30.5, float("nan")]}
    )
    table.write_parquet(tmp_path / "users.parquet")
    sources = Source(str(tmp_path / "log.csv")), None, Source(str(tmp_path / "users.parquet"))
    users = import_tables(config(users={"extra": ["zip_code", "age"]}), *sources).tables.users
    assert users.rows() == [("7", "90210", 30.5), ("8", "10001", None)]


def test_rows_with_missing_ids_stay_for_validation_to_judge(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    pl.DataFrame(
        {
            "user_id": [5.0, float("nan"), None, 1.5],
            "item_id": ["a", "", "nan", " b "],
            "timestamp": [1, 2, 3, 4],
        }
    ).write_parquet(path)
    rows = read(path, config(interactions={"timestamp_unit": "s"}))
    assert rows["user_id"].to_list() == ["5", None, None, "1.5"]
    assert rows["item_id"].to_list() == ["a", None, None, "b"]


def test_csv_ids_written_as_floats_match_those_written_as_integers(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text(
        "user_id,item_id,timestamp\n5.0,1.0,2024-01-01\n,1.5,2024-01-01\nNaN,2.0,2024-01-01\n"
    )
    rows = read(path)
    assert rows["user_id"].to_list() == ["5", None, None]
    assert rows["item_id"].to_list() == [
        "1.0",
        "1.5",
        "2.0",
    ]  # not all look like integers: they are names


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-05-31", "2024-05-31T00:00:00+00:00"),
        ("2024/05/31 18:30", "2024-05-31T18:30:00+00:00"),
        ("2024-05-31 18:30:15.250", "2024-05-31T18:30:15.250000+00:00"),
        ("2024-05-31T18:30:15Z", "2024-05-31T18:30:15+00:00"),
        ("2024-05-31T18:30:15.5-05:00", "2024-05-31T23:30:15.500000+00:00"),
    ],
)
def test_dates_in_the_usual_forms_are_read(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "log.csv"
    path.write_text(f"user_id,item_id,timestamp\na,b,{text}\n")
    assert read(path)["timestamp"][0] == datetime.fromisoformat(expected)


def test_some_unreadable_timestamps_become_missing_and_all_of_them_are_an_error(
    tmp_path: Path,
) -> None:
    path = tmp_path / "log.csv"
    path.write_text("user_id,item_id,timestamp\na,b,2024-01-01\na,c,soon\n")
    assert read(path)["timestamp"].null_count() == 1
    path.write_text("user_id,item_id,timestamp\na,b,then\na,c,soon\n")
    with pytest.raises(InputError, match="then") as caught:
        read(path)
    assert "data.import.interactions.timestamp_unit" in caught.value.fix


def test_numbers_as_timestamps_need_a_unit(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    pl.DataFrame({"user_id": ["a"], "item_id": ["b"], "timestamp": [1_700_000_000]}).write_parquet(
        path
    )
    with pytest.raises(InputError, match="unit") as caught:
        read(path)
    assert "data.import.interactions.timestamp_unit" in caught.value.fix


def test_missing_columns_are_named_with_those_found_and_the_key_to_change(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("customer,sku,timestamp\n1,2,2024-01-01\n")
    with pytest.raises(InputError) as caught:
        read(path)
    text = str(caught.value)
    for words in (
        "user_id, item_id",
        "customer, sku, timestamp",
        "data.import.interactions.item_id",
        str(path),
    ):
        assert words in text


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.csv", b"", "empty"),
        ("header.csv", b"user_id,item_id,timestamp\n", "no rows"),
        ("empty.parquet", b"", "empty"),
        (
            "latin.csv",
            "user_id,item_id,timestamp\nJosé,b,2024-01-01\n".encode("latin-1"),
            "line 2 is not UTF-8",
        ),
        ("cut.csv.gz", gzip.compress(CSV.encode() * 50, mtime=0)[:60], "cannot be read"),
        ("table.xlsx", b"PK", "not supported"),
    ],
)
def test_files_that_cannot_be_used_are_refused_by_name(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises((InputError, ConfigError), match=words) as caught:
        read(path)
    assert str(path) in caught.value.where
    assert caught.value.fix


def test_a_truncated_parquet_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    pl.DataFrame(
        {"user_id": ["a"] * 1000, "item_id": ["b"] * 1000, "timestamp": range(1000)}
    ).write_parquet(path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match="cannot be read"):
        read(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read(tmp_path / "none.csv")


def test_an_extra_column_may_not_take_a_mapped_name(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(CSV)
    (tmp_path / "items.csv").write_text("sku,title\n1,a\n")
    settings = config(items={"item_id": "sku", "title": "title", "extra": ["title"]})
    with pytest.raises(ConfigError, match="title"):
        import_tables(
            settings, Source(str(tmp_path / "log.csv")), Source(str(tmp_path / "items.csv"))
        )


def test_lists_of_numbers_cannot_be_ids(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    pl.DataFrame({"user_id": [[1]], "item_id": ["b"], "timestamp": ["2024-01-01"]}).write_parquet(
        path
    )
    with pytest.raises(InputError, match="cannot be used as ids"):
        read(path)


def test_an_import_remembers_where_its_tables_came_from() -> None:
    remembered = describe(
        interactions=Source("a.csv"),
        users=Source("postgresql://me:secret@db/shop?password=other", table="people"),
    )
    assert remembered == {
        "source": "import",
        "tables": {"interactions": "a.csv", "users": "postgresql://db/shop, people"},
    }
