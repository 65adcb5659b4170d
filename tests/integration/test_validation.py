"""The validate stage, with Great Expectations itself."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from augrec.core import memory
from augrec.core.errors import ConfigError, InputError, RefusedError
from augrec.data.canonical import Tables, canonical_tables
from augrec.data.columns import INTERACTIONS, TIME
from augrec.stages import validate
from augrec.validation import expectations, parts
from augrec.validation.config import read_config
from augrec.validation.snapshot import Snapshot, check_snapshot
from augrec.validation.suites import Check, Suite, rules_of, snapshot_suites

PROJECT = Path(__file__).parents[2]
PARAMS = yaml.safe_load((PROJECT / "params.yaml").read_text())
TAKEN_AT = datetime(2024, 1, 1, tzinfo=UTC)
OUTPUTS = ("data/validated", "data/quarantine", "reports/validation")
Workspace = Callable[..., Path]


def shop(n_users: int = 20, n_items: int = 15) -> Tables:
    """Every user views every item: more than the limits ask for."""
    pairs = pl.DataFrame({"user_id": [f"u{n}" for n in range(n_users)]}).join(
        pl.DataFrame({"item_id": [f"i{n}" for n in range(n_items)]}), how="cross"
    )
    hours = pl.int_range(len(pairs), dtype=pl.Int64) * pl.duration(hours=1)
    start = pl.lit(datetime(2023, 1, 1, tzinfo=UTC), dtype=TIME)
    return canonical_tables(
        pairs.with_columns(pl.lit("view").alias("event"), (start + hours).alias("timestamp"))
    )


def changed(table: pl.DataFrame, rows: list[int], **values: Any) -> pl.DataFrame:
    """The table with some rows' values replaced."""
    chosen = pl.int_range(pl.len()).is_in(rows)
    return table.with_columns(
        pl.when(chosen)
        .then(pl.lit(value, dtype=table.schema[name]))
        .otherwise(pl.col(name))
        .alias(name)
        for name, value in values.items()
    )


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """Makes a working directory with raw tables and enters it."""

    def make(tables: Tables, *, window: dict[str, str] | None = None, **validation: Any) -> Path:
        params = {"validation": PARAMS["validation"] | validation, "data": {"window": window}}
        raw = tmp_path / "data" / "raw"
        raw.mkdir(parents=True)
        for name, table in tables._asdict().items():
            table.write_parquet(raw / f"{name}.parquet")
        (raw / "source.json").write_text(
            json.dumps({"source": "test", "taken_at": TAKEN_AT.isoformat()})
        )
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
        monkeypatch.chdir(tmp_path)
        return tmp_path

    return make


def results(place: Path) -> dict[str, Any]:
    return json.loads((place / "reports/validation/results.json").read_text())


def refusal(place: Path) -> str:
    """Run the stage, which must refuse: what it says. What a person wants to look at must be
    there."""
    with pytest.raises(RefusedError) as refused:
        validate.main()
    assert not (place / "data/validated").exists()
    assert (place / "data/quarantine/counts.json").exists()
    assert not results(place)["success"]
    assert results(place)["critical_failures"]
    assert "Refused" in (place / "reports/validation/index.html").read_text()
    assert refused.value.fix
    return str(refused.value)


def contents(place: Path) -> dict[str, bytes]:
    files = (file for folder in OUTPUTS for file in (place / folder).rglob("*") if file.is_file())
    return {str(file.relative_to(place)): file.read_bytes() for file in files}


def test_good_data_passes_with_every_row_kept(workspace: Workspace) -> None:
    tables = shop()
    place = workspace(tables)
    validate.main()
    for name, table in tables._asdict().items():
        assert pl.read_parquet(place / f"data/validated/{name}.parquet").equals(table)
        assert pl.read_parquet(place / f"data/quarantine/{name}.parquet").is_empty()
    found = results(place)
    assert found["success"]
    assert found["critical_failures"] == []
    assert {
        name: (t["rows"], t["good"], t["quarantined"]) for name, t in found["tables"].items()
    } == {
        "interactions": (300, 300, 0),
        "items": (15, 15, 0),
        "users": (20, 20, 0),
    }
    assert all(e["success"] for table in found["tables"].values() for e in table["expectations"])
    declared = yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"]["validate"]["outs"]
    assert declared == list(OUTPUTS)
    assert {path.name for path in place.iterdir()} == {"data", "reports", "params.yaml"}


