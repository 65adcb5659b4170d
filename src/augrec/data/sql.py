"""Read a table or a query from any database that SQLAlchemy supports. The only module of the core
that imports SQLAlchemy."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import polars as pl

from augrec.core.errors import ConfigError, InputError, TransientError
from augrec.data.importing.delimited import unique_names

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, CursorResult, Engine

BATCH_ROWS = 100_000
_DECIMAL_DIGITS = 38  # of polars' type


def is_url(location: str) -> bool:
    """Whether `location` is a database URL rather than a file."""
    return "://" in location


def without_credentials(url: str) -> str:
    """The URL without user, password and options, for messages and files."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    shown = urlunsplit((parts.scheme, host, parts.path, "", ""))
    return shown if host else shown.replace(f"{parts.scheme}:/", f"{parts.scheme}:///", 1)


def read_sql(url: str, *, table: str | None = None, query: str | None = None) -> pl.DataFrame:
    """Read a table or the result of a query.

    Args:
        url: an SQLAlchemy URL, e.g. postgresql://user:password@host/shop or sqlite:///shop.db.
        table: the name of a table, optionally with its schema before a dot.
        query: a SELECT, instead of `table`.

    Raises:
        ConfigError: the URL is not valid, its driver is not installed, or not exactly one of
            `table` and `query` is given.
        InputError: the database file, table or column does not exist.
        TransientError: the database does not answer.
    """
    where = without_credentials(url)
    if (table is None) == (query is None):
        raise ConfigError(
            "give either a table or a query", where=where, fix="give exactly one of them"
        )
    engine = _engine(url, where)
    try:
        with _connect(engine, where) as connection:
            return _read(connection, table, query, where)
    finally:
        engine.dispose()


def _engine(url: str, where: str) -> Engine:
    import sqlalchemy as sa

    try:
        # Airflow and others still write postgres://, which SQLAlchemy no longer accepts
        engine = sa.create_engine(re.sub(r"^postgres:", "postgresql:", url))
    except (sa.exc.ArgumentError, ImportError, ValueError) as error:
        missing = isinstance(error, (ImportError, sa.exc.NoSuchModuleError))
        # the cause is not chained, and shown only if it concerns a driver: it may contain the URL
        # with the password
        raise ConfigError(
            f"the database cannot be used: {error if missing else 'this is not an SQLAlchemy URL'}",
            where=where,
            fix="write dialect+driver://user:password@host/database, and install the driver",
        ) from None
    file = engine.url.database if engine.url.get_backend_name() == "sqlite" else None
    if file and not engine.url.query and not Path(file).exists():  # SQLite would create it
        raise InputError(
            "there is no such database file",
            where=where,
            fix="check the path; an absolute path needs four slashes",
        )
    return engine


def _connect(engine: Engine, where: str) -> Connection:
    import sqlalchemy as sa

    try:
        return engine.connect()
    except sa.exc.SQLAlchemyError as error:
        raise TransientError(
            f"the database does not answer: {_cause(error, engine)}",
            where=where,
            fix="check that it runs and that user, password and host are right",
        ) from None


def _read(connection: Connection, table: str | None, query: str | None, where: str) -> pl.DataFrame:
    import sqlalchemy as sa

    try:
        if query is not None:
            # unchanged: a colon or a percent sign in it is not a parameter
            options = {"stream_results": True, "no_parameters": True}
            return _frame(connection.exec_driver_sql(query, execution_options=options))
        schema, _, name = str(table).rpartition(".")
        whole = sa.select(sa.text("*")).select_from(sa.table(name, schema=schema or None))
        return _frame(connection.execution_options(stream_results=True).execute(whole))
    except sa.exc.SQLAlchemyError as error:
        raise InputError(
            f"the database refused: {_cause(error, connection.engine)}",
            where=f"{where}, {table or query}",
            fix="check the names of the table and its columns",
        ) from None


def _frame(result: CursorResult[Any]) -> pl.DataFrame:
    names = unique_names(list(result.keys()))
    parts = []
    while rows := result.fetchmany(BATCH_ROWS):
        columns = zip(names, zip(*rows, strict=True), strict=True)
        parts.append(pl.DataFrame([_series(name, values) for name, values in columns]))
    if not parts:
        return pl.DataFrame(schema=dict.fromkeys(names, pl.String))
    try:
        return pl.concat(parts, how="vertical_relaxed")
    except pl.exceptions.PolarsError:  # a column has another type in a later batch
        return pl.concat([part.cast(pl.String) for part in parts])


def _series(name: str, values: tuple[Any, ...]) -> pl.Series:
    """A column; as text where it has several types (SQLite allows it), or objects that only its
    driver knows, such as UUID."""
    kinds = set(map(type, values))
    if memoryview in kinds:
        values = tuple(bytes(v) if isinstance(v, memoryview) else v for v in values)
    if Decimal in kinds:
        values = _decimals(values)
    try:
        column = pl.Series(name, values)
        if not column.dtype.is_object():
            return column
    except (TypeError, OverflowError, pl.exceptions.PolarsError):
        pass
    return pl.Series(
        name, [None if value is None else str(value) for value in values], dtype=pl.String
    )


def _decimals(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Without NaN and infinities, which polars' decimals lack; those with more digits than it has
    become text if they are whole, as ids may be, else floats."""
    finite = tuple(None if isinstance(v, Decimal) and not v.is_finite() else v for v in values)
    exact = [v for v in finite if isinstance(v, Decimal)]
    digits = max((max(v.adjusted() + 1, 0) - min(_exponent(v), 0) for v in exact), default=0)
    if digits <= _DECIMAL_DIGITS:
        return finite
    convert = float if any(v != v.to_integral_value() for v in exact) else "{:f}".format
    return tuple(convert(v) if isinstance(v, Decimal) else v for v in finite)


def _exponent(value: Decimal) -> int:
    return int(value.as_tuple().exponent)


def _cause(error: Exception, engine: Engine) -> str:
    text = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
    password = engine.url.password
    return text.replace(str(password), "***") if password else text
