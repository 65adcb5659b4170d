"""MLflow's database is old, damaged or locked, or its server does not answer."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from mlflow.store.db.utils import InitialBase, _get_alembic_config
from sqlalchemy import create_engine

from augrec.core.errors import ConfigError, PermanentError
from augrec.registry import connection, logged_runs, models
from augrec.registry.schema import revision

OLD_RUN = "an experiment of the year before"


@pytest.fixture
def database(own_registry: Path) -> Iterator[Path]:
    """The database of an empty registry; a store that another test opened is not reused."""
    connection._client.cache_clear()
    yield own_registry / "mlflow/mlflow.db"
    connection._client.cache_clear()


def make_previous_schema(path: Path) -> str:
    """A database as the MLflow of one revision earlier made it; returns the newest revision."""
    path.unlink()
    config = _get_alembic_config(f"sqlite:///{path}")
    head = ScriptDirectory.from_config(config).get_revision("head")
    engine = create_engine(f"sqlite:///{path}")
    InitialBase.metadata.create_all(engine)
    with engine.begin() as opened:
        config.attributes["connection"] = opened
        command.upgrade(config, head.down_revision)
    engine.dispose()
    with closing(sqlite3.connect(path)) as opened, opened:
        opened.execute(
            "INSERT INTO experiments (experiment_id, name, lifecycle_stage) "
            "VALUES (7, ?, 'active')",
            (OLD_RUN,),
        )
    return str(head.revision)


def test_a_database_of_an_earlier_mlflow_is_copied_and_migrated(database: Path) -> None:
    newest = make_previous_schema(database)
    before = revision(database)
    connection.prepare()
    assert revision(database) == newest != before
    assert models.versions() == []
    assert connection.client().get_experiment_by_name(OLD_RUN) is not None
    [copy] = database.parent.glob("mlflow.db.before-*")
    assert revision(copy) == before


def test_a_database_of_a_later_mlflow_stays_as_it_is(database: Path) -> None:
    with closing(sqlite3.connect(database)) as opened, opened:
        opened.execute("UPDATE alembic_version SET version_num = 'of_the_future'")
    with pytest.raises(ConfigError, match="of another version of MLflow"):
        logged_runs.last()
    with pytest.raises(ConfigError, match="of_the_future") as raised:
        connection.prepare()
    assert "newer MLflow" in raised.value.fix
    assert revision(database) == "of_the_future"


def test_a_damaged_database_is_a_permanent_error_that_names_it(database: Path) -> None:
    database.write_bytes(b"not a database" * 1000)
    with pytest.raises(PermanentError, match="damaged") as raised:
        models.versions()
    assert str(database) in raised.value.where and "backup" in raised.value.fix


def test_a_locked_database_is_waited_for(database: Path) -> None:
    holding = threading.Event()

    def hold() -> None:
        with closing(sqlite3.connect(database, isolation_level=None)) as opened:
            opened.execute("BEGIN EXCLUSIVE")
            holding.set()
            time.sleep(8)  # longer than SQLite's own patience

    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(hold)
        holding.wait()
        assert models.versions() == []
        held.result()


def test_a_server_that_accepts_and_never_answers_is_given_up(own_registry: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        said = subprocess.run(
            [sys.executable, "-c", "from augrec.cli import app; app()", "rollback"],
            env={**os.environ, "MLFLOW_TRACKING_URI": address},
            cwd=own_registry.parent,
            capture_output=True,
            text=True,
            timeout=120,  # only against hanging
        )
    assert said.returncode != 0
    assert "the registry does not answer" in said.stdout + said.stderr
    assert "no copy of a previous champion" in " ".join((said.stdout + said.stderr).split())
