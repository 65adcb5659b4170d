"""A small shop with a registry, a champion, a challenger and a retrain behind them, and its service
on loopback."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
import yaml

from augrec.core.files import write_json, write_parquet, write_text
from augrec.data.canonical import write_raw
from augrec.data.simulate import ShopConfig, simulate
from augrec.data.training_data import TrainingData
from augrec.recommenders import base
from augrec.registry import models, promotion, tracking
from augrec.registry.connection import MODEL, client
from augrec.reporting import report

ROOT = Path(__file__).parents[2]
HOSTILE = "<img src=x onerror=document.title='pwned'> & “Sons”"
LONG = (
    "An uncommonly long title of a rather ordinary thing, Unabbreviatedlyspeltthroughout, with all "
    "its parts: " * 2
)
RUN = "manual__2026-01-01"
_SERVE = """
from augrec.core import settings
from augrec.serving.server import serve

serve(settings.load())
"""
_GROUPS = {"0": 40, "1-5": 60, "6-20": 50, "21+": 20}
_ARMS = {("ease", "none"): 0.12, ("ease", "profile_gan"): 0.11, ("popularity", "none"): 0.06}


def make_project(home: Path) -> Path:
    """A project of a simulated shop: data/raw, a run that decided, version 1 (ease) the champion,
    version 2 (popularity)."""
    shop = simulate(ShopConfig(n_users=300, n_items=120, n_interactions=9000), seed=5)
    popular = shop.interactions["item_id"].value_counts(sort=True)["item_id"]
    named = {popular[1]: HOSTILE, popular[2]: LONG}
    items = shop.items.with_columns(
        title=pl.col("item_id").replace_strict(named, default=pl.col("title"))
    )
    write_raw(home / "data/raw", shop.interactions, items, shop.users, {"source": "simulated"})
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params["serving"] = {**params.get("serving", {}), "features": False, "poll_s": 0.3}
    write_text(home / "params.yaml", yaml.safe_dump(params))
    shutil.copy(ROOT / "dvc.yaml", home)
    workspace = _ran(home / "run", shop.interactions, items, params)
    with pytest.MonkeyPatch.context() as environment:
        _at(environment, home)
        tracking.log_run(workspace, RUN, commit="c0ffee" * 6 + "c0ff")
        for recommender in ("ease", "popularity"):
            models.register(workspace, RUN, "c0ffee" * 6 + "c0ff", _decision(recommender))
        promotion.promote("1", reason="It is the first model.", by="test", expected_champion=None)
    return home


def challenge(home: Path, version: str | None) -> None:
    """Name the challenger in the registry; None: there is none."""
    with pytest.MonkeyPatch.context() as environment:
        _at(environment, home)
        if version is None:
            client().delete_registered_model_alias(MODEL, "challenger")
        else:
            client().set_registered_model_alias(MODEL, "challenger", version)


def promote(home: Path, version: str, instead_of: str) -> None:
    """Move the champion."""
    with pytest.MonkeyPatch.context() as environment:
        _at(environment, home)
        promotion.promote(version, reason="It is better.", by="test", expected_champion=instead_of)


@contextmanager
def serving(home: Path, **variables: str) -> Iterator[str]:
    """The service as its own process; yields its address once it is ready."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("AUGREC_")
    }
    environment |= {"AUGREC_HOME": str(home), "AUGREC_SERVING_PORT": str(port), **variables}
    environment.pop("MLFLOW_TRACKING_URI", None)
    log = home / "serving.log"
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", _SERVE],
            env=environment,
            cwd=home,
            stdout=out,
            stderr=out,
        )
    try:
        address = f"http://127.0.0.1:{port}"
        _wait_until_ready(address, process, log)
        yield address
    finally:
        process.terminate()
        process.wait(30)


def _wait_until_ready(address: str, process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        try:
            ready = httpx.get(f"{address}/health/ready", timeout=5)
            if ready.status_code == 200 and ready.json()["version"] != "0":
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.2)
    raise AssertionError(f"the service did not come up:\n{log.read_text(encoding='utf-8')[-3000:]}")