def test_bad_rows_are_quarantined_with_the_reason_and_none_is_lost(workspace: Workspace) -> None:
    tables = shop()
    rows = changed(tables.interactions, [0, 1], user_id=None)
    rows = changed(rows, [2], item_id="nan")
    rows = changed(rows, [3], timestamp=TAKEN_AT + timedelta(seconds=1))
    exact = rows.tail(1).with_columns(pl.col("timestamp") + timedelta(seconds=7))
    rows = pl.concat([rows, exact, exact])
    place = workspace(tables._replace(interactions=rows))
    validate.main()
    bad = pl.read_parquet(place / "data/quarantine/interactions.parquet")
    good = pl.read_parquet(place / "data/validated/interactions.parquet")
    assert bad["reason"].to_list() == [
        "user_id is missing",
        "user_id is missing",
        "item_id is empty",
        "timestamp is in the future",
        "row is an exact copy of an earlier one",
    ]
    together = pl.concat([good, bad.drop("reason")]).sort(pl.all())
    assert together.equals(rows.sort(pl.all()))
    counts = json.loads((place / "data/quarantine/counts.json").read_text())
    assert counts["interactions"]["user_id is missing"] == 2
    assert (
        sum(counts["interactions"].values())
        == results(place)["tables"]["interactions"]["quarantined"]
        == 5
    )


UNSERVED = ["a\x00", "a\nb", "é" * 257]
"""Ids that the service does not take."""


@pytest.mark.parametrize("rows_at_once", [parts.ROWS_AT_ONCE, 40])
def test_masks_agree_with_what_great_expectations_counts(
    rows_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "ROWS_AT_ONCE", rows_at_once)
    tables = shop()
    rows = changed(tables.interactions, [0, 1], user_id=None)
    faults: list[dict[str, Any]] = [
        {"user_id": ""},
        {"user_id": " \t"},
        {"user_id": "NaN"},
        {"item_id": "None"},
        {"item_id": "<na>"},
        {"item_id": None},
        *({key: bad} for key in ("user_id", "item_id") for bad in UNSERVED),
        {"event": None},
        {"event": "stare"},
        {"event": ""},
        {"value": -0.5},
        {"value": 0.1},
        {"value": 0.3},
        {"value": 1e30},
        {"timestamp": None},
        {"timestamp": datetime(1969, 1, 1, tzinfo=UTC)},
        {"timestamp": TAKEN_AT - timedelta(microseconds=1)},
        {"timestamp": TAKEN_AT},
        {"origin": None},
        {"origin": "profile_gan"},
        {"weight": None},
        {"weight": 0.0},
        {"weight": -1.0},
        {"weight": 1e7},
    ]
    for position, fault in enumerate(faults):
        rows = changed(rows, [10 + position], **fault)
    far = pl.concat([rows.slice(50, 1)] * 2).with_columns(
        pl.Series("timestamp", [1_700_000_000_000_000_000, -(10**17)]).cast(TIME)
    )  # a wrong unit of time: years that Python has no dates for
    rows = rows.with_columns(
        pl.when(pl.int_range(pl.len()) < 70)
        .then(pl.col("timestamp") + timedelta(microseconds=1))
        .otherwise("timestamp")
    )
    dated = rows.slice(70, 2).with_columns(pl.col("timestamp").dt.truncate("1d"))
    rows = pl.concat([rows, far, rows.slice(60, 3), rows.slice(60, 1), rows.head(1), dated, dated])
    prices = pl.Series("price", [-1.0, 0.0, 1e12] + [None] * 12, dtype=pl.Float64)
    nameless = changed(changed(tables.items.head(2), [0], item_id=None), [1], item_id="")
    unserved = pl.DataFrame({"item_id": UNSERVED})
    items = pl.concat([tables.items.with_columns(prices), tables.items.head(2), nameless])
    items = pl.concat([items, unserved], how="diagonal")
    faulty = pl.DataFrame({"user_id": [None, None, "null", *UNSERVED]})
    users = pl.concat([tables.users, tables.users.head(1), faulty])
    allowed, window = read_config(
        PARAMS | {"validation": PARAMS["validation"] | {"value": {"min": 0.1, "max": 1e6}}}
    )
    checked = check_snapshot(Snapshot(rows, items, users, TAKEN_AT), allowed, window)
    rules = rules_of(allowed, TAKEN_AT)
    outcomes, _ = expectations.run(snapshot_suites(checked.tables, rules, allowed), TAKEN_AT)
    observed = {(o.suite, o.check.claim): o.observed for o in outcomes}
    for name, table in {"interactions": rows, "items": items, "users": users}.items():
        for rule in rules[name]:
            flagged = int(table.select(rule.flagged).to_series().sum())
            assert observed[name, f"never: {rule.reason}"] == flagged, rule.reason
            assert flagged, f"nothing breaks the rule: {rule.reason}"


