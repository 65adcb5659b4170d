"""What must hold of the splits under each protocol, with Great Expectations itself; its own leaks
are planted in each."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from augrec.core.errors import RefusedError
from augrec.data.config import SplitConfig
from augrec.data.simulate import ShopConfig, simulate
from augrec.data.split import split
from augrec.stages import prepare
from augrec.validation import splits

SETTINGS: dict[str, dict[str, Any]] = {
    "leave_last_out": {"protocol": "leave_last_out"},
    "random": {"protocol": "random"},
    "k_fold": {"protocol": "k_fold", "folds": 4},
    "held_out_users": {"protocol": "held_out_users"},
    "cold_items": {"protocol": "cold_items"},
    "cold_items by a share": {"protocol": "cold_items", "cold_share": 0.1},
}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Prepared tables under each protocol."""
    root = tmp_path_factory.mktemp("protocols")
    tables = simulate(ShopConfig(n_users=80, n_items=60, n_interactions=1800), seed=3)
    rows = tables.interactions.unique(["user_id", "item_id"], keep="first", maintain_order=True)
    rows = rows.sort(["user_id", "timestamp", "item_id"])
    folders = {name: root / name / "prepared" for name in SETTINGS}
    for name, settings in SETTINGS.items():
        prepare.write_prepared(
            folders[name], tables, rows, rows, split(rows, SplitConfig(**settings), 1)
        )
    return folders


def check(prepared: Path, name: str, out: Path) -> None:
    splits.check(prepared, {"prepare": {"split": SETTINGS[name]}}, out)


def refusal(
    good: dict[str, Path],
    tmp_path: Path,
    name: str,
    table: str,
    change: Callable[[pl.DataFrame], pl.DataFrame],
) -> str:
    """What the check says of tables of which one was changed."""
    prepared = tmp_path / "prepared"
    prepared.mkdir()
    for file in good[name].iterdir():
        (prepared / file.name).write_bytes(file.read_bytes())
    change(pl.read_parquet(prepared / f"{table}.parquet")).write_parquet(
        prepared / f"{table}.parquet"
    )
    with pytest.raises(RefusedError) as refused:
        check(prepared, name, tmp_path / "report")
    return str(refused.value)


def read(good: dict[str, Path], name: str, table: str) -> pl.DataFrame:
    return pl.read_parquet(good[name] / f"{table}.parquet")


def rows_of_targets(good: dict[str, Path], name: str, role: str = "test") -> pl.DataFrame:
    """The interactions that are targets."""
    cases = read(good, name, f"cases_{role}").select("user_id", pl.col("targets").alias("item_id"))
    return read(good, name, "interactions").join(
        cases.explode("item_id"), on=["user_id", "item_id"], how="semi"
    )


@pytest.mark.parametrize("name", SETTINGS)
def test_what_the_protocol_makes_passes(good: dict[str, Path], name: str, tmp_path: Path) -> None:
    check(good[name], name, tmp_path / "report")
    assert (tmp_path / "report/index.html").exists()


@pytest.mark.parametrize("name", ["leave_last_out", "random"])
def test_a_target_among_the_users_own_training_rows_is_refused(
    good: dict[str, Path], name: str, tmp_path: Path
) -> None:
    leak = rows_of_targets(good, name).head(1)
    message = refusal(good, tmp_path, name, "train", lambda t: pl.concat([t, leak]))
    assert "cases_test: no target is in the user's training rows, observed 1 of" in message


def test_a_training_row_later_than_the_users_last_item_is_refused(
    good: dict[str, Path], tmp_path: Path
) -> None:
    user = read(good, "leave_last_out", "cases_test")["user_id"][0]
    late = pl.col("timestamp") + pl.when(pl.col("user_id") == user).then(
        timedelta(days=4000)
    ).otherwise(timedelta())
    message = refusal(good, tmp_path, "leave_last_out", "train", lambda t: t.with_columns(late))
    assert "no training row of the user is after the moment" in message


def test_a_history_that_holds_what_came_later_is_refused_where_users_have_an_order(
    good: dict[str, Path], tmp_path: Path
) -> None:
    def plant(cases: pl.DataFrame) -> pl.DataFrame:
        first, last = pl.col("targets").list.head(1), pl.col("targets").list.tail(1)
        return cases.filter(pl.col("targets").list.len() > 1).with_columns(
            pl.col("history").list.concat(last), first.alias("targets")
        )

    message = refusal(good, tmp_path, "held_out_users", "cases_test", plant)
    assert "cases_test: no item of a history is after the moment" in message


def test_a_test_target_that_validation_could_see_is_refused(
    good: dict[str, Path], tmp_path: Path
) -> None:
    seen = read(good, "random", "cases_test").select("user_id", seen=pl.col("targets").list.head(1))

    def plant(cases: pl.DataFrame) -> pl.DataFrame:
        joined = cases.join(seen, on="user_id", how="left", maintain_order="left")
        return joined.with_columns(pl.col("history").list.concat("seen")).select(cases.columns)

    message = refusal(good, tmp_path, "random", "cases_valid", plant)
    assert "no target is in a validation case of the user" in message


def test_a_training_row_of_a_held_out_user_is_refused(
    good: dict[str, Path], tmp_path: Path
) -> None:
    leak = rows_of_targets(good, "k_fold", "valid").head(1)
    message = refusal(good, tmp_path, "k_fold", "train", lambda t: pl.concat([t, leak]))
    assert "no row of a held-out user" in message


def test_held_out_users_where_none_may_be_are_refused(
    good: dict[str, Path], tmp_path: Path
) -> None:
    user = pl.DataFrame({"user_id": ["stranger"], "role": ["test"]})
    message = refusal(good, tmp_path, "leave_last_out", "held_out", lambda t: pl.concat([t, user]))
    assert "no user is held out" in message


@pytest.mark.parametrize("name", ["leave_last_out", "random", "cold_items by a share"])
def test_a_cut_instant_is_refused_and_the_data_is_not_blamed(
    good: dict[str, Path], name: str, tmp_path: Path
) -> None:
    """A target of every user comes at the time of an item of the history."""
    cases = read(good, name, "cases_test")
    first = pl.col("history").list.first()
    times = read(good, name, "interactions")
    early = cases.select("user_id", item_id=first).join(times, on=["user_id", "item_id"])
    moved = cases.select("user_id", item_id=pl.col("targets").list.first()).join(
        early.select("user_id", early="timestamp"), on="user_id"
    )

    def plant(rows: pl.DataFrame) -> pl.DataFrame:
        joined = rows.join(moved, on=["user_id", "item_id"], how="left", maintain_order="left")
        return joined.with_columns(timestamp=pl.coalesce("early", "timestamp")).drop("early")

    message = refusal(good, tmp_path, name, "interactions", plant)
    assert "no target shares its timestamp with an item of the history" in message
    assert "your data is not at fault" in message


@pytest.mark.parametrize("name", ["cold_items", "cold_items by a share"])
def test_a_cold_item_that_somebody_else_was_trained_on_is_refused(
    good: dict[str, Path], name: str, tmp_path: Path
) -> None:
    item = rows_of_targets(good, name)["item_id"][0]
    met = read(good, name, "interactions").filter(pl.col("item_id") == item)["user_id"]
    others = read(good, name, "train").filter(~pl.col("user_id").is_in(met.implode()))
    leak = others.head(1).with_columns(item_id=pl.lit(item))
    message = refusal(good, tmp_path, name, "train", lambda t: pl.concat([t, leak]))
    assert "cases_test: no target is in a training row" in message