def _at(environment: pytest.MonkeyPatch, home: Path) -> None:
    environment.setenv("AUGREC_HOME", str(home))
    for name in ("AUGREC_VAR", "MLFLOW_TRACKING_URI"):
        environment.delenv(name, raising=False)
    (home / "var/mlflow").mkdir(parents=True, exist_ok=True)


def _ran(
    folder: Path, interactions: pl.DataFrame, items: pl.DataFrame, params: dict[str, Any]
) -> Path:
    """The workspace of a run that trained, measured, audited and decided."""
    write_text(folder / "params.yaml", yaml.safe_dump(params))
    write_text(folder / "dvc.lock", yaml.safe_dump({"schema": "2.0", "stages": {}}))
    write_parquet(folder / "data/prepared/items.parquet", items)
    for recommender, policy in _ARMS:
        seen = interactions if policy == "none" else interactions.head(6000)
        base.find(recommender)({}, seed=1).fit(TrainingData(seen)).save(
            folder / f"models/recommenders/{recommender}/{policy}"
        )
        write_json(
            folder / f"reports/evaluation/{recommender}/{policy}/metrics.json",
            _measured(recommender, policy),
        )
    write_json(folder / "models/generators/profile_gan/component.json", {"config": {}, "seed": 1})
    write_json(folder / "reports/audit/profile_gan/audit.json", _AUDIT)
    write_json(folder / "reports/audit/profile_gan/distributions.json", _DISTRIBUTIONS)
    write_text(
        folder / "reports/audit/profile_gan/index.html", "<!doctype html><title>The audit</title>"
    )
    write_json(folder / "reports/decision.json", _decision("ease"))
    report.write(folder / "reports/report.html", _decision("ease"), folder)
    return folder


def _measured(recommender: str, policy: str) -> dict[str, Any]:
    gain = _ARMS[recommender, policy]
    slices = {
        name: {"n_users": n, "ndcg@10": gain + place / 100}
        for place, (name, n) in enumerate(_GROUPS.items())
    }
    side = {
        "overall": {"n_users": sum(_GROUPS.values()), "ndcg@10": gain},
        "slices": slices,
        "catalogue": {},
    }
    return {"valid": side, "test": side}


def _decision(winner: str) -> dict[str, Any]:
    kinds = {"none": "real", "profile_gan": "generated"}
    return {
        "schema": 1,
        "verdict": "no_generated",
        "seed": 1,
        "sentences": ["Serve ease trained on real data: no generated data has earned its place."],
        "rule": "Validation users choose.",
        "gate": {
            "target_slice": "1-5",
            "metric": "ndcg@10",
            "confidence": 0.95,
            "bootstrap_samples": 200,
            "non_inferiority_margin": 0.01,
            "min_users": 20,
            "power": 0.8,
        },
        "winner": {
            "recommender": winner,
            "policy": "none",
            "kind": "real",
            "model": f"models/recommenders/{winner}/none",
        },
        "arms": [
            {
                "recommender": r,
                "policy": p,
                "kind": kinds[p],
                "repetitions": {"test": {}},
                "regularisation": {},
                **_measured(r, p),
            }
            for r, p in _ARMS
        ],
        "comparisons": [],
        "recommenders": [
            {
                "recommender": "ease",
                "best_without_generated": "none",
                "candidate": "profile_gan",
                "accepted": False,
                "chosen": "none",
                "reason": "not shown to be better than none",
                "groups": [],
                "power": None,
            }
        ],
        "audits": {"profile_gan": {"passed": True, "failed_limits": []}},
    }


_AUDIT = {
    "generator": "profile_gan",
    "passed": True,
    "failed_limits": [],
    "fidelity": {"popularity_correlation": 0.95},
    "diversity": {"duplicate_share": 0.0, "item_coverage": 0.9},
    "privacy": {"attack_auc": 0.52, "copy_share": 0.0},
    "limits": {"max_attack_auc": 0.65, "max_copy_share": 0.01, "min_item_coverage": 0.3},
}
_DISTRIBUTIONS = {
    "lengths": {"edges": [0, 10, 20, 30], "real": [5, 3, 1], "synthetic": [4, 4, 1]},
    "categories": {"names": ["books", "toys"], "real": [0.6, 0.4], "synthetic": [0.5, 0.5]},
}
