"""Feast: point-in-time training data, materialization and online reads. The only module that
imports it.

Every function takes a workspace, the folder of one run, and uses its feature_repo and
data/features. The caller names registry and online store, so that many workspaces can share one
online store.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import sys
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import Any

import polars as pl
import yaml

from augrec.core.errors import ConfigError, PermanentError
from augrec.core.locking import locked
from augrec.data.columns import Columns as C
from augrec.features.addresses import local_files, online_config, registry_url
from augrec.features.databases import set_aside_damaged, when_unlocked
from augrec.features.schema import (
    ENTITIES,
    EVENT_TIMESTAMP,
    SERVICE,
    SNAPSHOT,
    data_period,
    fill,
    grown,
    read_schema,
    table_path,
)

os.environ.setdefault("FEAST_USAGE", "False")


@contextmanager
def _without_torch() -> Iterator[None]:
    """Feast imports torch where it is installed, for views that nothing here has: two seconds and
    230 MB."""
    loaded = "torch" in sys.modules
    if not loaded:
        sys.modules["torch"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if not loaded:
            del sys.modules["torch"]


with _without_torch():
    from feast import Entity, FeatureService, FeatureStore, FeatureView, RepoConfig

log = logging.getLogger(__name__)
logging.getLogger("feast").setLevel(logging.WARNING)

JOIN_ROWS = 50_000
"""Rows of one point-in-time join. Feast pairs each with all earlier snapshots of its user and item,
so this limits memory."""
READ_IDS = 10_000
"""Ids of one online read; SQLite limits the number of variables in a statement."""

_ROW = "__row"
_importing = Lock()


def open_store(workspace: Path, *, online_store: str, registry: str | None = None) -> FeatureStore:
    """Open the feature store of a workspace's feature_repo without applying its definitions.

    Args:
        workspace: the folder that holds feature_repo and data/features.
        online_store: path of a SQLite file, or redis://[user:password@]host:port[/db] (rediss://
            for TLS).
        registry: SQLAlchemy URL; None: registry.db next to the SQLite online store.

    Raises:
        ConfigError: the workspace has no feature_repo, or an address is invalid.
    """
    repo = workspace.resolve() / "feature_repo"
    path = repo / "feature_store.yaml"
    if not path.exists():
        raise ConfigError(
            "there is no feature repository", where=str(path), fix="restore feature_repo from git"
        )
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    config["online_store"] = online_config(online_store)
    config["registry"]["path"] = registry_url(online_store, registry)
    for file in local_files(online_store, registry):
        file.parent.mkdir(parents=True, exist_ok=True)
    return FeatureStore(config=RepoConfig(**config, repo_path=repo))


def apply(store: FeatureStore) -> list[str]:
    """Apply the definitions of the store's workspace: write its registry and create its online
    tables. Gives the names of its views."""
    found = _definitions(_repo(store))
    store.apply(found)
    return [one.name for one in found if isinstance(one, FeatureView)]


def materialize(
    workspace: Path,
    start: datetime | None = None,
    end: datetime | None = None,
    *,
    online_store: str,
    registry: str | None = None,
) -> dict[str, int]:
    """Write each user's and item's newest features of an interval to the online store.

    Idempotent, also after being killed. Local stores have one writer at a time, others wait;
    readers are not blocked. A damaged local registry or store is set aside and made anew from the
    definitions and from all features up to `end`. If several workspaces write the same ids, SQLite
    keeps the last write, Redis the newest features.

    Args:
        workspace: of the features.
        start: begin of the interval; None: that of the features. Naive times are UTC.
        end: end of the interval, inclusive; None: that of the features.
        online_store: see `open_store`.
        registry: see `open_store`.

    Returns:
        {"user", "item": number of entities written}.

    Raises:
        ConfigError: `end` is after the end of the features, or before `start`.
        TransientError: a local store stayed locked.
    """
    first, last = data_period(workspace)
    start, end = _utc(start or first), _utc(end or last)
    if not start <= end <= last:
        raise ConfigError(
            f"cannot materialize {start.isoformat()} … {end.isoformat()}: the features end at "
            f"{last.isoformat()}",
            where=str(table_path(workspace, "user")),
            fix="choose an earlier end; after it, Feast would skip features older than that end",
        )
    files = local_files(online_store, registry)

    def write(begin: datetime) -> None:
        store = open_store(workspace, online_store=online_store, registry=registry)
        if store.config.online_store.type == "sqlite":
            _allow_readers(Path(online_store))
        views = apply(store)  # the registry may hold others, of workspaces that are gone
        with _duckdb():
            store.materialize(begin, end, feature_views=views)

    with locked(*files):
        if set_aside_damaged(files):
            start = first
        when_unlocked(partial(write, start), files)
    within = pl.col(EVENT_TIMESTAMP).is_between(start, end)
    return {
        kind: pl.scan_parquet(table_path(workspace, kind))
        .filter(within)
        .select(pl.col(key).n_unique())
        .collect()
        .item()
        for kind, key in ENTITIES.items()
    }


def point_in_time(
    workspace: Path, entity_rows: pl.DataFrame, *, batch_rows: int = JOIN_ROWS
) -> pl.DataFrame:
    """Join features to rows, as of each row's timestamp. Writes nothing.

    Args:
        workspace: of the features.
        entity_rows: timestamp, user_id, item_id and any other columns; without item_id only user
            features are joined, without user_id only item features.
        batch_rows: rows joined at a time; does not change the result.

    Returns:
        The same rows in the same order with columns user__<feature>, item__<feature>; the defaults
        of schema.json for users and items without an earlier snapshot.

    Raises:
        PermanentError: Feast returned other rows.
    """
    kinds = {kind: key for kind, key in ENTITIES.items() if key in entity_rows.columns}
    keys = entity_rows.select(
        *kinds.values(), pl.col(C.TIMESTAMP).alias(EVENT_TIMESTAMP)
    ).with_row_index(_ROW)
    schema = {k: v for k, v in read_schema(_features(workspace)).items() if k in kinds}
    with _offline_store(workspace) as store, _duckdb():
        wanted = (
            store.get_feature_service(SERVICE)
            if len(kinds) == len(ENTITIES)
            else _references({kind: [SNAPSHOT, *names] for kind, names in schema.items()}, kinds)
        )
        parts = [_join(store, wanted, batch) for batch in keys.iter_slices(batch_rows)]
    joined = pl.concat(parts) if parts else pl.DataFrame(schema={_ROW: pl.UInt32})
    if not joined[_ROW].equals(keys[_ROW]):
        raise PermanentError(
            f"{len(keys)} rows went into the point-in-time join and {len(joined)} came out",
            where=str(workspace / "feature_repo"),
            fix="the offline store must be duckdb in feature_store.yaml",
        )
    rows = pl.concat([entity_rows, joined.drop(_ROW)], how="horizontal")
    return fill(grown(rows, schema, C.TIMESTAMP), schema)


def online(
    store: FeatureStore, *, users: Sequence[str] | None = None, items: Sequence[str] | None = None
) -> pl.DataFrame:
    """Read the newest features of users, of items, or of pairs, in the order given.

    Args:
        store: an open store whose definitions are applied.
        users: user ids (n,).
        items: item ids (n,), as many as users if both are given.

    Returns:
        user_id and / or item_id, user__<feature>, item__<feature>, named and typed as in the
        training set; unknown ids have the same defaults.
    """
    given = {kind: list(ids) for kind, ids in (("user", users), ("item", items)) if ids is not None}
    schema = {
        kind: features
        for kind, features in read_schema(_features(_repo(store).parent)).items()
        if kind in given
    }
    references = _references(schema, schema)
    columns: dict[str, list[Any]] = {}
    for begin in range(0, max(map(len, given.values()), default=0), READ_IDS):
        rows = {ENTITIES[kind]: ids[begin : begin + READ_IDS] for kind, ids in given.items()}
        response = store.get_online_features(references, rows, full_feature_names=True).to_dict()
        for name, values in response.items():
            columns.setdefault(name.replace("_features__", "__", 1), []).extend(values)
    names = [f"{kind}__{name}" for kind, features in schema.items() for name in features]
    table = pl.DataFrame(
        [
            *[pl.Series(ENTITIES[kind], ids, dtype=pl.String) for kind, ids in given.items()],
            *[pl.Series(name, columns.get(name, []), strict=False) for name in names],
        ]
    )
    return fill(table, schema)


@contextmanager
def _offline_store(workspace: Path) -> Iterator[FeatureStore]:
    with tempfile.TemporaryDirectory(prefix="augrec-feast-") as folder:
        store = open_store(workspace, online_store=f"{folder}/online.db")
        apply(store)
        yield store


@contextmanager
def _duckdb() -> Iterator[None]:
    """Close the connection that the offline store opens; left open, it is reported as leaked when
    the interpreter ends."""
    import ibis

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning, module="ibis")
        try:
            yield
        finally:
            if ibis.options.default_backend is not None:
                ibis.options.default_backend.disconnect()
                ibis.options.default_backend = None


def _references(schema: Mapping[str, Iterable[str]], kinds: Iterable[str]) -> list[str]:
    return [f"{kind}_features:{name}" for kind in kinds for name in schema[kind]]


def _join(
    store: FeatureStore, wanted: FeatureService | list[str], batch: pl.DataFrame
) -> pl.DataFrame:
    job = store.get_historical_features(batch.to_pandas(), wanted, full_feature_names=True)
    table = pl.from_arrow(job.to_arrow())
    assert isinstance(table, pl.DataFrame)
    features = {
        name: name.replace("_features__", "__", 1)
        for name in table.columns
        if "_features__" in name
    }
    return table.sort(_ROW).select(
        pl.col(_ROW).cast(pl.UInt32), *[pl.col(a).alias(b) for a, b in features.items()]
    )


def _repo(store: FeatureStore) -> Path:
    assert store.config.repo_path is not None
    return store.config.repo_path


def _definitions(repo: Path) -> list[Any]:
    names = sorted(path.stem for path in repo.glob("*.py"))
    with _importing:
        # every workspace has modules of these names: import them anew and remove them afterwards
        before = {name: sys.modules.pop(name) for name in names if name in sys.modules}
        sys.path.insert(0, str(repo))
        writes, sys.dont_write_bytecode = sys.dont_write_bytecode, True
        try:
            modules = [import_module(name) for name in names]
        finally:
            sys.path.remove(str(repo))
            sys.dont_write_bytecode = writes
            for name in names:
                sys.modules.pop(name, None)
            sys.modules.update(before)
    kinds = (Entity, FeatureView, FeatureService)
    found = [
        value for module in modules for value in vars(module).values() if isinstance(value, kinds)
    ]
    return list({(type(value), value.name): value for value in found}.values())


def _allow_readers(database: Path) -> None:
    connection = sqlite3.connect(database, timeout=60)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
    finally:
        connection.close()


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _features(workspace: Path) -> Path:
    return workspace / "data" / "features"
