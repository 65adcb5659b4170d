"""A small finished run, as the registry finds it: real recommenders, real metrics, a dvc.lock."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from augrec.core.files import read_json, write_json, write_parquet, write_text
from augrec.core.seeds import rng
from augrec.data.training_data import TrainingData
from augrec.evaluation.metrics import evaluate
from augrec.evaluation.user_means import summarise
from augrec.recommenders import base
from augrec.reporting import run_head

PARAMS = {
    "seed": 7,
    "run": {"recommenders": ["popularity"], "policies": ["none", "truncation"], "generators": []},
    "data": {
        "window": {"start": None, "end": None},
        "import": {"url": "postgresql://shop:hunter2@db/shop"},
    },
    "recommenders": {"popularity": {"half_life_days": None}, "ease": {}},
    "policies": {"none": [], "truncation": [{"truncate": {"ratio": 1.0}}]},
    "evaluation": {"cutoffs": [5, 10]},
    "gate": {
        "target_slice": "1-5",
        "metric": "ndcg@10",
        "confidence": 0.95,
        "bootstrap_samples": 200,
        "non_inferiority_margin": 0.01,
        "min_users": 5,
    },
}


def interactions(
    n_users: int = 60, n_items: int = 40, seed: int = 1, prefix: str = "i"
) -> pl.DataFrame:
    """Canonical interactions whose popularity falls with the item number."""
    draw = rng(seed, "interactions")
    items = (n_items * draw.random((n_users, 8)) ** 2).astype(int).ravel()
    start = datetime(2024, 1, 1, tzinfo=UTC)
    return pl.DataFrame(
        {
            "user_id": [f"u{user:03d}" for user in range(n_users) for _ in range(8)],
            "item_id": [f"{prefix}{item:03d}" for item in items],
            "event": "view",
            "value": pl.Series([None] * len(items), dtype=pl.Float32),
            "timestamp": [start + timedelta(hours=hour) for hour in range(len(items))],
            "origin": "real",
            "weight": pl.Series([1.0] * len(items), dtype=pl.Float32),
        },
        schema_overrides={"timestamp": pl.Datetime("us", "UTC")},
    ).unique(["user_id", "item_id"], keep="first", maintain_order=True)


def items(train: pl.DataFrame) -> pl.DataFrame:
    """An items table with titles and categories for what was interacted with, and an item that
    nobody has met."""
    ids = [*train["item_id"].unique().sort(), "unmet"]
    shelves = [[f"shelf {len(name)}"] for name in ids]
    titles = [f"Title of {name}" for name in ids]
    return pl.DataFrame(
        {"item_id": ids, "title": titles, "categories": shelves, "price": [9.5] * len(ids)}
    )


def make_workspace(
    folder: Path,
    *,
    winner: tuple[str, str] = ("popularity", "none"),
    seed: int = 1,
    prefix: str = "i",
    configs: Mapping[str, Any] | None = None,
) -> Path:
    """Fit, evaluate and decide on a small scale; returns the workspace."""
    train = interactions(seed=seed, prefix=prefix)
    write_parquet(folder / "data/prepared/items.parquet", items(train))
    write_parquet(folder / "data/prepared/train.parquet", train)
    write_json(folder / "data/prepared/split.json", {"rules": {"new_items": False}})
    cases = {split: _cases(number) for split, number in (("valid", 100), ("test", 200))}
    write_text(folder / "params.yaml", yaml.safe_dump(PARAMS))
    for split, table in cases.items():
        write_parquet(folder / f"data/training_set/cases_{split}.parquet", table)
    arms = [
        _arm(
            folder,
            winner[0],
            policy,
            train if policy == "none" else train.head(200),
            cases,
            (configs or {}),
        )
        for policy in sorted({"none", "truncation", winner[1]})
    ]
    decision = {
        "schema": 1,
        "verdict": "no_generated",
        "sentences": ["Nothing generated helped."],
        "arms": arms,
        "winner": {
            "recommender": winner[0],
            "policy": winner[1],
            "kind": "real",
            "model": f"models/recommenders/{winner[0]}/{winner[1]}",
        },
    }
    write_json(folder / "reports/decision.json", decision)
    write_text(folder / "reports/report.html", f"{run_head.MARK}<h1>report</h1>")
    write_text(folder / "reports/validation/index.html", "<h1>validation</h1>")
    write_text(folder / "dvc.lock", yaml.safe_dump(_lock(folder, winner[0], arms, seed)))
    return folder


def decision_of(workspace: Path) -> dict[str, Any]:
    """The run's decision.json."""
    return read_json(workspace / "reports/decision.json")


def _arm(
    folder: Path,
    recommender: str,
    policy: str,
    train: pl.DataFrame,
    cases: Mapping[str, pl.DataFrame],
    config: Mapping[str, Any],
) -> dict[str, Any]:
    model = base.find(recommender)(config, seed=3)
    model.fit(TrainingData(train))
    model.save(folder / "models/recommenders" / recommender / policy)
    rows = [f"{step},{1 / (step + 1)}" for step in range(50)]
    write_text(
        folder / "models/recommenders" / recommender / policy / "curve.csv",
        "\n".join(["step,loss", *rows]),
    )
    measured = {split: evaluate(model, table, [5, 10]) for split, table in cases.items()}
    found = {split: {**summarise(table), "catalogue": {}} for split, table in measured.items()}
    report = folder / "reports/evaluation" / recommender / policy
    write_json(report / "metrics.json", found)
    write_parquet(
        report / "per_user.parquet",
        pl.concat([table.with_columns(split=pl.lit(split)) for split, table in measured.items()]),
    )
    return {"recommender": recommender, "policy": policy, "kind": "real", **found}


def _cases(seed: int) -> pl.DataFrame:
    draw = rng(seed, "cases")
    items = [[f"i{item:03d}" for item in draw.permutation(40)[:8]] for _ in range(40)]
    return pl.DataFrame(
        {
            "user_id": [f"t{user:03d}" for user in range(40)],
            "slice": ["1-5"] * 40,
            "moment": [datetime(2024, 6, 1, tzinfo=UTC)] * 40,
            "history": [row[:3] for row in items],
            "targets": [row[3:] for row in items],
        },
        schema_overrides={"moment": pl.Datetime("us", "UTC")},
    )


def _lock(folder: Path, recommender: str, arms: list[dict[str, Any]], seed: int) -> dict[str, Any]:
    def entry(path: str) -> dict[str, str]:
        return {
            "path": path,
            "md5": hashlib.md5(f"{path}{seed}".encode(), usedforsecurity=False).hexdigest()
            + ".dir",
        }

    stages: dict[str, Any] = {
        "prepare": {"cmd": "x", "deps": [entry("data/raw")], "outs": [entry("data/prepared")]}
    }
    for arm in arms:
        name = f"{recommender}-{arm['policy']}"
        stages[f"train@{name}"] = {
            "deps": [entry(f"data/augmented/{arm['policy']}")],
            "outs": [entry(f"models/recommenders/{recommender}/{arm['policy']}")],
        }
    return {"schema": "2.0", "stages": stages}
