"""Import a shop's tables into data/raw: for `augrec data import` and the DAG `ingest`."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from augrec.core.config import BaseConfig, parse, read_params, section
from augrec.core.errors import ConfigError
from augrec.core.files import read_json
from augrec.core.settings import Settings
from augrec.data import own_tables, sources
from augrec.data.canonical import (
    LazyTables,
    canonical_tables,
    lazy_tables,
    read_groups,
    write_raw,
)
from augrec.data.columns import Columns as C
from augrec.data.config import ImportConfig
from augrec.data.group_tables import GroupTables
from augrec.data.import_summary import summarise, summarise_groups, warn
from augrec.data.served_events import FILE as SERVED_EVENTS
from augrec.data.served_events import read_served_events
from augrec.data.sql import is_url
from augrec.orchestration.import_preview import refuse_unknown_events
from augrec.validation.config import read_config

log = logging.getLogger(__name__)

URL_VARIABLE = "AUGREC_SOURCE_URL"
_SQL = "sql:"
_QUERY = re.compile(r"\(?\s*(select|with)\s", re.IGNORECASE)
_DIALECTS = {
    "postgres": "postgresql",
    "mssql": "mssql+pymssql",
}
"""Connection types of Airflow that SQLAlchemy calls by another name."""


class SourceConfig(BaseConfig):
    """`data.source`: where the tables are."""

    layout: str | None = None
    """Layout of a public dataset, read from `folder`; the other keys are for your own tables."""
    folder: str | None = None
    """Folder with the files of `layout`."""
    interactions: str | None = None
    """A CSV, TSV or Parquet file, a folder of such files, sql:TABLE, or "sql:SELECT …"."""
    items: str | None = None
    """As `interactions`; null: the items of the interactions, without attributes."""
    users: str | None = None
    """As `interactions`; null: the users of the interactions, without attributes."""
    groups: str | None = None
    """As `interactions`: who decides together, one row for each member of a group; null: nobody."""
    group_interactions: str | None = None
    """As `interactions`: what groups chose; null: nothing is known of that."""
    connection: str | None = None
    """Id of an Airflow connection for sql:TABLE; null: the environment variable AUGREC_SOURCE_URL
    holds an SQLAlchemy URL."""
    served_events: bool = True
    """Add the events that `augrec serve` received; false if your own table already contains
    them."""


@dataclass(frozen=True)
class Import:
    """What `import_data` wrote.

    Attributes:
        tables: the tables of data/raw; interactions are not read yet.
        groups: those of people who decide together, if there are any.
        origins: {what was read: where it came from}.
        summary: subjects, and what there is to say about each.
        changed: whether the tables differ from the previous ones.
    """

    tables: LazyTables
    groups: GroupTables | None
    origins: dict[str, str]
    summary: list[tuple[str, str]]
    changed: bool


def import_data(settings: Settings, given: dict[str, Any]) -> Import:
    """Read the tables that `data.source` names and write data/raw, completely or not at all.

    Args:
        settings: the installation.
        given: keys of `data.source` to use instead of those in params.yaml; empty values do not
            count.

    Raises:
        ConfigError: no source of the tables is configured.
        InputError: a table cannot be read, or could be read in two ways; data/raw does not change.
    """
    params = read_params(settings.home)
    chosen = {key: value for key, value in given.items() if value}
    configured = section(params, "data.source")
    source = parse(SourceConfig, configured | chosen, "data.source")
    raw = _raw(settings)
    with _scratch(raw) as scratch:
        prefer_own = bool(chosen.get("interactions"))
        read = _read(source, params, settings, scratch, prefer_own=prefer_own)
        tables, described = read.tables, read.described
        if source.served_events:
            tables, described["served_events"] = _with_served_events(tables, settings)
        refuse_unknown_events(tables, read_config(params)[0])
        warn(tables, read.left_out)
        if not chosen:
            _warn_of_replacing(raw, described)
        before = _digests(raw)
        described["taken_at"] = datetime.now(UTC).isoformat(timespec="seconds")
        write_raw(raw, *tables, described, read.groups)
    tables = lazy_tables(raw)
    origins = {
        name: where if name in chosen else f"{where} (data.source in params.yaml)"
        for name, where in read.origins.items()
    }
    if described.get("served_events"):
        origins["served events"] = f"{described['served_events']:,} that the service received"
    summary = summarise(tables, read.left_out)
    if read.groups is not None:
        summary += summarise_groups(read.groups, tables)
    for subject, text in summary:
        log.info("%s: %s", subject, text)
    return Import(tables, read.groups, origins, summary, _digests(raw) != before)


@contextmanager
def _scratch(raw: Path) -> Iterator[Path]:
    """A folder beside data/raw, for the time of an import."""
    raw.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".import.", dir=raw.parent) as folder:
        yield Path(folder)


def _warn_of_replacing(raw: Path, described: dict[str, Any]) -> None:
    """Warn where data/raw was imported by hand from somewhere else than `data.source`."""
    if not (raw / "source.json").exists():
        return
    before = read_json(raw / "source.json")
    if any(before.get(key) != described.get(key) for key in ("source", "tables")):
        places = before.get("tables") or {"source": before.get("source")}
        log.warning(
            "data.source of params.yaml replaces data/raw, which came from %s",
            ", ".join(str(place) for place in places.values()),
        )


class _Read(NamedTuple):
    """Tables, the description of their source, where each came from, the columns left out of
    those that are mapped, and the tables of groups."""

    tables: LazyTables
    described: dict[str, Any]
    origins: dict[str, str]
    left_out: dict[str, list[str]]
    groups: GroupTables | None = None


def _read(
    source: SourceConfig,
    params: dict[str, Any],
    settings: Settings,
    scratch: Path,
    *,
    prefer_own: bool,
) -> _Read:
    if source.layout and not prefer_own:
        if not source.folder:
            raise ConfigError(
                "a layout needs a folder",
                where="data.source",
                fix=f"name the folder that holds {source.layout}'s files",
            )
        if source.groups or source.group_interactions:
            raise ConfigError(
                f"the layout {source.layout} has no tables of groups",
                where="data.source.groups",
                fix="set it to null, or import all tables as your own, with data.source."
                "interactions in place of the layout",
            )
        tables = sources.read(source.layout, Path(source.folder)).lazy()
        return _Read(tables, {"source": source.layout}, {"folder": source.folder}, {})
    if source.interactions:
        config = parse(ImportConfig, section(params, "data.import"), "data.import")
        places = {table: getattr(source, table) for table in own_tables.TABLES}
        own = {table: _source(place, source, settings) for table, place in places.items() if place}
        found = own_tables.import_tables(config, **own, scratch=scratch)
        described = own_tables.describe(**own)
        return _Read(found.tables, described, described["tables"], found.left_out, found.groups)
    raw = _raw(settings)
    if source.served_events and (settings.var / SERVED_EVENTS).exists() and raw.exists():
        # imported once by hand: only the served events are new
        described = read_json(raw / "source.json")
        where = {"interactions": f"the data of before, {described.get('source')}"}
        return _Read(lazy_tables(raw), described, where, {}, read_groups(raw))
    raise ConfigError(
        "no source of the tables is configured",
        where="params.yaml, data.source",
        fix="set data.source.interactions, or run `augrec data import --interactions FILE`",
    )


def _with_served_events(found: LazyTables, settings: Settings) -> tuple[LazyTables, int]:
    """The tables with the events that the service received and the tables lack, and the number of
    those events.

    Items and users that are missing from the tables are added with their ids alone, so that every
    interaction refers to existing rows.
    """
    events = read_served_events(settings.var / SERVED_EVENTS)
    key = [C.USER, C.ITEM, C.EVENT, C.TIMESTAMP]
    # the table may be large, the events are few: they are what is kept for the comparison
    known = found.interactions.select(key).join(events.lazy(), on=key, how="semi")
    events = events.join(known.collect(engine="streaming"), on=key, how="anti")
    if events.is_empty():
        return found, 0
    served = canonical_tables(events)
    return LazyTables(
        pl.concat([found.interactions, served.interactions.lazy()]),
        _with_new(found.items, served.items, C.ITEM),
        _with_new(found.users, served.users, C.USER),
    ), len(events)


def _raw(settings: Settings) -> Path:
    return settings.home / "data" / "raw"


def _with_new(table: pl.DataFrame, served: pl.DataFrame, key: str) -> pl.DataFrame:
    new = served.join(table.select(key), on=key, how="anti").select(pl.col(key))
    return pl.concat([table, new], how="diagonal") if len(new) else table


def _digests(raw: Path) -> dict[str, str]:
    """Digests of the tables, without source.json, which holds the time of the import."""
    found = {}
    for path in raw.glob("*.parquet"):
        with path.open("rb") as file:
            found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


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
            "sql: needs the address of the database",
            where="data.source",
            fix=f"name an Airflow connection under data.source.connection, or set {URL_VARIABLE}",
        )
    if not is_url(url):
        raise ConfigError(
            f"{URL_VARIABLE} does not hold a database URL",
            where="environment",
            fix="write it as dialect+driver://user:password@host/database",
        )
    asked = name.removeprefix(_SQL).strip()
    if _QUERY.match(asked):
        return own_tables.Source(url, query=asked)
    return own_tables.Source(url, table=asked)


def _connection_url(connection: str, settings: Settings) -> str:
    """An Airflow connection as an SQLAlchemy URL. Inside a task it comes from Airflow's API server,
    elsewhere from Airflow's database."""
    from augrec.orchestration.environment import environment

    for name, value in environment(settings).items():
        os.environ.setdefault(name, value)
    # a process that is no task reads Airflow's database only if it says that it may
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    from airflow.exceptions import AirflowNotFoundException
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
        # the path is the host if the connection is given as JSON, the schema if it is a URI
        return f"sqlite:///{found.host or found.schema}"
    address = URL.create(dialect, found.login, found.password, found.host, found.port, found.schema)
    return address.render_as_string(hide_password=False)
