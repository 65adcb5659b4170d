"""Access to MLflow: one client, one experiment, and locks for writers."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Final, Literal

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.exc import DatabaseError, OperationalError

from augrec.core import settings
from augrec.core.errors import ConfigError, PermanentError, TransientError, UnreachableError
from augrec.registry import experiment_page, schema

EXPERIMENT: Final = "augrec"
MODEL: Final = "augrec-recommender"
"""The registered model whose versions compete to be the champion."""

_PASSING = {"INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED"}
_ABSENT = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}


def client() -> MlflowClient:
    """A client of the tracking store and registry in the settings; the first call creates the
    tables."""
    return _client(settings.load().mlflow_uri)


@cache
def _client(uri: str) -> MlflowClient:
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def prepare() -> None:
    """Create the tables of a database, before several processes start that would each do so, or
    migrate those of an earlier MLflow, and describe the experiment. A tracking server prepares its
    own tables.

    Raises:
        ConfigError: the tables are of another MLflow and cannot be migrated here.
        PermanentError, TransientError: as `mlflow_errors`.
    """
    uri = settings.load().mlflow_uri
    if not _is_served(uri):
        with mlflow_errors("open its database"):
            schema.migrate(uri)
            _describe(experiment())


def experiment() -> str:
    """The id of the experiment that all runs are logged to; created if it does not exist.

    A tracking server stores artifacts where it is configured to; with a plain database they are in
    var/mlflow/artifacts.
    """
    here = settings.load()
    found = client().get_experiment_by_name(EXPERIMENT)
    if found is not None:
        if found.lifecycle_stage == "deleted":
            client().restore_experiment(found.experiment_id)
        return str(found.experiment_id)
    location = None if _is_served(here.mlflow_uri) else str(here.var / "mlflow" / "artifacts")
    try:
        made = str(client().create_experiment(EXPERIMENT, artifact_location=location))
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another process was faster
            raise
        return experiment()
    _describe(made)
    return made


def _describe(experiment_id: str) -> None:
    page = f"{settings.load().mlflow_url}/#/experiments/{experiment_id}/runs"
    for key, value in experiment_page.tags(page).items():
        client().set_experiment_tag(experiment_id, key, value)


def _is_served(uri: str) -> bool:
    return uri.startswith(("http://", "https://"))


def absent(error: MlflowException) -> bool:
    """Whether the error means that a model, version or alias does not exist: MLflow has two codes
    for that."""
    return error.error_code in _ABSENT and "not found" in str(error)


@contextmanager
def mlflow_errors(doing: str) -> Iterator[None]:
    """Convert MLflow's errors to errors of augrec; usable as a decorator.

    Raises:
        UnreachableError: the store could not be reached, was locked or overloaded.
        ConfigError: its tables are of another version of MLflow.
        PermanentError: MLflow refused the call, or its database is damaged.
    """
    try:
        yield
    # raised by MLflow as it is while a store is opened
    except (DatabaseError, sqlite3.DatabaseError) as error:
        if isinstance(error, OperationalError | sqlite3.OperationalError):
            raise UnreachableError(
                f"MLflow's database could not be used to {doing}: {error}",
                where=_place(),
                fix="it is tried again; if that does not help, find the program that holds it",
            ) from error
        raise PermanentError(
            f"MLflow's database is damaged: {error}",
            where=_place(),
            fix="restore it from a backup; models that serve go on serving",
        ) from error
    except MlflowException as error:
        where = _place()
        if _is_outdated(error):
            raise ConfigError(
                "MLflow's database has the tables of another version of MLflow",
                where=where,
                fix="`augrec down` and `augrec up` migrate a local database, after copying it; for "
                "others: `mlflow db upgrade URL`",
            ) from error
        if error.error_code in _PASSING:
            raise UnreachableError(
                f"MLflow could not {doing}: {error.message}",
                where=where,
                fix="it is tried again; is MLflow running?",
            ) from error
        raise PermanentError(
            f"MLflow refused to {doing}: {error.message}",
            where=where,
            fix="look it up in the MLflow UI",
        ) from error


@contextmanager
def exclusive(name: Literal["tracking", "registry"], timeout_s: float = 300.0) -> Iterator[None]:
    """An exclusive lock between processes for changes of the tracking store or of the registry. It
    is released when its process ends, even if killed.

    It is in the PostgreSQL server that AUGREC_LOCKS names, for all hosts, else in a file.

    Raises:
        TransientError: another process held the lock for `timeout_s`.
    """
    here = settings.load()
    taking = _lock_in_database(here.locks, name) if here.locks else _lock_file(here.var, name)
    deadline = time.monotonic() + timeout_s
    with taking as take:
        while not take():
            if time.monotonic() > deadline:
                raise TransientError(
                    f"another process has been changing the {name} for {timeout_s:.0f} s",
                    where=_place(),
                    fix="it is tried again; if that does not help, find the process that holds the "
                    "lock",
                )
            time.sleep(0.05)
        yield


@contextmanager
def _lock_file(var: Path, name: str) -> Iterator[Callable[[], bool]]:
    path = var / "locks" / f"{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        yield lambda: _locked(handle)
    finally:
        os.close(handle)


@contextmanager
def _lock_in_database(url: str, name: str) -> Iterator[Callable[[], bool]]:
    """An advisory lock of PostgreSQL, which ends with its connection."""
    asking = text("SELECT pg_try_advisory_lock(hashtext(:name))")
    engine = create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with engine.connect() as connection:
        yield lambda: bool(connection.scalar(asking, {"name": f"augrec {name}"}))


def _is_outdated(error: MlflowException) -> bool:
    return "out-of-date database schema" in str(error)


def _place() -> str:
    return settings.load().mlflow_uri.rpartition("@")[2]  # without a password


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
