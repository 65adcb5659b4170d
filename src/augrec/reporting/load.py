"""Reads from a workspace's files what the report shows. A missing file was not part of the run:
None."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from augrec.core.config import PARAMS, read_params
from augrec.core.files import read_json
from augrec.data.columns import Columns as C
from augrec.data.instants import in_words

SHOWN_PARAMETERS = (
    "seed",
    "run",
    "data.window",
    "prepare",
    "generators",
    "synthesis",
    "audit",
    "augmentation",
    "policies",
    "recommenders",
    "evaluation",
    "gate",
)
"""The parts of params.yaml that the report repeats: what a run depends on, without the import of
tables."""


@dataclass(frozen=True)
class Inputs:
    """The inputs of a run.

    Attributes:
        facts: n_interactions, n_users, n_items, n_training_users, first, last of the cleaned
            interactions.
        activity: columns start, n, period ("train", "validation", "test"): interactions by bin of
            time.
        checks: one row a table: name, rows, good, quarantined.
        reasons: (table, reason, rows) of quarantined rows, most frequent first; None where they
            were not counted.
        cases: {split: {slice: number of cases}}.
        split: split.json.
        times: the resolution of the times and how many rows are tied, as a sentence; None where
            they were not counted.
    """

    facts: Mapping[str, Any] | None
    activity: pl.DataFrame | None
    checks: list[dict[str, Any]] | None
    reasons: list[tuple[str, str, int]] | None
    cases: dict[str, dict[str, int]]
    split: Mapping[str, Any] | None
    times: str | None


@dataclass(frozen=True)
class GeneratorFacts:
    """One generator: its sample, its audit with distributions, and a few synthetic users as
    examples."""

    name: str
    sample: Mapping[str, Any] | None
    audit: Mapping[str, Any] | None
    distributions: Mapping[str, Any] | None
    examples: list[list[str]]
    curve: pl.DataFrame | None
    page: str | None = None
    """Path of the audit's page, relative to reports/."""


def table(path: Path, columns: list[str] | None = None) -> pl.DataFrame | None:
    """A Parquet table, or nothing where there is none."""
    return pl.read_parquet(path, columns=columns) if path.exists() else None


def json_file(path: Path) -> Any:
    """A JSON file, or nothing where there is none."""
    return read_json(path) if path.exists() else None


def curve(path: Path) -> pl.DataFrame | None:
    """A training curve: numeric columns by step, or nothing where a model has no training loop."""
    if not path.exists() or len(path.read_text(encoding="utf-8").splitlines()) < 3:
        return None
    return pl.read_csv(path, infer_schema_length=None).select(pl.selectors.numeric())


def moment(text: str) -> datetime:
    """An ISO timestamp, UTC where it names no zone."""
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def inputs(workspace: Path) -> Inputs:
    """Read the inputs of the run."""
    prepared = workspace / "data/prepared"
    split = json_file(prepared / "split.json")
    rows = table(prepared / "interactions.parquet", [C.USER, C.ITEM, C.TIMESTAMP])
    results = json_file(workspace / "reports/validation/results.json")
    checks = (
        [{"name": name, **facts} for name, facts in results["tables"].items()] if results else None
    )
    cases = {
        name: _cases(table(prepared / f"cases_{name}.parquet", ["slice"]))
        for name in ("valid", "test")
    }
    training = table(prepared / "train.parquet", [C.USER])
    return Inputs(
        facts=None if rows is None or rows.is_empty() else _facts(rows, training),
        activity=None if rows is None or rows.is_empty() else _activity(rows[C.TIMESTAMP], split),
        checks=checks,
        reasons=_reasons(json_file(workspace / "data/quarantine/counts.json")),
        cases={name: counts for name, counts in cases.items() if counts},
        split=split,
        times=_times(split),
    )


def generators(workspace: Path, names: Iterable[str], n_examples: int = 3) -> list[GeneratorFacts]:
    """Read the samples and audits of the named generators; others in the folders belong to other
    runs."""
    titles = table(workspace / "data/prepared/items.parquet")
    return [
        GeneratorFacts(
            name=name,
            sample=json_file(workspace / "data/synthetic" / name / "sample.json"),
            audit=json_file(workspace / "reports/audit" / name / "audit.json"),
            distributions=json_file(workspace / "reports/audit" / name / "distributions.json"),
            examples=_examples(
                workspace / "data/synthetic" / name / "interactions.parquet", titles, n_examples
            ),
            curve=curve(workspace / "models/generators" / name / "curve.csv"),
            page=f"audit/{name}/index.html"
            if (workspace / "reports/audit" / name / "index.html").exists()
            else None,
        )
        for name in sorted(names)
    ]


