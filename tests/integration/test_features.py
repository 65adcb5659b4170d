"""Feast, for real: duckdb offline, SQLite online and as the registry."""

from __future__ import annotations

import contextlib
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from feast.infra.online_stores.sqlite import SqliteOnlineStore
from polars.testing import assert_frame_equal

from augrec.core.errors import ConfigError, TransientError
from augrec.data.cases import CASES
from augrec.data.columns import INTERACTIONS, TIME
from augrec.features import databases, feature_service_name, store
from augrec.features.schema import data_period
from augrec.stages import features, training_set

ROOT = Path(__file__).parents[2]
TABLES = {"user": "user_id", "item": "item_id"}
DAY = timedelta(days=1)
DAY_US = DAY // timedelta(microseconds=1)
GROWING = ("days_since_last", "age_days")
FEAST_WAITS_S = 5.0
"""Python's default for SQLite, which Feast leaves as it is."""
OUTCOMES = {
    "purchase": datetime(2024, 5, 19, tzinfo=UTC),
    "return": datetime(2024, 5, 20, tzinfo=UTC),  # when validation begins
}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> Path:
    """A run's folder after its stages `features` and `training_set`."""
    folder = tmp_path_factory.mktemp("workspace")
    shutil.copytree(
        ROOT / "feature_repo", folder / "feature_repo", ignore=shutil.ignore_patterns("__pycache__")
    )
    params = {"features": {"every_days": 7, "windows_days": [7, 30], "max_categories": 3}}
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    _write_prepared(folder / "data" / "prepared")
    with contextlib.chdir(folder):
        features.main()
        training_set.main()
    return folder


@pytest.fixture(scope="module")
def online_store(workspace, tmp_path_factory) -> str:
    """An online store into which the workspace was materialized."""
    path = str(tmp_path_factory.mktemp("feast") / "online.db")
    assert store.materialize(workspace, online_store=path) == {"user": 30, "item": 13}
    return path


def _write_prepared(folder: Path) -> None:
    rng = np.random.default_rng(11)
    n = 600
    table = pl.DataFrame(
        {
            "user_id": [f"u{k}" for k in rng.integers(0, 29, n)],
            "item_id": [f"i{k}" for k in rng.integers(0, 12, n)],
            "event": ["rating"] * n,
            "value": rng.integers(1, 6, n).astype(np.float32),
            "timestamp": [
                datetime(2024, 3, 1, tzinfo=UTC) + timedelta(minutes=int(m))
                for m in rng.integers(0, 144_000, n)
            ],
            "origin": ["real"] * n,
            "weight": np.ones(n, np.float32),
        },
        schema_overrides=dict(INTERACTIONS),
    ).sort("user_id", "timestamp")
    held_out = pl.DataFrame({"user_id": ["u1", "u2"], "role": ["valid", "test"]})
    train = table.join(held_out, on="user_id", how="anti").filter(
        pl.col("timestamp") < datetime(2024, 5, 20, tzinfo=UTC)
    )
    users = pl.DataFrame({"user_id": [f"u{k}" for k in range(30)], "age": list(range(30))})
    items = pl.DataFrame(
        {
            "item_id": [f"i{k}" for k in range(13)],
            "categories": [["a"], ["a", "b"], ["c"], None] * 3 + [["d"]],
            "price": [1.0, None, 2.5] * 4 + [9.0],
        }
    )
    folder.mkdir(parents=True)
    # A shuffled training table with repeated rows: neither order nor repetition may get lost.
    tables = {
        "interactions": table,
        "held_out": held_out,
        "users": users,
        "items": items,
        "cases_valid": _cases("u1"),
        "cases_test": _cases("u2"),
        "train": pl.concat([train.sample(fraction=1.0, shuffle=True, seed=5), train.head(7)]),
        "events": pl.concat(
            [
                table,
                *(
                    table.with_columns(event=pl.lit(name), timestamp=pl.lit(when, TIME)).unique(
                        ["user_id", "item_id"]
                    )
                    for name, when in OUTCOMES.items()
                ),
            ]
        ),
    }
    for name, rows in tables.items():
        rows.write_parquet(folder / f"{name}.parquet")
    (folder / "split.json").write_text(
        '{"rules": {"order": "global", "users_held_out": true, "new_items": false}, "valid_from": '
        '"2024-05-20T00:00:00+00:00"}'
    )


