"""The check of the prepared splits, with Great Expectations itself: every leak we can think of is
planted."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from augrec.core.errors import InputError, RefusedError
from augrec.data.columns import TIME
from augrec.data.simulate import ShopConfig, simulate
from augrec.data.split import SplitConfig, split
from augrec.stages import prepare
from augrec.validation import splits

PARAMS = yaml.safe_load((Path(__file__).parents[2] / "params.yaml").read_text())


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


@pytest.fixture(scope="module")
def good_splits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("splits") / "data" / "prepared"
    tables = simulate(ShopConfig(n_users=120, n_items=60, n_interactions=2500), seed=3)
    rows = tables.interactions.unique(["user_id", "item_id"], keep="first", maintain_order=True)
    rows = rows.sort(["user_id", "timestamp"])
    prepare.write_prepared(folder, tables, rows, rows, split(rows, SplitConfig(), 1))
    return folder


@pytest.fixture
def prepared(good_splits: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    folder = tmp_path / "prepared"
    folder.mkdir()
    for file in good_splits.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


def rewrite(prepared: Path, name: str, change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    path = prepared / f"{name}.parquet"
    change(pl.read_parquet(path)).write_parquet(path)


def split_refusal(prepared: Path) -> str:
    out = prepared.parent / "report"
    with pytest.raises(RefusedError) as refused:
        splits.check(prepared, PARAMS, out)
    assert not json.loads((out / "results.json").read_text())["success"]
    assert (out / "index.html").exists()
    return str(refused.value)


def test_good_splits_pass_and_give_the_same_bytes_twice(good_splits: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        splits.check(good_splits, PARAMS, tmp_path / name)
    one, two = (
        {f.name: f.read_bytes() for f in (tmp_path / name).iterdir()} for name in ("one", "two")
    )
    assert one == two
    found = json.loads(one["results.json"])
    assert found["success"]
    assert "Times have the resolution of " in one["index.html"].decode()
    assert set(found["tables"]) == {"train", "held_out", "cases_valid", "cases_test"}


def test_a_training_row_from_the_future_is_refused(prepared: Path) -> None:
    valid_from = datetime.fromisoformat(
        json.loads((prepared / "split.json").read_text())["valid_from"]
    )
    rewrite(prepared, "train", lambda t: changed(t, [0], timestamp=valid_from))
    assert "every row is before" in split_refusal(prepared)


def test_a_held_out_user_in_training_is_refused(prepared: Path) -> None:
    user = pl.read_parquet(prepared / "held_out.parquet").filter(role="test")["user_id"][0]
    rewrite(prepared, "train", lambda t: changed(t, [0], user_id=user))
    assert "no row of a held-out user, observed 1 of" in split_refusal(prepared)


def test_generated_rows_in_training_are_refused(prepared: Path) -> None:
    rewrite(prepared, "train", lambda t: changed(t, [0], origin="profile_gan"))
    assert "every row is real" in split_refusal(prepared)


def test_items_a_user_never_had_are_refused_in_histories(prepared: Path) -> None:
    def plant(cases: pl.DataFrame) -> pl.DataFrame:
        return cases.with_columns(pl.col("history").list.concat(pl.lit(["nowhere"])))

    rewrite(prepared, "cases_valid", plant)
    assert "cases_valid: every item of a history is in an interaction of the user" in split_refusal(
        prepared
    )


def test_a_history_that_knows_the_future_is_refused(prepared: Path) -> None:
    def plant(cases: pl.DataFrame) -> pl.DataFrame:
        last = pl.col("targets").list.tail(1)
        first = pl.col("targets").list.head(pl.col("targets").list.len() - 1)
        return cases.filter(pl.col("targets").list.len() > 1).with_columns(
            pl.col("history").list.concat(last), first.alias("targets")
        )

    rewrite(prepared, "cases_test", plant)
    assert "cases_test: no item of a history is after the moment" in split_refusal(prepared)


def test_targets_that_are_in_the_history_are_refused(prepared: Path) -> None:
    rewrite(
        prepared, "cases_test", lambda t: t.with_columns(pl.col("targets").list.concat("history"))
    )
    message = split_refusal(prepared)
    assert "cases_test: no target is in the history" in message
    assert "cases_test: targets are after the moment" in message


def test_validation_moments_in_the_test_period_are_refused(prepared: Path) -> None:
    test_from = datetime.fromisoformat(
        json.loads((prepared / "split.json").read_text())["test_from"]
    )
    rewrite(prepared, "cases_valid", lambda t: changed(t, [0], moment=test_from))
    assert "cases_valid: moments lie in the valid period" in split_refusal(prepared)


def test_validation_targets_from_the_test_period_are_refused(prepared: Path) -> None:
    test = pl.read_parquet(prepared / "cases_test.parquet")
    roles = pl.DataFrame({"user_id": test["user_id"].unique(), "role": "valid"})
    rewrite(prepared, "held_out", lambda t: pl.concat([t.filter(role="valid"), roles]))
    start = datetime.fromisoformat(json.loads((prepared / "split.json").read_text())["valid_from"])
    moved = test.with_columns(
        pl.lit(start, dtype=TIME).alias("moment"), pl.lit([], pl.List(pl.String)).alias("history")
    )
    rewrite(prepared, "cases_valid", lambda t: pl.concat([t, moved]).unique(["user_id", "slice"]))
    assert "cases_valid: targets are after the moment and inside the period" in split_refusal(
        prepared
    )


def test_a_user_with_two_roles_is_refused(prepared: Path) -> None:
    rewrite(prepared, "held_out", lambda t: pl.concat([t, changed(t.head(1), [0], role="test")]))
    assert "held_out: a user has one role" in split_refusal(prepared)


def test_a_case_of_a_user_with_the_other_role_is_refused(prepared: Path) -> None:
    rewrite(prepared, "held_out", lambda t: t.with_columns(pl.lit("test").alias("role")))
    assert "cases_valid: every user is held out for valid" in split_refusal(prepared)


@pytest.mark.parametrize("name", ["train", "held_out", "cases_valid", "cases_test"])
def test_an_empty_part_is_refused(prepared: Path, name: str) -> None:
    rewrite(prepared, name, lambda t: t.head(0))
    assert f"{name}: there are" in split_refusal(prepared)


def test_a_missing_part_is_named(prepared: Path) -> None:
    (prepared / "cases_test.parquet").unlink()
    with pytest.raises(InputError, match="missing"):
        splits.check(prepared, PARAMS, prepared.parent / "report")
    assert not (prepared.parent / "report").exists()
