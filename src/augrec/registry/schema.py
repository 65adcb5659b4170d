"""Migrates the tables of a local MLflow database, after copying it."""

from __future__ import annotations

import logging
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from alembic.script import ScriptDirectory
from mlflow.store.db.utils import _get_alembic_config

from augrec.core.errors import ConfigError

_SQLITE = "sqlite:///"
log = logging.getLogger(__name__)


def migrate(uri: str) -> None:
    """Bring the tables of a SQLite database to this MLflow, which would otherwise refuse them, or
    change them without a copy; does nothing for other databases, new ones and current ones.

    Raises:
        ConfigError: a newer MLflow wrote it; it is as before.
        sqlite3.DatabaseError: it is damaged.
    """
    database = Path(uri.removeprefix(_SQLITE).partition("?")[0])
    if not uri.startswith(_SQLITE) or not database.exists():
        return
    newest = ScriptDirectory.from_config(_get_alembic_config(uri)).get_current_head()
    if revision(database) in {None, newest}:
        return
    copy = database.with_name(f"{database.name}.before-{datetime.now(UTC):%Y%m%dT%H%M%S}")
    _copy(database, copy)
    done = subprocess.run(
        [sys.executable, "-m", "mlflow", "db", "upgrade", uri], capture_output=True, text=True
    )
    if done.returncode:
        _copy(copy, database)
        lines = done.stderr.strip().splitlines() or ["it did not say why"]
        raise ConfigError(
            f"MLflow could not migrate its database: {lines[-1]}",
            where=str(database),
            fix="it is as it was; if a newer MLflow wrote it, install that version again",
        )
    log.info("MLflow's database was migrated; %s is a copy of it from before", copy)


def revision(database: Path) -> str | None:
    """The revision of a database's tables; None if it has none yet."""
    with closing(sqlite3.connect(database, timeout=60)) as opened:
        tables = {name for (name,) in opened.execute("SELECT name FROM sqlite_master")}
        if "alembic_version" not in tables:
            return None
        return next((found for (found,) in opened.execute("SELECT * FROM alembic_version")), None)


def _copy(source: Path, target: Path) -> None:
    """Copy a database as a whole, even if it is in use."""
    with closing(sqlite3.connect(source)) as one, closing(sqlite3.connect(target)) as other:
        one.backup(other)
