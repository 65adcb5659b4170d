"""What the files of a run's workspace hold: its parameters, and for each thing that was trained
parameters, metrics, curve and files. Nothing here touches MLflow."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from augrec.core.config import read_params
from augrec.core.errors import InputError
from augrec.core.files import read_json
from augrec.data import stored_groups
from augrec.data.ranking import LIST_METRICS
from augrec.registry.mlflow_values import metrics, texts

MAX_CURVE_ROWS = 200
MAX_TRIALS = 30
"""The best trials of a search become runs of their own; trials.csv has all."""
_AUDITED = ("passed", "fidelity", "diversity", "privacy", "leak", "utility")
# How tables are imported may name databases; it stays out.
_RUN_PARAMETERS = (
    "seed",
    "run",
    "data.window",
    "validation",
    "prepare",
    "features",
    "synthesis",
    "audit",
    "augmentation",
    "tuning.trials",
    "tuning.seconds",
    "tuning.metric",
    "tuning.pruning",
    "evaluation",
    "gate",
)


@dataclass(frozen=True)
class Trial:
    """One config of a search.

    Attributes:
        number: from 0.
        state: "complete", "pruned", … (see `augrec.tuning.search.Trial`).
        parameters: flat, as text.
        metrics: what it reached; empty where it did not end.
    """

    number: int
    state: str
    parameters: dict[str, str]
    metrics: dict[str, float]


@dataclass(frozen=True)
class Part:
    """One trained thing of a run: a generator, or a recommender under a policy; or a policy that
    searched for its mix.

    Attributes:
        role: "recommender", "generator" or "policy".
        name: "ease/none", "profile_gan".
        parameters: flat, as text.
        metrics: flat, finite.
        curve: columns step and one for each measured quantity.
        inputs: {path of a dataset: what it was used for}.
        files: shown with the part.
        trials: of the search for its hyper-parameters, or for its mix.
    """

    role: str
    name: str
    parameters: dict[str, str]
    metrics: dict[str, float]
    curve: pl.DataFrame
    inputs: dict[str, str]
    files: list[Path] = field(default_factory=list)
    trials: list[Trial] = field(default_factory=list)


def parts(workspace: Path) -> list[Part]:
    """Everything the run trained, and the searches of its policies: generators first, by name."""
    params = read_params(workspace)
    searched = sorted((workspace / "data/augmented").glob("[!.]*/trials.csv"))
    generators = sorted((workspace / "models/generators").glob("[!.]*/component.json"))
    evaluated = sorted((workspace / "reports/evaluation").glob("[!.]*/[!.]*/metrics.json"))
    return [
        *(_generator(workspace, params, path.parent.name) for path in generators),
        *(_policy(params, path.parent) for path in searched),
        *(_recommender(workspace, params, *path.parent.parts[-2:]) for path in evaluated),
    ]


def read_items(workspace: Path) -> pl.DataFrame | None:
    """The run's items table: titles, categories; None where it has none."""
    path = workspace / "data/prepared/items.parquet"
    return pl.read_parquet(path) if path.exists() else None


def refit(workspace: Path) -> Path | None:
    """The model that was trained once more on all interactions; None where the measured one
    serves."""
    path = workspace / "models/refit/model"
    return path if path.is_dir() else None


def write_groups(workspace: Path, decision: Mapping[str, Any], folder: Path) -> Path | None:
    """Write the run's groups to a folder, for the bundle; None: the run has no tables of groups."""
    if decision.get("together") is None:
        return None
    prepared = workspace / "data/prepared"
    groups = pl.read_parquet(prepared / "groups.parquet")
    choices = pl.read_parquet(prepared / "group_choices.parquet")
    stored_groups.write(folder, groups, choices, decision["together"])
    return folder


def run_parameters(workspace: Path) -> dict[str, str]:
    """Parameters of the whole run, flat; sections of single components are with their parts."""
    params = read_params(workspace)
    shown: dict[str, Any] = {}
    for name in _RUN_PARAMETERS:
        section, _, key = name.partition(".")
        value = params.get(section)
        if key:
            value = {key: value.get(key)} if isinstance(value, Mapping) and key in value else None
        if value is not None:
            shown[section] = {**shown.get(section, {}), **value} if key else value
    return texts(shown)


def dvc_hashes(workspace: Path) -> dict[str, str]:
    """DVC's hash of every input and output of every stage, by path."""
    stages = _read_lock(workspace).get("stages", {})
    entries = [
        entry
        for stage in stages.values()
        for kind in ("deps", "outs")
        for entry in stage.get(kind) or []
    ]
    return {entry["path"]: entry["md5"] for entry in entries if "md5" in entry}


def fingerprint(workspace: Path, commit: str) -> str:
    """Differs whenever a run's code, parameters, data or results differ."""
    hasher = hashlib.sha256(commit.encode())
    for name in ("params.yaml", "dvc.lock", "reports/decision.json"):
        path = workspace / name
        hasher.update(name.encode() + b"\0" + (path.read_bytes() if path.exists() else b"") + b"\0")
    return hasher.hexdigest()