def test_a_table_in_parts_has_the_pages_of_the_whole(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = shop()
    rows = pl.concat([changed(tables.interactions, [3], event="stare"), tables.interactions[:2]])
    place = workspace(tables._replace(interactions=rows))
    pages = {}
    for rows_at_once in (parts.ROWS_AT_ONCE, 30):
        monkeypatch.setattr(parts, "ROWS_AT_ONCE", rows_at_once)
        validate.main()
        files = sorted((place / "reports/validation").iterdir())
        pages[rows_at_once] = {file.name: file.read_text() for file in files}
    whole, in_parts = pages.values()
    assert in_parts == whole


def test_what_is_unique_in_parts_must_be_unique_by_their_column() -> None:
    check = Check("one row an item", "ExpectColumnValuesToBeUnique", {"column": "item_id"})
    with pytest.raises(ValueError, match="one row an item cannot be validated in parts"):
        Suite("views", "views", shop().interactions, [check], "user_id")


def test_a_table_beyond_the_memory_is_refused_before_it_is_read(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = workspace(shop())
    monkeypatch.setattr(memory, "machine_memory", lambda: 1_000)
    with pytest.raises(RefusedError, match="to read 300 rows needs") as told:
        validate.main()
    assert told.value.where == "data/raw/interactions.parquet"
    assert not (place / "data/quarantine").exists()


def test_the_expectations_say_what_the_limits_say(workspace: Workspace) -> None:
    place = workspace(shop(), min_interactions=301)
    assert "at least 301 interactions are left, observed 300" in refusal(place)


def test_one_user_only_is_refused(workspace: Workspace) -> None:
    tables = shop(n_users=1, n_items=200)
    message = refusal(workspace(tables))
    assert "at least 10 users are left, observed 1" in message
    assert "items are left" not in message


def test_a_table_without_rows_is_refused(workspace: Workspace) -> None:
    tables = shop()
    message = refusal(workspace(tables._replace(interactions=tables.interactions.head(0))))
    assert "at least 100 interactions are left, observed 0" in message
    assert "at least 10 users are left, observed 0" in message


def test_repeated_views_of_one_day_are_no_copies(workspace: Workspace) -> None:
    tables = shop()
    twice = pl.concat([tables.interactions, tables.interactions])
    rows = twice.with_columns(pl.col("timestamp").dt.truncate("1d"))
    place = workspace(tables._replace(interactions=rows))
    validate.main()
    assert results(place)["tables"]["interactions"]["good"] == len(rows)
    assert all(e["success"] for e in results(place)["tables"]["interactions"]["expectations"])


def test_too_many_bad_rows_are_refused(workspace: Workspace) -> None:
    tables = shop()
    rows = changed(tables.interactions, list(range(16)), user_id=None)
    message = refusal(workspace(tables._replace(interactions=rows)))
    assert "at most 5.0% of the rows are quarantined, observed 16 of 300" in message
    assert "data/quarantine/interactions.parquet" in message


def test_bad_rows_up_to_the_limit_are_tolerated(workspace: Workspace) -> None:
    tables = shop()
    workspace(
        tables._replace(interactions=changed(tables.interactions, list(range(15)), user_id=None))
    )
    validate.main()


def test_timestamps_of_a_wrong_unit_are_refused_as_future(workspace: Workspace) -> None:
    tables = shop()
    later = tables.interactions.with_columns((pl.col("timestamp").cast(pl.Int64) * 1000).cast(TIME))
    place = workspace(tables._replace(interactions=later))
    assert "300 of 300 rows" in refusal(place)
    counts = json.loads((place / "data/quarantine/counts.json").read_text())
    assert counts["interactions"] == {"timestamp is in the future": 300}


def test_refused_data_does_not_leave_an_earlier_runs_tables_behind(workspace: Workspace) -> None:
    place = workspace(shop())
    validate.main()
    raw = place / "data/raw/interactions.parquet"
    pl.read_parquet(raw).head(5).write_parquet(raw)
    refusal(place)


def test_rows_outside_the_window_are_counted_and_not_quarantined(workspace: Workspace) -> None:
    place = workspace(shop(), window={"start": "2023-01-02", "end": "2023-01-12"})
    validate.main()
    kept = pl.read_parquet(place / "data/validated/interactions.parquet")["timestamp"]
    assert (kept.min(), kept.max()) == (
        datetime(2023, 1, 2, tzinfo=UTC),
        datetime(2023, 1, 11, 23, tzinfo=UTC),
    )
    found = results(place)["tables"]["interactions"]
    assert (found["rows"], found["good"], found["quarantined"], found["out_of_window"]) == (
        300,
        240,
        0,
        60,
    )
    assert pl.read_parquet(place / "data/quarantine/interactions.parquet").is_empty()


def test_a_window_without_rows_is_refused(workspace: Workspace) -> None:
    message = refusal(workspace(shop(), window={"start": "2023-06-01", "end": None}))
    assert "observed 0" in message
    assert "data.window" in message


def test_a_window_that_is_no_date_is_refused_before_anything_is_read(workspace: Workspace) -> None:
    place = workspace(shop(), window={"start": "last week", "end": None})
    with pytest.raises(ConfigError, match=r"data.window.start"):
        validate.main()
    assert contents(place) == {}


def test_items_without_metadata_are_reported_and_stop_nothing(workspace: Workspace) -> None:
    tables = shop()
    place = workspace(tables._replace(items=tables.items.head(3)))
    validate.main()
    checks = results(place)["tables"]["interactions"]["expectations"]
    (about,) = [check for check in checks if check["column"] == "item_known"]
    assert (about["success"], about["critical"]) == (False, False)
    assert len(pl.read_parquet(place / "data/validated/interactions.parquet")) == 300


def test_a_shop_without_item_and_user_tables_passes(workspace: Workspace) -> None:
    tables = shop()
    place = workspace(tables._replace(items=tables.items.head(0), users=tables.users.head(0)))
    validate.main()
    assert results(place)["success"]


def spoil(place: Path, how: str) -> None:
    path = place / "data/raw/interactions.parquet"
    if how == "missing file":
        path.unlink()
    elif how == "empty file":
        path.write_bytes(b"")
    elif how == "truncated":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    else:
        pl.read_parquet(path).drop("user_id", "timestamp").write_parquet(path)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("missing file", "is missing"),
        ("empty file", "is empty"),
        ("truncated", "truncated"),
        ("columns", "missing columns: user_id, timestamp"),
    ],
)
def test_tables_that_cannot_be_read_are_named(workspace: Workspace, how: str, words: str) -> None:
    place = workspace(shop())
    spoil(place, how)
    with pytest.raises(InputError, match=words) as failed:
        validate.main()
    assert "data/raw/interactions.parquet" in str(failed.value)
    assert contents(place) == {}


