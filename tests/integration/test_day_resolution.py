"""A shop whose times are dates, from the raw tables to the online store, with real systems."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import polars as pl
import pytest
import yaml

from augrec.core.files import read_json
from augrec.data.canonical import write_raw
from augrec.data.simulate import ShopConfig, simulate
from augrec.features import store
from augrec.stages import features, prepare, training_set, validate

PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder after all stages before the first training."""
    folder = tmp_path_factory.mktemp("dates")
    shop = simulate(ShopConfig(n_users=250, n_items=120, n_interactions=6000), seed=3)
    day = pl.col("timestamp").dt.truncate("1d")
    raw = shop._replace(interactions=shop.interactions.with_columns(day))
    write_raw(folder / "data/raw", *raw, source={"source": "simulated"})
    shutil.copy(PROJECT / "params.yaml", folder)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PROJECT / "feature_repo", folder / "feature_repo", ignore=ignored)
    with contextlib.chdir(folder):
        for stage in (validate, prepare, features, training_set):
            stage.main()
    return folder


def test_no_row_is_lost_though_some_repeat_on_their_day(workspace: Path) -> None:
    raw = pl.read_parquet(workspace / "data/raw/interactions.parquet")
    assert raw.is_duplicated().any()
    assert len(pl.read_parquet(workspace / "data/validated/interactions.parquet")) == len(raw)


def test_the_pages_say_what_the_times_are(workspace: Path) -> None:
    times = read_json(workspace / "data/prepared/split.json")["counts"]["times"]
    assert times["resolution"] == "days"
    assert times["tied_share"] > 0.5
    for name in ("validation", "splits"):
        page = (workspace / "reports" / name / "index.html").read_text()
        assert "Times have the resolution of days" in page


def test_cases_of_each_role_begin_and_go_on_between_two_days(workspace: Path) -> None:
    met = pl.read_parquet(workspace / "data/prepared/interactions.parquet")
    for role in ("valid", "test"):
        cases = pl.read_parquet(workspace / f"data/training_set/cases_{role}.parquet")
        assert {"0", "1-5", "6-20"} <= set(cases["slice"])
        sides = [
            cases.with_row_index("case")
            .select("case", "user_id", pl.col(name).alias("item_id"))
            .explode("item_id")
            .join(met, on=["user_id", "item_id"])
            for name in ("history", "targets")
        ]
        last, first = (
            side.group_by("case").agg(end)
            for side, end in zip(
                sides, (pl.col("timestamp").max(), pl.col("timestamp").min()), strict=True
            )
        )
        both = last.join(first, on="case", suffix="_of_targets")
        assert (both["timestamp"] < both["timestamp_of_targets"]).all()


def test_features_of_a_row_know_nothing_of_its_day(workspace: Path) -> None:
    rows = pl.read_parquet(workspace / "data/training_set/interactions.parquet")
    earlier = rows.select(
        known="user__interactions_total",
        before=pl.col("timestamp").rank("min").over("user_id") - 1,
    )
    assert (earlier["known"] <= earlier["before"]).all()
    assert earlier["known"].max() > 5


def test_feature_tables_grow_with_activity_and_are_served(workspace: Path, tmp_path: Path) -> None:
    n_rows = len(pl.read_parquet(workspace / "data/prepared/interactions.parquet"))
    n_windows = len(
        yaml.safe_load((workspace / "params.yaml").read_text())["features"]["windows_days"]
    )
    for kind in ("user", "item"):
        table = pl.read_parquet(workspace / f"data/features/{kind}_features.parquet")
        n_ids = table[f"{kind}_id"].n_unique()
        assert len(table) <= (1 + n_windows) * n_rows + 2 * n_ids
    online = str(tmp_path / "online.db")
    written = store.materialize(workspace, online_store=online)
    last = table.sort("event_timestamp").group_by("item_id", maintain_order=True).last().head(9)
    opened = store.open_store(workspace, online_store=online)
    served = store.online(opened, items=last["item_id"].to_list())
    assert written == {"user": 250, "item": n_ids}
    assert served["item__interactions_total"].equals(last["interactions_total"], check_names=False)
