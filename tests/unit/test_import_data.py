"""`augrec data import` and the DAG `ingest`: from a shop's tables to data/raw."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
import yaml

from augrec.core.config import read_params
from augrec.core.errors import ConfigError, InputError, RefusedError
from augrec.core.files import write_checked_parquet
from augrec.core.settings import Settings
from augrec.data import own_interactions, own_tables
from augrec.data.canonical import read_tables
from augrec.data.importing import blocks
from augrec.orchestration.import_data import Import, import_data
from augrec.orchestration.import_preview import preview

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
    assert import_data(project, {"interactions": str(table)}).changed
    assert not import_data(project, {"interactions": str(table)}).changed
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


def write(path: Path, lines: list[str]) -> str:
    path.write_text("\n".join(lines))
    return str(path)


def set_params(project: Settings, section: str, **values: object) -> None:
    """Set keys of a section such as data.import.interactions."""
    path = project.home / "params.yaml"
    params = yaml.safe_load(path.read_text())
    place = params
    for name in section.split("."):
        place = place.setdefault(name, {})
    place.update(values)
    path.write_text(yaml.safe_dump(params))


def shop(tmp_path: Path, project: Settings) -> dict[str, str]:
    """Files of a shop with names of its own, days as times, and nulls as a database writes them."""
    names = {"user_id": "who", "event": "kind", "events": {"kauf": "purchase"}}
    set_params(project, "data.import.interactions", **names)
    rows = []
    for n in range(400):
        user = str(n % 31) if n % 5 else r"\N"
        day = f"2024-{1 + n % 9:02}-{1 + n % 28:02}"
        rows.append(f"{user},{n % 17},{day},{'kauf' if n % 2 else 'view'},x")
    return {
        "interactions": write(tmp_path / "log.csv", ["who,item_id,timestamp,kind,campaign", *rows]),
        "items": write(tmp_path / "items.csv", ["item_id,title", *(f"{n},t{n}" for n in range(9))]),
        "users": write(tmp_path / "users.csv", ["user_id,age", "U1,30", "U2,40"]),
    }


def test_the_summary_says_what_was_read_and_what_was_not(
    project: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = dict(import_data(project, shop(tmp_path, project)).summary)
    assert found["rows"] == "400 interactions, 31 users, 17 items"
    assert found["times"] == "2024-01-01 to 2024-09-28 UTC, at a resolution of days"
    assert found["events"] == "purchase 200, view 200"
    assert found["interactions columns"] == (
        "user_id (80 missing), item_id, event, timestamp; left out: campaign"
    )
    assert found["items matched"] == "9 of 17 in the interactions; the table has 9 rows"
    assert found["users columns"] == "user_id; left out: age"
    assert (
        "no user_id of the interactions, such as '0', '1', is in the table of users" in caplog.text
    )


def test_a_placeholder_with_many_rows_is_a_warning(
    project: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = shop(tmp_path, project)
    text = Path(files["interactions"]).read_text().replace(r"\N", "guest")
    users = [f"extra{n},1,2024-01-01,view,x" for n in range(300)]
    Path(files["interactions"]).write_text("\n".join([text, *users]))
    import_data(project, files)
    assert "the user_id 'guest' has 11 % of all rows" in caplog.text


def test_a_preview_counts_rows_of_interest_and_cases_of_each_slice(
    project: Settings, tmp_path: Path
) -> None:
    set_params(project, "prepare", positive={"purchase": None})
    set_params(project, "validation", max_quarantined_share=0.5)
    done = import_data(project, shop(tmp_path, project))
    found = dict(preview(done.tables, read_params(project.home)))
    assert found["valid"] == "320 of 400 rows"
    assert found["quarantined"] == "80: user_id is missing"
    assert found["interest"].startswith("160 pairs of user and item from 320 rows")
    assert "cases, by length of history 0: " in found["test"]


def test_a_preview_says_why_a_run_would_refuse_the_tables(
    project: Settings, tmp_path: Path
) -> None:
    done = import_data(project, shop(tmp_path, project))
    refused = [
        text for word, text in preview(done.tables, read_params(project.home)) if word == "refused"
    ]
    assert "more than 5% of the rows are quarantined" in refused[0]


def test_events_that_no_setting_knows_are_refused_with_the_mapping_to_write(
    project: Settings, tmp_path: Path
) -> None:
    files = shop(tmp_path, project)
    set_params(project, "data.import.interactions", events={})
    with pytest.raises(InputError, match=r"200 of 400 rows .*: 'kauf' \(200\)") as caught:
        import_data(project, files)
    assert "under data.import.interactions.events to view, click, cart" in caught.value.fix
    assert "{kauf: view}" in caught.value.fix
    set_params(project, "data.import.interactions", events={"kauf": None})
    tables = import_data(project, files).tables.collect()
    assert tables.interactions["event"].unique().to_list() == ["view"]


def test_a_query_is_read_in_place_of_a_table(
    project: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sqlite3.connect(tmp_path / "shop.db") as database:
        database.execute("create table events (user_id, item_id, timestamp)")
        database.execute("insert into events values ('ann', 7, '2026-01-01'), ('bob', 8, 'x')")
    database.close()
    monkeypatch.setenv("AUGREC_SOURCE_URL", f"sqlite:///{tmp_path}/shop.db")
    done = import_data(project, {"interactions": "sql:SELECT * FROM events WHERE item_id = 7"})
    assert done.tables.collect().interactions["user_id"].to_list() == ["ann"]


def test_an_import_without_arguments_says_that_it_replaces_another_source(
    project: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = shop(tmp_path, project)
    other = shutil.copy(files["interactions"], tmp_path / "new.csv")
    set_params(project, "data.source", interactions=files["interactions"])
    import_data(project, {})
    import_data(project, {"interactions": str(other)})
    assert "replaces" not in caplog.text
    import_data(project, {})
    assert "data.source of params.yaml replaces data/raw, which came from" in caplog.text
    assert "new.csv" in caplog.text


def test_an_import_says_what_came_from_params_yaml_and_not_from_the_command(
    project: Settings, tmp_path: Path
) -> None:
    files = shop(tmp_path, project)
    set_params(project, "data.source", items=files["items"])
    done: Import = import_data(project, {"interactions": files["interactions"]})
    assert done.origins == {
        "interactions": files["interactions"],
        "items": f"{files['items']} (data.source in params.yaml)",
    }


def test_a_parquet_file_with_a_damaged_page_is_refused(project: Settings, tmp_path: Path) -> None:
    table = tmp_path / "events.parquet"
    write_checked_parquet(table, pl.read_csv(ROWS.encode()).lazy())
    assert import_data(project, {"interactions": str(table)})
    column = pq.read_metadata(table).row_group(0).column(0)
    damaged = bytearray(table.read_bytes())
    damaged[column.dictionary_page_offset + column.total_compressed_size - 1] ^= 1
    table.write_bytes(damaged)
    with pytest.raises(InputError, match="cannot be read"):
        import_data(project, {"interactions": str(table)})


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_tables, "LARGE_BYTES", 0)
    monkeypatch.setattr(blocks, "_BLOCK_BYTES", 300)


@pytest.mark.usefixtures("small_blocks")
def test_a_large_file_is_read_in_blocks_and_warned_of_once(
    project: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = shop(tmp_path, project)
    lines = Path(files["interactions"]).read_text().splitlines()
    for place in (30, 300):
        lines[place] = lines[place].replace(",2024", ",soon 2024")
    Path(files["interactions"]).write_text("\n".join(lines))
    set_params(project, "validation", max_quarantined_share=0.5)
    set_params(project, "data.import.interactions", events={"kauf": "purchase", "gone": "cart"})
    found = import_data(project, files).tables.collect()
    assert found.interactions["timestamp"].null_count() == 2
    assert "2 of 400 values are no timestamp and become null, the first is 'soon" in caplog.text
    assert "in line 31" in caplog.text
    assert "no row has the event gone" in caplog.text
    assert "read whole" not in caplog.text
    assert sorted(path.name for path in (project.home / "data").iterdir()) == ["raw"]


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(
    ("rows", "why"),
    [
        (["u1,5.0,2024-01-01", *["u2,6,2024-01-02"] * 99], "5.0"),
        ([f'u{n},"a\nb",2024-01-02' for n in range(99)], "go over several lines"),
        ([f'u{n},an "odd" one,2024-01-02' for n in range(99)], "quotes inside texts"),
    ],
)
def test_a_large_file_whose_rows_need_the_others_is_read_whole_and_says_why(
    rows: list[str], why: str, project: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = write(tmp_path / "log.csv", ["user_id,item_id,timestamp", *rows])
    found = import_data(project, {"interactions": file}).tables.collect()
    assert len(found.interactions) == len(rows)
    assert f"{file} is read whole, into memory, because" in caplog.text
    assert why in caplog.text


@pytest.mark.usefixtures("small_blocks")
def test_a_file_that_cannot_be_read_whole_is_refused_before_it_is(
    project: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_interactions, "machine_memory", lambda: 2_000)
    lines = ["user_id,item_id,timestamp", *[f"u{n},5.0,2024-01-02" for n in range(99)]]
    file = write(tmp_path / "log.csv", lines)
    with pytest.raises(RefusedError, match="would have to be read whole, because item_id") as told:
        import_data(project, {"interactions": file})
    assert "export it as Parquet" in told.value.fix
    assert not (project.home / "data" / "raw").exists()


@pytest.mark.usefixtures("small_blocks")
def test_a_wrong_line_of_a_large_file_is_named(project: Settings, tmp_path: Path) -> None:
    lines = ["user_id,item_id,timestamp", *["u,1,2024-01-02"] * 90, "u,1", *["u,1,2024-01-02"] * 9]
    file = write(tmp_path / "log.csv", lines)
    with pytest.raises(InputError, match="line 92 has 2 fields instead of 3"):
        import_data(project, {"interactions": file})