def _cases(user: str) -> pl.DataFrame:
    moments = [datetime(2024, 2, 1, tzinfo=UTC), datetime(2024, 5, 20, tzinfo=UTC)]
    return pl.DataFrame(
        {
            "user_id": [user, user],
            "slice": ["0", "6-20"],
            "moment": moments,
            "history": [[], ["i1"]],
            "targets": [["i2"], ["i3"]],
        },
        schema=dict(CASES),
    )


def _table(workspace: Path, kind: str) -> pl.DataFrame:
    return pl.read_parquet(workspace / f"data/features/{kind}_features.parquet")


def _train(workspace: Path) -> pl.DataFrame:
    return pl.read_parquet(workspace / "data/prepared/train.parquet")


def _training_set(workspace: Path) -> pl.DataFrame:
    """Without the outcomes, which are none of Feast's."""
    return pl.read_parquet(workspace / "data/training_set/interactions.parquet").drop("outcomes")


def _copy(workspace: Path, to: Path) -> Path:
    shutil.copytree(workspace / "feature_repo", to / "feature_repo")
    shutil.copytree(workspace / "data/features", to / "data/features")
    return to


def _online_rows(path: str) -> list[tuple]:
    with contextlib.closing(sqlite3.connect(path)) as database:
        return [
            row
            for kind in TABLES
            for row in database.execute(
                f"SELECT entity_key, feature_name, value, event_ts FROM augrec_{kind}_features "
                "ORDER BY entity_key, feature_name"
            )
        ]


def test_every_training_row_comes_back_in_order_even_repeated_or_older_than_any_snapshot(workspace):
    train, joined = _train(workspace), _training_set(workspace)
    assert_frame_equal(joined.select(train.columns), train)
    assert train.is_duplicated().sum() >= 14
    before_any = joined.join(
        _table(workspace, "user").group_by("user_id").agg(pl.col("event_timestamp").min()),
        on="user_id",
    )
    before_any = before_any.filter(pl.col("timestamp") < pl.col("event_timestamp"))
    assert len(before_any) > 0
    assert before_any["user__interactions_total"].unique().to_list() == [0]
    assert before_any["user__days_since_last"].unique().to_list() == [30.0]
    assert before_any["user__category_shares"].unique().to_list() == [[0.0, 0.0, 0.0]]
    assert before_any["user__mean_value"].null_count() == len(before_any)


def test_the_join_gives_each_row_the_latest_snapshot_not_after_it(workspace):
    joined = _training_set(workspace).with_row_index("row")
    for kind, key in TABLES.items():
        snapshots = _table(workspace, kind).sort("event_timestamp")
        expected = (
            joined.select("row", key, "timestamp")
            .sort("timestamp")
            .join_asof(
                snapshots,
                left_on="timestamp",
                right_on="event_timestamp",
                by=key,
                strategy="backward",
                check_sortedness=False,
            )
            .sort("row")
        )
        known = expected["event_timestamp"].is_not_null()
        for name in set(snapshots.columns[2:]) - {"snapshot_us", *GROWING}:
            assert joined[f"{kind}__{name}"].filter(known).equals(expected[name].filter(known)), (
                name
            )


def test_what_grows_between_two_rows_of_a_table_is_as_of_the_latest_snapshot_stored_or_not(
    workspace,
):
    """In whole weeks since 1970, of which only those are stored at which a count changes."""
    joined = _training_set(workspace)
    latest = joined["timestamp"].to_physical() // (7 * DAY_US) * (7 * DAY_US)
    rows = joined.select("user_id", "item_id").with_columns(latest.alias("latest")).with_row_index()
    events = pl.read_parquet(workspace / "data/prepared/interactions.parquet")
    for kind, key, of_kind in (
        ("user", "user_id", events),
        ("item", "item_id", events.filter(~pl.col("user_id").is_in(["u1", "u2"]))),
    ):
        times = of_kind.select(key, at=pl.col("timestamp").to_physical())
        ages = (
            rows.join(times, on=key, how="left")
            .with_columns(days=(pl.col("latest") - pl.col("at")) / DAY_US)
            .filter(pl.col("days") > 0)
            .group_by("index")
            .agg(
                days_since_last=pl.col("days").min().clip(upper_bound=30), age=pl.col("days").max()
            )
        )
        known = rows.join(ages, on="index", how="left", maintain_order="left")
        recency = known["days_since_last"].fill_null(30.0)
        assert joined[f"{kind}__days_since_last"].to_numpy() == pytest.approx(recency.to_numpy())
    assert joined["item__age_days"].to_numpy() == pytest.approx(
        known["age"].fill_null(0).to_numpy()
    )


