"""The prepared tables of a simulated shop, as the prepare stage writes them to a working
directory."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest
import yaml

from augrec.data.canonical import write_raw
from augrec.data.cases import CASES
from augrec.data.columns import INTERACTIONS, ITEMS, require
from augrec.data.simulate import ShopConfig, simulate
from augrec.data.split import SLICES

PROJECT = Path(__file__).parents[2]
SHOP = ShopConfig(n_users=400, n_items=200, n_interactions=8000)
FILES = {
    "interactions.parquet",
    "events.parquet",
    "train.parquet",
    "items.parquet",
    "users.parquet",
    "cases_valid.parquet",
    "cases_test.parquet",
    "held_out.parquet",
    "split.json",
}


def prepare(workspace: Path, shop: ShopConfig = SHOP) -> subprocess.CompletedProcess[str]:
    """Run the stage the way dvc does, on a validated shop."""
    tables = simulate(shop, seed=3)
    write_raw(workspace / "data" / "validated", *tables, source={"source": "simulated"})
    (workspace / "params.yaml").write_text((PROJECT / "params.yaml").read_text())
    return subprocess.run(
        [sys.executable, "-m", "augrec.stages.prepare"],
        cwd=workspace,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    workspace = tmp_path_factory.mktemp("workspace")
    done = prepare(workspace)
    assert done.returncode == 0, done.stdout + done.stderr
    return workspace / "data" / "prepared"


def test_the_stage_writes_what_it_declares_and_nothing_else(prepared: Path) -> None:
    assert {path.name for path in prepared.iterdir()} == FILES
    workspace = prepared.parents[1]
    assert {path.name for path in workspace.iterdir()} == {"data", "reports", "params.yaml"}
    assert [path.name for path in (workspace / "reports").iterdir()] == ["splits"]
    declared = yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"]["prepare"]["outs"]
    assert declared == ["data/prepared", "reports/splits"]


def test_tables_have_their_schemas(prepared: Path) -> None:
    for name in ("interactions", "events", "train"):
        require(pl.read_parquet(prepared / f"{name}.parquet"), INTERACTIONS, where=name)
    for name in ("cases_valid", "cases_test"):
        assert dict(pl.read_parquet(prepared / f"{name}.parquet").schema) == dict(CASES)
    require(pl.read_parquet(prepared / "items.parquet"), ITEMS, where="items")


def test_no_held_out_user_and_nothing_of_the_future_is_in_the_training_rows(prepared: Path) -> None:
    train = pl.read_parquet(prepared / "train.parquet")
    held_out = pl.read_parquet(prepared / "held_out.parquet")
    summary = json.loads((prepared / "split.json").read_text())
    assert train["timestamp"].max() < datetime.fromisoformat(summary["valid_from"])
    assert train.join(held_out, on="user_id", how="semi").is_empty()
    for role in ("valid", "test"):
        cases = pl.read_parquet(prepared / f"cases_{role}.parquet")
        assert set(cases["user_id"]) <= set(held_out.filter(pl.col("role") == role)["user_id"])
        assert cases["moment"].min() >= datetime.fromisoformat(summary[f"{role}_from"])


def test_the_summary_counts_what_the_tables_hold(prepared: Path) -> None:
    summary = json.loads((prepared / "split.json").read_text())
    assert summary["first"] < summary["valid_from"] < summary["test_from"] < summary["last"]
    assert summary["counts"]["train"]["interactions"] == len(
        pl.read_parquet(prepared / "train.parquet")
    )
    for role in ("valid", "test"):
        slices = summary["counts"][role]["slices"]
        assert list(slices) == sorted(SLICES)
        assert sum(slices.values()) == len(pl.read_parquet(prepared / f"cases_{role}.parquet"))


def test_running_again_gives_the_same_bytes(prepared: Path, tmp_path: Path) -> None:
    assert prepare(tmp_path).returncode == 0
    for name in FILES:
        assert (prepared / name).read_bytes() == (
            tmp_path / "data" / "prepared" / name
        ).read_bytes()


def test_one_user_only_is_refused_with_advice(tmp_path: Path) -> None:
    done = prepare(tmp_path, ShopConfig(n_users=1, n_items=50, n_interactions=200))
    assert done.returncode == 2
    assert "held out" in done.stderr
    assert "fix:" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "data" / "prepared").exists()
