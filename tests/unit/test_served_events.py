"""From an event that the service was told to the data that the next `ingest` reads."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import polars as pl
import pytest

from augrec.core.errors import InputError
from augrec.core.settings import Settings
from augrec.data.canonical import read_tables
from augrec.data.columns import INTERACTIONS
from augrec.data.served_events import FILE, read_served_events
from augrec.orchestration.import_data import import_data
from augrec.serving.event_log import EventLog, StoredEvent

ROWS = "user_id,item_id,timestamp\nann,1,2026-01-01T10:00:00\nbob,2,2026-01-02T10:00:00\n"
DAY_US = 86_400_000_000
START_US = 1_767_300_000_000_000  # 2026-01-01


@pytest.fixture
def project(tmp_path: Path) -> Settings:
    home = tmp_path / "project"
    home.mkdir()
    shutil.copy(Path(__file__).parents[2] / "params.yaml", home / "params.yaml")
    return Settings(home, home / "var", "127.0.0.1", 8080, 5000, "sqlite:///x", "x")


def event(number: int, user: str = "ann", item: str = "9", **other: object) -> StoredEvent:
    told = {
        "event": "click",
        "value": None,
        "timestamp_us": START_US + number * DAY_US,
        "answer_id": None,
        "position": None,
    }
    return StoredEvent(
        event_id=f"e{number}", user_id=user, item_id=item, received_us=START_US, **(told | other)
    )  # type: ignore[arg-type]


def tell(path: Path, *events: StoredEvent) -> list[bool]:
    async def told() -> list[bool]:
        log = EventLog(path)
        try:
            return await log.append(events)
        finally:
            log.close()

    return asyncio.run(told())


def test_ingest_reads_the_events_that_the_service_took(project: Settings, tmp_path: Path) -> None:
    (tmp_path / "events.csv").write_text(ROWS)
    tell(project.var / FILE, event(1), event(2, user="new", item="new item"))
    assert import_data(project, {"interactions": str(tmp_path / "events.csv")}).changed
    raw = read_tables(project.home / "data" / "raw")
    assert raw.interactions.select("user_id", "item_id", "event").rows() == [
        ("ann", "1", "view"),
        ("bob", "2", "view"),
        ("ann", "9", "click"),
        ("new", "new item", "click"),
    ]
    assert {"9", "new item"} <= set(raw.items["item_id"]) and "new" in set(raw.users["user_id"])


def test_ingest_without_new_events_finds_nothing_new(project: Settings, tmp_path: Path) -> None:
    (tmp_path / "events.csv").write_text(ROWS)
    tell(project.var / FILE, event(1))
    given = {"interactions": str(tmp_path / "events.csv")}
    assert import_data(project, given).changed
    assert not import_data(project, given).changed
    tell(project.var / FILE, event(2))
    assert import_data(project, given).changed


def test_data_brought_in_by_hand_grows_by_the_events(project: Settings, tmp_path: Path) -> None:
    (tmp_path / "events.csv").write_text(ROWS)
    import_data(project, {"interactions": str(tmp_path / "events.csv")})
    tell(project.var / FILE, event(1), event(2))
    assert import_data(project, {}).changed
    assert not import_data(project, {}).changed
    assert len(read_tables(project.home / "data" / "raw").interactions) == 4


def test_an_event_that_the_shop_exports_too_counts_once(project: Settings, tmp_path: Path) -> None:
    tell(project.var / FILE, event(0, item="1", event="view", timestamp_us=1_767_261_600_000_000))
    (tmp_path / "events.csv").write_text(ROWS)  # ann, 1, at that very moment
    import_data(project, {"interactions": str(tmp_path / "events.csv")})
    assert len(read_tables(project.home / "data" / "raw").interactions) == 2


def test_events_are_kept_once_and_read_in_order_of_time(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    assert tell(path, event(2, value=4.0), event(1)) == [True, True]
    assert tell(path, event(1), event(3)) == [False, True]
    table = read_served_events(path)
    assert dict(table.schema) == dict(INTERACTIONS)
    assert table["timestamp"].is_sorted() and table["value"].to_list() == [None, 4.0, None]


def test_there_are_no_events_before_the_first() -> None:
    assert read_served_events(Path("nowhere.db")).equals(pl.DataFrame(schema=dict(INTERACTIONS)))


def test_a_file_that_is_no_log_is_named(tmp_path: Path) -> None:
    (tmp_path / "events.db").write_text(
        "something else, long enough to be read as a database header" * 9
    )
    with pytest.raises(InputError, match="log of events"):
        read_served_events(tmp_path / "events.db")