def test_the_result_does_not_depend_on_how_the_join_is_batched(workspace):
    assert_frame_equal(
        store.point_in_time(workspace, _train(workspace), batch_rows=100), _training_set(workspace)
    )


def test_a_planted_future_value_cannot_leak_into_the_training_set(workspace, tmp_path):
    train = _train(workspace)
    row = train.filter(pl.col("timestamp") == pl.col("timestamp").max()).row(0, named=True)
    seen = {}
    for name, shift in (("future", timedelta(microseconds=1)), ("present", timedelta())):
        planted = _copy(workspace, tmp_path / name)
        for kind, key in TABLES.items():
            table = _table(workspace, kind)
            lie = (
                table.filter(pl.col(key) == row[key])
                .head(1)
                .with_columns(
                    pl.lit(row["timestamp"] + shift)
                    .cast(table.schema["event_timestamp"])
                    .alias("event_timestamp"),
                    pl.lit(666_666).cast(pl.Int64).alias("interactions_total"),
                )
            )
            pl.concat([table, lie]).write_parquet(
                planted / f"data/features/{kind}_features.parquet"
            )
        seen[name] = store.point_in_time(planted, train)
    assert_frame_equal(seen["future"], _training_set(workspace))
    for kind in (
        TABLES
    ):  # the same value at the row's own moment is seen, so the test looks where it should
        assert 666_666 in seen["present"][f"{kind}__interactions_total"]


def test_a_training_row_knows_what_came_of_it_before_validation_and_nothing_from_then_on(workspace):
    outcomes = pl.read_parquet(workspace / "data/training_set/interactions.parquet")["outcomes"]
    bought = {"event": "purchase", "timestamp": OUTCOMES["purchase"]}
    assert all(len(told) == 1 and bought.items() <= told[0].items() for told in outcomes)


def test_the_training_set_knows_training_users_only(workspace):
    users = pl.read_parquet(workspace / "data/training_set/users.parquet")
    assert set(users["user_id"]) == set(_train(workspace)["user_id"])
    assert not {"u1", "u2", "u29"} & set(users["user_id"])
    assert users.columns == ["user_id", "age"]


def test_a_case_comes_with_what_was_known_of_its_user_at_its_moment(workspace):
    cases = pl.read_parquet(workspace / "data/training_set/cases_valid.parquet")
    assert_frame_equal(cases.select(*CASES), _cases("u1"))
    assert cases["age"].to_list() == [1, 1]
    own = _table(workspace, "user").filter(pl.col("user_id") == "u1").sort("event_timestamp")
    known = own.filter(pl.col("event_timestamp") <= cases["moment"][1])["interactions_total"][-1]
    assert cases["user__interactions_total"].to_list() == [0, known]
    assert own["interactions_total"][-1] != known  # what came later stayed unknown


def test_both_stages_give_the_same_bytes_again_and_touch_nothing_but_their_outputs(workspace):
    def contents() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in workspace.rglob("*") if path.is_file()}

    before = contents()
    with contextlib.chdir(workspace):
        features.main()
        training_set.main()
    assert contents() == before


def test_offline_and_online_agree_on_the_last_snapshot(workspace, online_store):
    opened = store.open_store(workspace, online_store=online_store)
    for kind, key in TABLES.items():
        last = (
            _table(workspace, kind)
            .sort("event_timestamp")
            .group_by(key, maintain_order=True)
            .last()
            .sort(key)
        )
        served = store.online(opened, **{f"{kind}s": last[key].to_list()})
        for name in last.columns[3:]:
            assert served[f"{kind}__{name}"].equals(last[name]), name
    pairs = pl.DataFrame({"user_id": ["u3", "u1"], "item_id": ["i12", "i0"]})
    moment = pl.lit(data_period(workspace)[1]).alias("timestamp")
    offline = store.point_in_time(workspace, pairs.with_columns(moment)).drop("timestamp")
    served = store.online(
        opened, users=pairs["user_id"].to_list(), items=pairs["item_id"].to_list()
    )
    assert_frame_equal(served, offline, check_column_order=False)


