"""Runs the application in uvicorn."""

from __future__ import annotations

import gc
import os
import sys
from typing import Any, Final

from augrec.core.errors import ConfigError
from augrec.core.settings import LOOPBACK, Settings


def serve(settings: Settings) -> None:
    """Serve until stopped.

    Raises:
        ConfigError: the address is reachable from other machines and no API keys are set, or
            params.yaml is invalid.
    """
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")  # requests share the cores
    sys.setswitchinterval(_SWITCH_S)
    gc.set_threshold(_OBJECTS, 20, 50)
    import uvicorn

    from augrec.serving.app import create_app
    from augrec.serving.security import read_keys

    keys = read_keys()
    if settings.host not in LOOPBACK and not len(keys):
        raise ConfigError(
            f"AUGREC_HOST={settings.host} would make the service accessible without authentication",
            where="environment",
            fix="create a key with `augrec serve --new-key` and put its hash into AUGREC_API_KEYS, "
            "or listen on 127.0.0.1",
        )
    uvicorn.run(
        create_app(settings, keys),
        host=settings.host,
        port=settings.serving_port,
        access_log=False,
        log_config=_LOGGING,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=10,
        server_header=False,
        proxy_headers=False,
    )


_SWITCH_S: Final = 0.0005
"""Maximum time the event loop waits for the ranking thread; Python's default of 5 ms dominated the
99th percentile of latency."""

_OBJECTS: Final = 20_000
"""New objects before a garbage collection: a request creates hundreds, and almost no cycles."""

_LOGGING: Final[dict[str, Any]] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"errors": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"level": "WARNING", "handlers": ["errors"]},
    "loggers": {"augrec": {"level": "INFO"}, "uvicorn": {"level": "INFO"}},
}
"""Without access log: it would contain addresses and user ids."""