def shown(measures: Mapping[str, Any]) -> dict[str, Any]:
    """The metrics of a split for MLflow: all of them over all users, accuracy by slice, and the
    gaps between groups.

    Those of every group of users, group of items and period are in metrics.json.
    """
    kept = {
        name: part
        for name, part in measures.items()
        if name not in ("slices", "items", "groups", "time")
    }
    kept["slices"] = {
        name: {
            key: value
            for key, value in part.items()
            if key.partition("@")[0] in ("n_users", *LIST_METRICS)
        }
        for name, part in measures.get("slices", {}).items()
    }
    kept["items"] = {
        name: {key: value for key, value in part.items() if key != "groups"}
        for name, part in measures.get("items", {}).items()
    }
    kept["groups"] = {
        name: {"gap": part["gap"]} for name, part in measures.get("groups", {}).items()
    }
    return kept


def read_curve(path: Path) -> pl.DataFrame:
    """A training curve: `step` (Int64) and Float64 columns, at most MAX_CURVE_ROWS rows, the last
    one among them."""
    nothing = pl.DataFrame(schema={"step": pl.Int64})
    if not path.exists() or not path.read_text(encoding="utf-8").strip():
        return nothing
    table = pl.read_csv(path, infer_schema_length=None)
    names = [name for name, kind in table.schema.items() if kind.is_numeric() and name != "step"]
    if "step" not in table.columns or table.is_empty() or not names:
        return nothing
    every = -(-len(table) // MAX_CURVE_ROWS)
    last = len(table) - 1
    rows = [*range(last % every, last + 1, every)]
    return table[rows].select(pl.col("step").cast(pl.Int64), pl.col(names).cast(pl.Float64))


def read_trials(folder: Path) -> list[Trial]:
    """The best MAX_TRIALS trials in the trials.csv of a model or policy, by number; none without a
    search."""
    if not (folder / "trials.csv").exists():
        return []
    table = pl.read_csv(folder / "trials.csv", infer_schema=False).with_columns(
        pl.col("trial").cast(pl.Int64), pl.col("value").cast(pl.Float64)
    )
    model = folder / "training.json"
    search = (
        read_json(model)["tuning"]
        if model.exists()
        else read_json(folder / "policy.json")["search"]
    )
    part = f"slices/{search['slice']}" if search.get("slice") else "overall"
    name = f"valid/{part}/{search['metric']}"
    best = table.sort("value", descending=True, nulls_last=True, maintain_order=True).head(
        MAX_TRIALS
    )
    return [
        Trial(row.pop("trial"), row.pop("state"), texts({"config": row}), metrics({name: value}))
        for row in best.sort("trial").iter_rows(named=True)
        for value in [row.pop("value")]
    ]


def _generator(workspace: Path, params: Mapping[str, Any], name: str) -> Part:
    folder, audit = (
        workspace / "models/generators" / name,
        workspace / "reports/audit" / name / "audit.json",
    )
    found = read_json(audit) if audit.exists() else {}
    return Part(
        role="generator",
        name=name,
        parameters=_component(workspace, params, "generators", name, folder)
        | texts({"synthesis": params.get("synthesis")}),
        metrics=metrics({key: found.get(key) for key in _AUDITED}),
        curve=read_curve(folder / "curve.csv"),
        inputs={"data/training_set": "training"},
        files=[path for path in (audit, audit.with_name("index.html")) if path.exists()],
    )


def _policy(params: Mapping[str, Any], folder: Path) -> Part:
    saved = read_json(folder / "policy.json")
    return Part(
        role="policy",
        name=folder.name,
        parameters=texts(
            {"policies": {folder.name: (params.get("policies") or {}).get(folder.name)}}
        ),
        metrics=metrics({"search": saved["search"]}),
        curve=pl.DataFrame(schema={"step": pl.Int64}),
        inputs={"data/training_set": "training"},
        files=[folder / "trials.csv", folder / "policy.json"],
        trials=read_trials(folder),
    )


def _recommender(workspace: Path, params: Mapping[str, Any], name: str, policy: str) -> Part:
    folder = workspace / "models/recommenders" / name / policy
    report = workspace / "reports/evaluation" / name / policy / "metrics.json"
    training = folder / "training.json"
    return Part(
        role="recommender",
        name=f"{name}/{policy}",
        parameters=_component(workspace, params, "recommenders", name, folder)
        | texts(
            {"policy": policy, "policies": {policy: (params.get("policies") or {}).get(policy)}}
        ),
        metrics=metrics({split: shown(measures) for split, measures in read_json(report).items()})
        | metrics({"training": read_json(training) if training.exists() else {}}),
        curve=read_curve(folder / "curve.csv"),
        inputs={f"data/augmented/{policy}": "training", "data/prepared": "evaluation"},
        files=[folder / "trials.csv"] if (folder / "trials.csv").exists() else [],
        trials=read_trials(folder),
    )


def _component(
    workspace: Path, params: Mapping[str, Any], room: str, name: str, folder: Path
) -> dict[str, str]:
    """The config that the run gave a component, and the one it was trained with: a search or the
    grid of regularisation may have chosen other values."""
    given = workspace / "data/config" / room / f"{name}.json"
    asked = {room: {name: read_json(given)["config"] if given.exists() else {}}}
    saved = folder / "component.json"
    became = read_json(saved) if saved.exists() else {}
    return texts(asked) | texts(
        {"seed": became.get("seed", params.get("seed")), "config": became.get("config")}
    )


def _read_lock(workspace: Path) -> dict[str, Any]:
    path = workspace / "dvc.lock"
    if not path.exists():
        raise InputError(
            "the workspace has no dvc.lock", where=str(path), fix="run the pipeline there first"
        )
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {}