def test_an_unknown_user_is_served_the_stand_ins_that_training_used(workspace, online_store):
    served = store.online(
        store.open_store(workspace, online_store=online_store), users=["u3", "nobody"]
    )
    assert served["user_id"].to_list() == ["u3", "nobody"]
    assert served["user__interactions_total"][1] == 0
    assert served["user__category_shares"][1].to_list() == [0.0, 0.0, 0.0]
    assert served["user__mean_value"][1] is None
    assert served.schema["user__category_shares"] == pl.List(pl.Float32)


def test_the_service_a_model_is_tagged_with_exists_and_holds_every_feature(workspace, online_store):
    service = store.open_store(workspace, online_store=online_store).get_feature_service(
        feature_service_name()
    )
    names = {
        f"{view.name}:{field.name}"
        for view in service.feature_view_projections
        for field in view.features
    }
    assert names == {
        f"{kind}_features:{name}" for kind in TABLES for name in _table(workspace, kind).columns[2:]
    }


def test_materializing_twice_changes_nothing(workspace, online_store):
    before = _online_rows(online_store)
    store.materialize(workspace, online_store=online_store)
    assert _online_rows(online_store) == before


def test_an_interval_in_the_future_of_the_data_is_refused(workspace, online_store):
    first, last = data_period(workspace)
    with pytest.raises(ConfigError, match="the features end at"):
        store.materialize(workspace, first, last + DAY, online_store=online_store)
    with pytest.raises(ConfigError):
        store.materialize(workspace, last, first, online_store=online_store)


def test_only_the_interval_is_materialized(workspace, tmp_path):
    first, _ = data_period(workspace)
    path = str(tmp_path / "online.db")
    until = first + 14 * DAY
    counts = store.materialize(workspace, first, until, online_store=path)
    served = store.online(store.open_store(workspace, online_store=path), items=["i0"])
    past = _table(workspace, "item").filter(
        (pl.col("item_id") == "i0") & (pl.col("event_timestamp") <= until)
    )
    assert (
        served["item__interactions_total"][0]
        == past.sort("event_timestamp")["interactions_total"][-1]
    )
    assert counts["item"] == 13


def test_an_interrupted_materialization_leaves_readers_served_and_can_be_run_again(
    workspace, online_store, tmp_path, monkeypatch
):
    path = str(tmp_path / "online.db")
    first = data_period(workspace)[0]
    store.materialize(workspace, first, first + 14 * DAY, online_store=path)
    write = SqliteOnlineStore.online_write_batch

    def write_and_stop(*args, **kwargs):
        write(*args, **kwargs)
        raise KeyboardInterrupt  # unlike an error, nothing gets to tidy up after it

    with monkeypatch.context() as patched:
        patched.setattr(SqliteOnlineStore, "online_write_batch", write_and_stop)
        with pytest.raises(KeyboardInterrupt):
            store.materialize(workspace, online_store=path)
    opened = store.open_store(workspace, online_store=path)
    assert store.online(opened, users=["u3"], items=["i0"]).height == 1
    store.materialize(workspace, online_store=path)
    assert _online_rows(path) == _online_rows(online_store)


def test_two_workspaces_materialize_into_one_store_at_once_though_one_is_killed(
    workspace, online_store, tmp_path
):
    shared = str(tmp_path / "shared" / "online.db")
    runs = [
        _materialize_elsewhere(_copy(workspace, tmp_path / name), shared, kill)
        for name, kill in (("a", False), ("b", True))
    ]
    finished, killed = (run.wait(timeout=600) for run in runs)
    assert finished == 0
    assert killed == -signal.SIGKILL
    store.materialize(tmp_path / "b", online_store=shared)
    assert _online_rows(shared) == _online_rows(online_store)


