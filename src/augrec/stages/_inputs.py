"""What several stages read from the workspace: tables, the training set, the cuts of the split,
audits, and configs of components."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from augrec.core.errors import InputError
from augrec.core.files import read_json
from augrec.data.columns import INTERACTIONS
from augrec.data.columns import Columns as C

TRAINING_SET = Path("data/training_set")
AUDITS = Path("reports/audit")
CONFIG = Path("data/config")
TASTE_GROUPS = Path("data/taste_groups")
Audits = Mapping[str, Mapping[str, Any]]
"""audit.json by generator."""


def read_table(path: Path, made_by: str) -> pl.DataFrame:
    """A Parquet table of the workspace.

    Raises:
        InputError: it is missing or not whole.
    """
    try:
        return pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(
            f"{path.name} is missing or not whole",
            where=str(path),
            fix=f"run the stage {made_by} again",
        ) from error


def read_training_interactions() -> pl.DataFrame:
    """The canonical columns of the training set, without features and outcomes.

    Raises:
        InputError: the table is missing, not whole, or lacks a canonical column.
    """
    path = TRAINING_SET / "interactions.parquet"
    try:
        return pl.read_parquet(path, columns=list(INTERACTIONS))
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(
            "the training set is missing, not whole, or lacks a canonical column",
            where=str(path),
            fix="run the stage training_set again",
        ) from error


def with_features(interactions: pl.DataFrame) -> pl.DataFrame:
    """Join to real rows their point-in-time features, columns user__… and item__…, and outcomes;
    all other rows get nulls.

    Args:
        interactions: canonical rows of an augmented training set.

    Raises:
        InputError: the training set is missing or not whole.
    """
    known = read_table(TRAINING_SET / "interactions.parquet", "training_set")
    return with_features_of(known, interactions)


def with_features_of(known: pl.DataFrame, interactions: pl.DataFrame) -> pl.DataFrame:
    """Join what real rows have besides the canonical columns; all other rows get nulls.

    Args:
        known: real rows with features and outcomes, one for each user and item.
        interactions: canonical rows.
    """
    features = known.drop([name for name in INTERACTIONS if name not in (C.USER, C.ITEM)])
    return interactions.join(features, on=[C.USER, C.ITEM], how="left", maintain_order="left")


def begin_of(split: str) -> datetime | None:
    """From when the cases of a split, "valid" or "test", are evaluated, UTC, as the stage prepare
    wrote it; None where the protocol has no one cut in time for all users."""
    text = read_json(Path("data/prepared/split.json"))[f"{split}_from"]
    return None if text is None else datetime.fromisoformat(text)


def read_audits(generators: Iterable[str]) -> Audits:
    """The audits of the named generators, as far as there are any; a missing audit counts as
    failed."""
    paths = {name: AUDITS / name / "audit.json" for name in sorted(generators)}
    return {name: read_json(path) for name, path in paths.items() if path.exists()}


def read_resolved(room: str, name: str) -> dict[str, Any]:
    """What the stage `configure` wrote of a component: its whole `config`, and for a recommender
    `search_space`, `regularisation` and `presets`.

    Args:
        room: "generators" or "recommenders".
        name: of the component.

    Raises:
        InputError: it is not there.
    """
    path = CONFIG / room / f"{name}.json"
    if not path.exists():
        raise InputError(
            f"nothing says how {name} is configured",
            where=str(path),
            fix=f"add `- {name}` to run.{room} in params.yaml and run the stage configure",
        )
    return dict(read_json(path))
