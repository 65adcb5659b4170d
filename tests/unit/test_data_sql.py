"""Reading from databases, with a real SQLite file."""

from __future__ import annotations

import sqlite3
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest

from augrec.core.errors import ConfigError, InputError, TransientError
from augrec.data import sql
from augrec.data.config import ImportConfig
from augrec.data.own_tables import Source, import_tables


@pytest.fixture
def url(tmp_path: Path) -> str:
    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as connection:
        connection.execute(
            'CREATE TABLE "order log" (user_id INTEGER, item_id TEXT, timestamp TEXT, mixed)'
        )
        rows = [
            (1, "a", "2024-01-01 10:30:00", 1),
            (None, "b", "2024-01-02", 2.5),
            (3, None, "2024-01-03", "x"),
        ]
        connection.executemany('INSERT INTO "order log" VALUES (?, ?, ?, ?)', rows)
        connection.execute("CREATE TABLE unused (user_id INTEGER)")
    connection.close()
    return f"sqlite:///{path}"


def test_a_table_is_imported_whole(url: str) -> None:
    tables = import_tables(ImportConfig(), Source(url, table="order log")).tables.collect()
    assert tables.interactions["user_id"].to_list() == ["1", None, "3"]
    assert tables.interactions["item_id"].to_list() == ["a", "b", None]
    assert tables.interactions["timestamp"].null_count() == 0


def test_a_query_may_hold_colons_and_percent_signs(url: str) -> None:
    query = "SELECT * FROM \"order log\" WHERE timestamp LIKE '%10:30%'"
    assert import_tables(ImportConfig(), Source(url, query=query)).tables.users[
        "user_id"
    ].to_list() == ["1"]


def test_columns_of_mixed_types_become_text_also_across_batches(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = sql.read_sql(url, table="order log")
    assert whole["mixed"].to_list() == ["1", "2.5", "x"]
    monkeypatch.setattr(sql, "BATCH_ROWS", 1)
    assert sql.read_sql(url, table="order log")["user_id"].to_list() == [1, None, 3]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((UUID(int=1), None), ["00000000-0000-0000-0000-000000000001", None]),
        ((Decimal("1E+50"), Decimal("7")), [f"1{'0' * 50}", "7"]),
        ((Decimal("1E+50"), Decimal("1.5")), [1e50, 1.5]),
        ((Decimal("NaN"), Decimal("1.5")), [None, Decimal("1.5")]),
        ((memoryview(b"a"), None), [b"a", None]),
        ((1, 2.5, 9007199254740993), ["1", "2.5", "9007199254740993"]),
    ],
)
def test_values_that_only_a_driver_knows_keep_what_they_say(values: tuple, expected: list) -> None:
    assert sql._series("c", values).to_list() == expected


def test_columns_of_one_name_are_kept_apart(url: str) -> None:
    query = 'SELECT a.user_id, b.user_id FROM "order log" a JOIN "order log" b ON a.item_id = "a"'
    assert sql.read_sql(url, query=query).columns == ["user_id", "user_id (2)"]
    with pytest.raises(InputError, match="several columns called user_id"):
        import_tables(
            ImportConfig(),
            Source(url, query=query.replace("FROM", ", 'a' item_id, 1 timestamp FROM")),
        )


def test_what_does_not_exist_is_named(url: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such table"):
        sql.read_sql(url, table="orders")
    with pytest.raises(InputError, match="no such database file"):
        sql.read_sql(f"sqlite:///{tmp_path}/other.db", table="orders")
    assert not (tmp_path / "other.db").exists()
    with pytest.raises(InputError, match="no rows"):
        import_tables(ImportConfig(), Source(url, table="unused"))


def test_either_a_table_or_a_query_must_be_named(url: str) -> None:
    for table, query in ((None, None), ("a", "SELECT 1")):
        with pytest.raises(ConfigError, match="either"):
            sql.read_sql(url, table=table, query=query)


@pytest.mark.parametrize(
    "url",
    [
        "nosuchdialect://me:hunter2@db/shop",
        "mysql+nosuchdriver://me:hunter2@db/shop",
        "postgresql://me:hunter2@db:port/shop",
        "oracle+oracledb://me:hunter2@db/shop?password=hunter2",
    ],
)
def test_no_password_is_in_any_message(url: str) -> None:
    with pytest.raises((ConfigError, TransientError, InputError)) as caught:
        sql.read_sql(url, table="t")
    assert "hunter2" not in str(caught.value) + caught.value.to_json()
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:p%40ss@db:5432/shop?password=x", "postgresql://db:5432/shop"),
        ("postgresql://me:p@ss@db/shop", "postgresql://db/shop"),
        ("sqlite:////data/shop.db", "sqlite:////data/shop.db"),
        ("sqlite:///shop.db", "sqlite:///shop.db"),
    ],
)
def test_urls_are_shown_without_credentials(url: str, shown: str) -> None:
    assert sql.without_credentials(url) == shown
