"""Records, arrays and categories of typed tables as plain columns and lists."""

from __future__ import annotations

import polars as pl


def flatten(table: pl.DataFrame) -> pl.DataFrame:
    """A record becomes columns `record.field`, a list of records lists `records.field`, an array a
    list, a category text."""
    while nested := [name for name, kind in table.schema.items() if _simpler(kind)]:
        table = table.select(
            column for name in table.columns for column in _parts(table[name], name in nested)
        )
    return table


def _simpler(kind: pl.DataType) -> bool:
    inner = kind.inner if isinstance(kind, pl.List) else kind
    return isinstance(inner, (pl.Struct, pl.Array, pl.Categorical, pl.Enum))


def _parts(column: pl.Series, nested: bool) -> list[pl.Series]:
    kind = column.dtype
    if not nested:
        return [column]
    if isinstance(kind, pl.Array):
        return [column.arr.to_list()]
    if isinstance(kind, pl.Struct):
        return [
            column.struct.field(field.name).alias(f"{column.name}.{field.name}")
            for field in kind.fields
        ]
    if isinstance(kind, pl.List) and isinstance(kind.inner, pl.Struct):
        return [
            column.list.eval(pl.element().struct.field(field.name)).alias(
                f"{column.name}.{field.name}"
            )
            for field in kind.inner.fields
        ]
    if isinstance(kind, pl.List) and isinstance(kind.inner, pl.Array):
        return [column.list.eval(pl.element().arr.to_list())]
    return [column.cast(pl.List(pl.String) if isinstance(kind, pl.List) else pl.String)]
