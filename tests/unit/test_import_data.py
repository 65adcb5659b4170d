"""`augrec data import` and the DAG `ingest`: from a shop's tables to data/raw."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import polars as pl
import pytest

from augrec.core.errors import ConfigError, InputError
from augrec.core.settings import Settings
from augrec.data.canonical import read_tables
from augrec.orchestration.import_data import import_data

ROWS = "user_id,item_id,timestamp\nann,1,2026-01-01T10:00:00\nbob,2,2026-01-02T10:00:00\n"


@pytest.fixture
def project(tmp_path: Path) -> Settings:
    home = tmp_path / "project"
    (home / "infra").mkdir(parents=True)
    for name in ("params.yaml", "infra/embedded.env"):
        shutil.copy(Path(__file__).parents[2] / name, home / name)
    return Settings(home, home / "var", "127.0.0.1", 8080, 5000, "sqlite:///x", "x")


def test_a_csv_becomes_raw_data_and_the_same_csv_is_no_news(
    project: Settings, tmp_path: Path
) -> None:
    table = tmp_path / "events.csv"
    table.write_text(ROWS)
    assert import_data(project, {"interactions": str(table)})
    assert not import_data(project, {"interactions": str(table)})
    assert read_tables(project.home / "data" / "raw").interactions["user_id"].to_list() == [
        "ann",
        "bob",
    ]


def test_a_database_table_is_read_through_the_variable(
    project: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sqlite3.connect(tmp_path / "shop.db") as database:
        database.execute("create table events (user_id, item_id, timestamp)")
        database.execute("insert into events values ('ann', 7, '2026-01-01T10:00:00')")
    monkeypatch.setenv("AUGREC_SOURCE_URL", f"sqlite:///{tmp_path}/shop.db")
    import_data(project, {"interactions": "sql:events"})
    assert read_tables(project.home / "data" / "raw").interactions["item_id"].to_list() == ["7"]


def test_without_a_source_it_says_what_to_set(project: Settings) -> None:
    with pytest.raises(ConfigError, match="no source of the tables is configured"):
        import_data(project, {})


def test_a_database_table_without_an_address_says_how_to_give_one(project: Settings) -> None:
    with pytest.raises(ConfigError, match="needs the address of the database"):
        import_data(project, {"interactions": "sql:events"})


def test_a_failed_import_leaves_the_data_of_before(project: Settings, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.csv", tmp_path / "bad.csv"
    good.write_text(ROWS)
    bad.write_text("user,item\n1,2\n")
    import_data(project, {"interactions": str(good)})
    with pytest.raises(InputError, match="user_id"):
        import_data(project, {"interactions": str(bad)})
    assert len(pl.read_parquet(project.home / "data" / "raw" / "interactions.parquet")) == 2
