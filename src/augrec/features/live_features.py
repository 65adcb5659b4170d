"""User features between two materializations: read for serving, updated by every event, and written
back to the online store."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import polars as pl

from augrec.core.files import read_json, whole_directory
from augrec.core.locking import locked
from augrec.data.columns import Columns as C
from augrec.features.addresses import local_files
from augrec.features.schema import EVENT_TIMESTAMP, SNAPSHOT, TYPES, Feature, read_schema

PREFIX: Final = "user__"
_VIEW = "user_features"


class LiveFeatures:
    """The online store, as the service uses it. Not thread-safe; opening imports Feast and takes
    seconds.

    Args:
        workspace: a folder with feature_repo and data/features, as `copy_definitions` makes it.
        online_store: see `augrec.features.store.open_store`.
        registry: see `augrec.features.store.open_store`.

    Raises:
        ConfigError: the workspace has no feature repository.
        Exception: of Feast or the store, if the store cannot be opened.
    """

    def __init__(self, workspace: Path, *, online_store: str, registry: str | None = None) -> None:
        from augrec.features import store

        self._read = store.online
        self._store = store.open_store(workspace, online_store=online_store, registry=registry)
        self._files = local_files(online_store, registry)
        self.schema = read_schema(workspace / "data" / "features")["user"]
        categories = workspace / "data" / "features" / "categories.json"
        self.slots: list[str] = read_json(categories) if categories.exists() else []

    def read(self, users: Sequence[str]) -> list[dict[str, Any]]:
        """The newest features of each user, named user__<feature>; defaults for users without
        any."""
        return self._read(self._store, users=users).drop(C.USER).to_dicts()

    def write(self, rows: Mapping[str, Mapping[str, Any]]) -> None:
        """Write {user: {user__<feature>: value}} with the current time."""
        now = datetime.now(UTC)
        table = pl.DataFrame(
            {
                C.USER: list(rows),
                EVENT_TIMESTAMP: [now] * len(rows),
                SNAPSHOT: [int(now.timestamp() * 1e6)] * len(rows),
                **{
                    name: pl.Series(
                        [row.get(PREFIX + name) for row in rows.values()],
                        dtype=TYPES[feature["type"]],
                    )
                    for name, feature in self.schema.items()
                },
            }
        )
        with locked(*self._files):
            self._store.write_to_online_store(_VIEW, table.to_pandas())


def advance(
    row: Mapping[str, Any],
    schema: Mapping[str, Feature],
    *,
    categories: Sequence[str],
    new_categories: int,
    slots: Sequence[str],
    value: float | None,
) -> dict[str, Any]:
    """A user's features after one more positive interaction, as the features stage would count it.

    Counts and shares are exact except for interactions that leave a window in the meantime, which
    the next materialization removes. The mean treats interactions without a value as if they had
    the mean value.

    Args:
        row: the features before, named user__<feature>.
        schema: of the user features.
        categories: of the item.
        new_categories: number of them that are new to the user.
        slots: names of the category slots.
        value: of the event.
    """
    after = dict(row)
    total = int(row.get(f"{PREFIX}interactions_total") or 0)
    for name in schema:
        key = PREFIX + name
        if name.startswith("interactions_"):
            after[key] = int(row.get(key) or 0) + 1
        elif name == "days_since_last":
            after[key] = 0.0
        elif name == "mean_value" and value is not None:
            mean = row.get(key)
            after[key] = value if mean is None else mean + (value - mean) / (total + 1)
        elif name == "n_categories":
            after[key] = int(row.get(key) or 0) + new_categories
        elif name == "category_shares":
            shares = list(row.get(key) or [])
            own = set(categories)
            named = [slots[slot] if slot < len(slots) else None for slot in range(len(shares))]
            after[key] = [
                (share * total + (name in own)) / (total + 1)
                for share, name in zip(shares, named, strict=True)
            ]
    return after


def find_definitions(home: Path, runs: Path, run_id: str) -> Path | None:
    """The workspace whose features are in the online store: that of the run `run_id`, else the
    newest, else the project."""
    folders = [runs / run_id] if run_id else []
    newest = sorted(
        runs.glob("*/data/features/schema.json"), key=lambda path: -path.stat().st_mtime
    )
    folders += [path.parents[2] for path in newest] + [home]
    for folder in folders:
        if (folder / "data" / "features" / "schema.json").exists() and (
            folder / "feature_repo"
        ).is_dir():
            return folder
    return None


def copy_definitions(workspace: Path, target: Path) -> Path:
    """Copy what reading the online store needs, in case the workspace is deleted: definitions,
    schema and slot names."""
    with whole_directory(target) as draft:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(workspace / "feature_repo", draft / "feature_repo", ignore=ignored)
        (draft / "data" / "features").mkdir(parents=True)
        for name in ("schema.json", "categories.json"):
            source = workspace / "data" / "features" / name
            if source.exists():
                shutil.copy2(source, draft / "data" / "features" / name)
    return target
