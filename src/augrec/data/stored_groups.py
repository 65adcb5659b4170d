"""Groups as a model version carries them: who is in a group, what it chose, and how its members'
wishes become one list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import polars as pl

from augrec.core.files import read_json, write_json, write_parquet
from augrec.data.columns import Columns as C

AVERAGE: Final = "average"
"""The strategy that serves where nothing has been shown to be better."""
ALL: Final = "all"
PERSISTENT: Final = "persistent"
"""A group with choices of its own, which are known."""
AD_HOC: Final = "ad_hoc"
"""A group of which nothing is known but its members."""
KINDS: Final = (PERSISTENT, AD_HOC)
SIZES: Final = ("2", "3-4", "5+")
_TABLE: Final = "groups.parquet"
_STRATEGIES: Final = "strategies.json"


@dataclass(frozen=True)
class StoredGroups:
    """Groups of a model version.

    Attributes:
        members: {group id: ids of its members}.
        chosen: {group id: what it chose, oldest first}.
        rows: for kinds and sizes of groups, the strategy that serves; see
            `augrec.groups.trial.run_trial`.
        weights: {kind of group: what the strategy `attention` learned}.
    """

    members: Mapping[str, list[str]] = field(default_factory=dict)
    chosen: Mapping[str, list[str]] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    weights: Mapping[str, list[float]] = field(default_factory=dict)

    def serves(self, kind: str, n: int) -> str:
        """The strategy that serves a group of n members: that of its kind and size, else of its
        kind."""
        found = {(row["kind"], row["size"]): str(row["serves"]) for row in self.rows}
        return found.get((kind, size_class(n))) or found.get((kind, ALL)) or AVERAGE


def size_class(n: int) -> str:
    """The sizes of groups that are told apart: "2", "3-4" or "5+"; one member is like two."""
    return SIZES[0] if n <= 2 else SIZES[1] if n <= 4 else SIZES[2]


def write(
    folder: Path, groups: pl.DataFrame, choices: pl.DataFrame, found: Mapping[str, Any]
) -> None:
    """Write groups for a model version.

    Args:
        folder: is made.
        groups: group_id, user_id.
        choices: group_id, item_id, timestamp.
        found: what `augrec.groups.trial.run_trial` returned.
    """
    folder.mkdir(parents=True)
    members = groups.sort(C.GROUP, C.USER).group_by(C.GROUP, maintain_order=True).agg(C.USER)
    chosen = choices.sort(C.GROUP, C.TIMESTAMP, C.ITEM)
    lists = chosen.group_by(C.GROUP, maintain_order=True).agg(C.ITEM)
    table = members.join(lists, on=C.GROUP, how="left", maintain_order="left")
    write_parquet(folder / _TABLE, table)
    rows = [{key: row[key] for key in ("kind", "size", "serves")} for row in found["rows"]]
    write_json(folder / _STRATEGIES, {"rows": rows, "weights": found["weights"]})


def read(folder: Path) -> StoredGroups:
    """The groups of a folder that `write` made; nobody where there is none."""
    if not folder.is_dir():
        return StoredGroups()
    table = pl.read_parquet(folder / _TABLE)
    ids, members, chosen = (table[name].to_list() for name in (C.GROUP, C.USER, C.ITEM))
    known = read_json(folder / _STRATEGIES)
    return StoredGroups(
        dict(zip(ids, members, strict=True)),
        {group: items or [] for group, items in zip(ids, chosen, strict=True)},
        known["rows"],
        known["weights"],
    )
