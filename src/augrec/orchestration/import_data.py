"""Bringing a shop's tables to data/raw: for `augrec data import` and for the DAG `ingest`."""

from __future__ import annotations

import hashlib
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from augrec.core.config import BaseConfig, parse
from augrec.core.errors import ConfigError
from augrec.core.files import read_json
from augrec.core.settings import Settings
from augrec.data import own_tables, sources
from augrec.data.canonical import Tables, canonical_tables, read_tables, write_raw
from augrec.data.columns import Columns as C
from augrec.data.config import ImportConfig
from augrec.data.served_events import FILE as SERVED_EVENTS
from augrec.data.served_events import read_served_events
from augrec.data.sql import is_url

URL_VARIABLE = "AUGREC_SOURCE_URL"
_SQL = "sql:"
_DIALECTS = {
    "postgres": "postgresql",
    "mssql": "mssql+pymssql",
}  # what Airflow calls some that SQLAlchemy names otherwise


class SourceConfig(BaseConfig):
    """`data.source`: where the tables are."""

    layout: str | None = None
    """A public dataset's layout, read from `folder`; the other keys are for your own tables."""
    folder: str | None = None
    interactions: str | None = None
    """A CSV or Parquet file, a folder of Parquet files, or sql:TABLE."""
    items: str | None = None
    users: str | None = None
    connection: str | None = None
    """Id of an Airflow connection for sql:TABLE; or set the variable AUGREC_SOURCE_URL to an
    SQLAlchemy URL."""
    served_events: bool = True
    """Add the events that `augrec serve` was told; off where your own table holds them already."""


def import_data(settings: Settings, given: dict[str, Any]) -> bool:
    """Read the tables that params.yaml names, `given` options first, and write data/raw whole or
    not at all.

    Returns:
        Whether they differ from those of before.

    Raises:
        ConfigError: nothing says where the tables are.
        InputError: a table cannot be read; data/raw stays as it was.
    """
    params = yaml.safe_load((settings.home / "params.yaml").read_text(encoding="utf-8"))["data"]
    chosen = {key: value for key, value in given.items() if value}
    source = parse(SourceConfig, {**params["source"], **chosen}, "data.source")
    if source.layout and not chosen.get("interactions"):
        if not source.folder:
            raise ConfigError(
                "a layout needs a folder",
                where="data.source",
                fix=f"name the folder that holds {source.layout}'s files",
            )
        found = sources.read(source.layout, Path(source.folder))
        described: dict[str, Any] = {"source": source.layout}
    elif source.interactions:
        config = parse(ImportConfig, params["import"], "data.import")
        interactions = _source(source.interactions, source, settings)
        others = [
            _source(name, source, settings) if name else None
            for name in (source.items, source.users)
        ]
        found = own_tables.import_tables(config, interactions, *others)
        described = own_tables.describe(interactions, *others)
    elif (
        source.served_events and (settings.var / SERVED_EVENTS).exists() and _raw(settings).exists()
    ):
        found = read_tables(
            _raw(settings)
        )  # brought in once by hand: only what users did since is new
        described = read_json(_raw(settings) / "source.json")
    else:
        raise ConfigError(
            "nothing says where your tables are",
            where="params.yaml, data.source",
            fix="set data.source.interactions, or call `augrec data import --interactions FILE`",
        )
    if source.served_events:
        found, described["served_events"] = _with_served_events(found, settings)
    described["taken_at"] = datetime.now(UTC).isoformat(timespec="seconds")
    raw = _raw(settings)
    before = _digests(raw)
    write_raw(raw, *found, described)
    return _digests(raw) != before


def _with_served_events(found: Tables, settings: Settings) -> tuple[Tables, int]:
    """The tables with what the service was told since, and how many rows that is.

    Items and users that the tables do not list are added by their ids, so that nothing refers to
    what is not there.
    """
    events = read_served_events(settings.var / SERVED_EVENTS)
    events = events.join(found.interactions, on=[C.USER, C.ITEM, C.EVENT, C.TIMESTAMP], how="anti")
    if events.is_empty():
        return found, 0
    told = canonical_tables(events)
    return Tables(
        pl.concat([found.interactions, told.interactions]),
        _with_new(found.items, told.items, C.ITEM),
        _with_new(found.users, told.users, C.USER),
    ), len(events)


def _raw(settings: Settings) -> Path:
    return settings.home / "data" / "raw"


def _with_new(table: pl.DataFrame, told: pl.DataFrame, key: str) -> pl.DataFrame:
    new = told.join(table.select(key), on=key, how="anti").select(pl.col(key))
    return pl.concat([table, new], how="diagonal") if len(new) else table


def _digests(raw: Path) -> dict[str, str]:
    """What the tables hold, apart from when they were read."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in raw.glob("*.parquet")
    }


def _source(name: str, source: SourceConfig, settings: Settings) -> own_tables.Source:
    if not name.startswith(_SQL):
        return own_tables.Source(name)
    url = (
        _connection_url(source.connection, settings)
        if source.connection
        else os.environ.get(URL_VARIABLE)
    )
    if not url:
        raise ConfigError(
            "a table in a database needs its address",
            where="data.source",
            fix=f"name an Airflow connection under data.source.connection, or set {URL_VARIABLE}",
        )
    if not is_url(url):
        raise ConfigError(
            f"{URL_VARIABLE} does not hold a database URL",
            where="environment",
            fix="write it as dialect+driver://user:password@host/database",
        )
    return own_tables.Source(url, table=name.removeprefix(_SQL))


def _connection_url(connection: str, settings: Settings) -> str:
    """An Airflow connection as an SQLAlchemy URL; inside a task Airflow is asked, elsewhere its
    database."""
    from airflow.exceptions import AirflowNotFoundException

    from augrec.orchestration.environment import environment

    for name, value in environment(settings).items():
        os.environ.setdefault(name, value)
    from airflow.sdk import BaseHook
    from sqlalchemy import URL

    try:
        found = BaseHook.get_connection(connection)
    except AirflowNotFoundException as error:
        raise ConfigError(
            f"Airflow has no connection {connection!r}",
            where="data.source.connection",
            fix="add it under Admin → Connections, or as AIRFLOW_CONN_… in the environment",
        ) from error
    kind = found.conn_type or ""
    dialect = _DIALECTS.get(kind, kind)
    if dialect == "sqlite":
        return (
            f"sqlite:///{found.host or found.schema}"  # as JSON it is the host, as a URI the schema
        )
    address = URL.create(dialect, found.login, found.password, found.host, found.port, found.schema)
    return address.render_as_string(hide_password=False)