def test_ids_of_other_types_are_read_and_missing_ones_quarantined(workspace: Workspace) -> None:
    tables = shop()
    place = workspace(tables)
    path = place / "data/raw/interactions.parquet"
    numbers = pl.col("user_id").str.slice(1).cast(pl.Float64)
    first = pl.int_range(pl.len()) == 0
    ids = pl.when(first).then(float("nan")).otherwise(numbers)
    tables.interactions.with_columns(ids.alias("user_id")).write_parquet(path)
    validate.main()
    kept = pl.read_parquet(place / "data/validated/interactions.parquet")
    assert kept.schema == pl.Schema(dict(INTERACTIONS))
    assert set(kept["user_id"]) == {str(n) for n in range(20)}
    assert len(kept) == 299


def test_two_runs_give_the_same_bytes_in_another_place_and_time_zone(
    workspace: Workspace, tmp_path: Path
) -> None:
    tables = shop()
    rows = changed(tables.interactions, [0, 1], user_id=None)
    place = workspace(tables._replace(interactions=changed(rows, [5], event="stare")))
    validate.main()
    here = contents(place)
    other = tmp_path / "elsewhere"
    (other / "data").mkdir(parents=True)
    (place / "data/raw").rename(other / "data/raw")
    (place / "params.yaml").rename(other / "params.yaml")
    done = subprocess.run(
        [sys.executable, "-m", "augrec.stages.validate"],
        cwd=other,
        env={**os.environ, "TZ": "Asia/Tokyo", "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert contents(other) == here
    assert len(here) > 10


def test_data_docs_open_offline_and_hold_nothing_of_the_machine(workspace: Workspace) -> None:
    tables = shop()
    hostile = changed(tables.interactions, [0], event="<script>alert(1)</script>")
    place = workspace(tables._replace(interactions=hostile))
    validate.main()
    pages = {page.name: page.read_text() for page in (place / "reports/validation").glob("*.html")}
    assert set(pages) == {
        "index.html",
        "interactions.html",
        "interactions_kept.html",
        "items.html",
        "users.html",
    }
    for page in pages.values():
        assert not re.search(r"https?://|src=|<link|<script", page)
        assert str(place) not in page
        for link in re.findall(r'href="([^"#]+)"', page):
            assert link in pages or link == "../report.html"
    assert "never: event is not one of validation.events" in pages["interactions.html"]
    assert "u0" not in pages["users.html"]  # no need to show who is there