@pytest.mark.parametrize("name", ["online.db", "registry.db"])
def test_a_damaged_local_store_is_kept_aside_and_made_anew(workspace, online_store, tmp_path, name):
    path = str(tmp_path / "online.db")
    last = data_period(workspace)[1]
    store.materialize(workspace, online_store=path)
    damaged = b"not a database" * 400
    (tmp_path / name).write_bytes(damaged)
    for log in ("-wal", "-shm"):  # from which SQLite would mend it
        (tmp_path / f"{name}{log}").unlink(missing_ok=True)
    store.materialize(workspace, last - DAY, online_store=path)
    assert _online_rows(path) == _online_rows(online_store)
    [kept] = [file for file in tmp_path.iterdir() if ".damaged-" in file.name]
    assert kept.name.startswith(name) and kept.read_bytes() == damaged
    assert store.online(store.open_store(workspace, online_store=path), items=["i0"]).height == 1


def test_a_store_locked_by_another_program_is_waited_for(workspace, online_store, tmp_path):
    path = str(tmp_path / "online.db")
    store.materialize(workspace, online_store=path)
    with ThreadPoolExecutor(1) as pool:
        holding = threading.Event()
        held = pool.submit(_hold, [path, str(tmp_path / "registry.db")], holding, FEAST_WAITS_S + 2)
        holding.wait()
        store.materialize(workspace, online_store=path)
        held.result()
    assert _online_rows(path) == _online_rows(online_store)


def test_a_store_that_stays_locked_is_a_passing_error_with_its_place(
    workspace, tmp_path, monkeypatch
):
    path = str(tmp_path / "online.db")
    store.materialize(workspace, online_store=path)
    monkeypatch.setattr(databases, "BUSY_S", 0.0)
    with ThreadPoolExecutor(1) as pool:
        holding = threading.Event()
        held = pool.submit(_hold, [path], holding, FEAST_WAITS_S + 2)
        holding.wait()
        with pytest.raises(TransientError, match="locked") as raised:
            store.materialize(workspace, online_store=path)
        held.result()
    assert path in str(raised.value)


def test_a_process_killed_while_it_applies_the_definitions_leaves_a_store_that_can_be_used(
    workspace, online_store, tmp_path
):
    path = str(tmp_path / "online.db")
    script = textwrap.dedent(f"""
        import os, signal
        from pathlib import Path
        from augrec.features import store
        from feast.infra.registry.sql import SqlRegistry
        apply, applied = SqlRegistry._apply_object, []
        def apply_and_die(*args, **kwargs):
            apply(*args, **kwargs)
            applied.append(1)
            if len(applied) == 3:
                os.kill(os.getpid(), signal.SIGKILL)
        SqlRegistry._apply_object = apply_and_die
        store.materialize(Path({str(workspace)!r}), online_store={path!r})
    """)
    killed = subprocess.run([sys.executable, "-c", script], stdout=subprocess.DEVNULL)
    assert killed.returncode == -signal.SIGKILL
    store.materialize(workspace, online_store=path)
    assert _online_rows(path) == _online_rows(online_store)


def _hold(paths: list[str], holding: threading.Event, seconds: float) -> None:
    """Keep the write locks of databases, as a backup or a stuck program does."""
    held = [sqlite3.connect(path, isolation_level=None) for path in paths]
    for connection in held:
        connection.execute("BEGIN EXCLUSIVE")
    holding.set()
    time.sleep(seconds)
    for connection in held:
        connection.close()


def _materialize_elsewhere(workspace: Path, path: str, kill: bool) -> subprocess.Popen:
    """Materialize in a process of its own; one to be killed dies half-way, after the first of the
    two views."""
    script = textwrap.dedent(f"""
        import os, signal
        from pathlib import Path
        from augrec.features import store
        from feast.infra.online_stores.sqlite import SqliteOnlineStore
        write = SqliteOnlineStore.online_write_batch
        def write_and_die(*args, **kwargs):
            write(*args, **kwargs)
            os.kill(os.getpid(), signal.SIGKILL)
        if {kill}:
            SqliteOnlineStore.online_write_batch = write_and_die
        store.materialize(Path({str(workspace)!r}), online_store={path!r})
    """)
    return subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.DEVNULL)