def parameters(workspace: Path) -> dict[str, Any] | None:
    """The parameters the run depends on."""
    if not (workspace / PARAMS).exists():
        return None
    everything = read_params(workspace) | {
        room: _configs(workspace / "data/config" / room) for room in ("generators", "recommenders")
    }
    shown: dict[str, Any] = {}
    for name in SHOWN_PARAMETERS:
        section, _, key = name.partition(".")
        if key and key in (everything.get(section) or {}):
            shown[section] = {key: everything[section][key]}
        elif not key and section in everything:
            shown[section] = everything[section]
    return shown


def _configs(folder: Path) -> dict[str, Any]:
    """The whole config of each component of the run."""
    return {path.stem: read_json(path)["config"] for path in sorted(folder.glob("*.json"))}


def as_yaml(shown: Mapping[str, Any]) -> str:
    """Parameters as params.yaml writes them."""
    return yaml.safe_dump(
        dict(shown), sort_keys=False, allow_unicode=True, default_flow_style=None, width=88
    )


def _times(split: Mapping[str, Any] | None) -> str | None:
    counts = (split or {}).get("counts")
    return in_words(counts["times"], counts["all"]["interactions"]) if counts else None


def _facts(rows: pl.DataFrame, training: pl.DataFrame | None) -> dict[str, Any]:
    return {
        "n_interactions": len(rows),
        "n_users": rows[C.USER].n_unique(),
        "n_items": rows[C.ITEM].n_unique(),
        "n_training_interactions": None if training is None else len(training),
        "n_training_users": None if training is None else training[C.USER].n_unique(),
        "first": rows[C.TIMESTAMP].min(),
        "last": rows[C.TIMESTAMP].max(),
    }


def _activity(times: pl.Series, split: Mapping[str, Any] | None, n_bins: int = 60) -> pl.DataFrame:
    """Interactions by bin of time; a bin belongs to the period of its middle."""
    seconds = times.dt.epoch("s")
    low, high = int(seconds.min()), int(seconds.max())  # type: ignore[arg-type]
    width = max(1, -(-(high - low + 1) // n_bins))
    counted = (
        pl.DataFrame({"bin": (seconds - low) // width})
        .group_by("bin")
        .len("n")
        .sort("bin")
        .with_columns(start=low + pl.col("bin") * width)
    )
    period = pl.lit("train")
    if split and split.get("valid_from") and split.get("test_from"):
        valid, test = (int(moment(split[name]).timestamp()) for name in ("valid_from", "test_from"))
        middle = pl.col("start") + width // 2
        period = (
            pl.when(middle >= test)
            .then(pl.lit("test"))
            .when(middle >= valid)
            .then(pl.lit("validation"))
        )
        period = period.otherwise(pl.lit("train"))
    return counted.select("start", "n", width=pl.lit(width), period=period)


def _cases(cases: pl.DataFrame | None) -> dict[str, int]:
    return {} if cases is None else dict(cases.group_by("slice").len().sort("slice").iter_rows())


def _reasons(counts: Mapping[str, Mapping[str, int]] | None) -> list[tuple[str, str, int]] | None:
    if counts is None:
        return None
    found = [
        (name, reason, n) for name, reasons in counts.items() for reason, n in reasons.items() if n
    ]
    return sorted(found, key=lambda row: (-row[2], row[0], row[1]))


def _examples(path: Path, items: pl.DataFrame | None, n: int, length: int = 8) -> list[list[str]]:
    """Titles of a few synthetic profiles of median length."""
    rows = table(path, [C.USER, C.ITEM])
    if rows is None or rows.is_empty():
        return []
    lengths = rows.group_by(C.USER).len("n").sort(C.USER)
    middle = lengths["n"].median()
    chosen = lengths.sort((pl.col("n") - middle).abs(), C.USER).head(n)[C.USER]
    rows = rows.filter(pl.col(C.USER).is_in(chosen.implode()))
    if items is not None and C.TITLE in items.columns:
        rows = rows.join(
            items.select(C.ITEM, C.TITLE), on=C.ITEM, how="left", maintain_order="left"
        )
        rows = rows.with_columns(pl.coalesce(C.TITLE, C.ITEM).alias(C.ITEM))
    profiles = rows.group_by(C.USER, maintain_order=True).agg(pl.col(C.ITEM))
    return [
        [*titles[:length], *([f"… {len(titles) - length} more"] if len(titles) > length else [])]
        for titles in profiles[C.ITEM].to_list()
    ]
