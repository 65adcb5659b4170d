"""Names the place of a value in messages: file and line, and the setting that decides about it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

import polars as pl

log = logging.getLogger(__name__)


def _row(position: int) -> str:
    return f"row {position + 1:,}"


@dataclass(frozen=True)
class Place:
    """Where a table comes from.

    Attributes:
        where: the file or the table of a database.
        section: the part of params.yaml that maps its columns; "": none, as its layout is fixed.
        row: names a row by its position, e.g. "line 7".
    """

    where: str
    section: str = ""
    row: Callable[[int], str] = _row

    def column(self, name: str) -> str:
        """A column of the table."""
        return f"{self.where}, column {name}"

    def advise(self, general: str, **settings: str) -> str:
        """What to do: something general, or to set keys of the section to these values."""
        if not self.section:
            return f"{general}; or get the file again"
        keys = [
            f"set {self.section}.{key} in params.yaml to {value}" for key, value in settings.items()
        ]
        return "; or ".join([general, *keys] if general else keys)

    def first(self, rows: pl.Series, column: pl.Series) -> str:
        """The first value among `rows`, Boolean, and its place: `'abc' in line 7`."""
        position = int(rows.fill_null(False).arg_max() or 0)
        return f"{str(column[position])[:80]!r} in {self.row(position)}"

    def warn_unreadable(self, unread: pl.Series, column: pl.Series, kind: str) -> None:
        """Warn of values that become null because they are not a `kind`, such as "number"."""
        if count := int(unread.sum()):
            self._warn(column.name, kind, count, len(column), self.first(unread, column))

    def _warn(self, column: str, kind: str, n_unread: int, n_rows: int, first: str) -> None:
        log.warning(
            "%s: %s of %s values are no %s and become null, the first is %s",
            self.column(column),
            f"{n_unread:,}",
            f"{n_rows:,}",
            kind,
            first,
        )


@dataclass
class _Unread:
    """Values of a column that are not a `kind`."""

    kind: str
    first: str
    count: int = 0


@dataclass(frozen=True)
class PlaceInBlocks(Place):
    """Of a table that is read in blocks of rows: what it has to warn of is told once, of all.

    Attributes:
        unread: {column: what was not read}.
    """

    unread: dict[str, _Unread] = field(default_factory=dict)

    def warn_unreadable(self, unread: pl.Series, column: pl.Series, kind: str) -> None:
        """Note such values for `tell`."""
        if count := int(unread.sum()):
            found = self.unread.setdefault(column.name, _Unread(kind, self.first(unread, column)))
            found.count += count

    def tell(self, n_rows: int) -> None:
        """Warn of what was noted in all of the table's rows."""
        for column, found in self.unread.items():
            self._warn(column, found.kind, found.count, n_rows, found.first)
