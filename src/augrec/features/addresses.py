"""Where online store and registry are, as Feast's configuration wants it."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from augrec.core.errors import ConfigError

_SQLITE_URL = "sqlite:///"


def online_config(online_store: str) -> dict[str, Any]:
    """Feast's `online_store` section.

    Raises:
        ConfigError: the address is neither a file nor a Redis URL.
    """
    if "://" not in online_store:
        return {"type": "sqlite", "path": str(Path(online_store).resolve())}
    url = urlparse(online_store)
    if url.scheme not in ("redis", "rediss") or not url.hostname:
        raise ConfigError(
            f"{url.scheme}:// is not a supported online store",
            where="AUGREC_ONLINE_STORE",
            fix="give the path of a SQLite file, or redis://host:port",
        )
    options = {
        "db": url.path.strip("/"),
        "username": unquote(url.username or ""),
        "password": unquote(url.password or ""),
        "ssl": "true" if url.scheme == "rediss" else "",
    }
    parts = [
        f"{url.hostname}:{url.port or 6379}",
        *[f"{key}={value}" for key, value in options.items() if value],
    ]
    return {"type": "redis", "connection_string": ",".join(parts)}


def registry_url(online_store: str, registry: str | None) -> str:
    """The registry's SQLAlchemy URL; by default registry.db next to a SQLite online store.

    Raises:
        ConfigError: the online store is on a server and no registry is given.
    """
    if registry is not None:
        return registry
    if "://" in online_store:
        raise ConfigError(
            "an online store on a server needs its own registry",
            where="registry",
            fix="give an SQLAlchemy URL, for example postgresql+psycopg://host/feast",
        )
    return f"{_SQLITE_URL}{Path(online_store).resolve().parent / 'registry.db'}"


def local_files(online_store: str, registry: str | None = None) -> list[Path]:
    """The local files of online store and registry; empty if both are on servers."""
    registry = registry_url(online_store, registry)
    files = [] if "://" in online_store else [Path(online_store).resolve()]
    if registry.startswith(_SQLITE_URL):
        files.append(Path(registry.removeprefix(_SQLITE_URL)).resolve())
    return files
