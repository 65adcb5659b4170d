"""The thread that follows what changes outside: data/raw, and the registry."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import threading
from pathlib import Path
from typing import Final

from augrec.serving.deployer import Deployer
from augrec.serving.metrics import Metrics
from augrec.serving.service import Service
from augrec.serving.user_store import UserStore, fingerprint, open_user_store

log = logging.getLogger(__name__)

_PATIENCE: Final = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "5", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
"""MLflow's own is two minutes and seven tries, through which an alias that moved would go
unseen."""


class Poller:
    """Loads what is on disk, then asks again and again. A thread of its own: nobody waits for a
    registry that hangs.

    Args:
        service: what is kept up to date.
        home: the project.
        var: its folder of state.
        positive, max_history: see `augrec.serving.user_store.open_user_store`.

    Attributes:
        ready: whether what is on disk has been loaded.
    """

    def __init__(
        self,
        service: Service,
        *,
        home: Path,
        var: Path,
        positive: dict[str, float | None],
        max_history: int,
    ) -> None:
        self._service, self._raw, self._positive, self._max_history = (
            service,
            home / "data/raw",
            positive,
            max_history,
        )
        self._path = var / "serving" / "known.db"
        self._mark = ""
        self._ending = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.ready = False

    def start(self) -> None:
        """Begin; call it on the event loop."""
        for name, value in _PATIENCE.items():
            os.environ.setdefault(name, value)
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._follow, name="follow", daemon=True).start()

    def stop(self) -> None:
        """End after what is being done."""
        self._ending.set()

    def _follow(self) -> None:
        deployer: Deployer = self._service.deployer
        self._know()
        try:
            deployer.start()
        except Exception:
            log.exception("what is on disk could not be loaded")
        self.ready = True
        self._service.features.start()
        swaps = -1
        while not self._ending.is_set():
            deployer.poll()
            self._know()
            if deployer.swaps != swaps:
                swaps = deployer.swaps
                # libraries and models stay: going through them again and again would stop all
                # requests
                gc.freeze()
            _measure(self._service, self._service.metrics)
            self._ending.wait(self._service.config.poll_s)

    def _know(self) -> None:
        """Read data/raw where it is another than before."""
        mark = fingerprint(self._raw, self._positive, self._max_history)
        if mark == self._mark or self._loop is None:
            return
        try:
            known = open_user_store(self._raw, self._path, self._positive, self._max_history)
        except (
            Exception
        ) as error:  # half an import, a broken file: the users known so far stay known
            log.error(
                "data/raw could not be read: %s",
                (str(error) or type(error).__name__).splitlines()[0],
            )
            return
        self._mark = mark
        taken = threading.Event()
        self._loop.call_soon_threadsafe(self._renew, known, taken)
        taken.wait(timeout=30)

    def _renew(self, known: UserStore, taken: threading.Event) -> None:
        self._service.ranker.kinds = {**self._service.ranker.kinds, **known.attributes}
        self._service.users.renew(known)
        taken.set()


def _measure(service: Service, metrics: Metrics) -> None:
    metrics.users.set(len(service.users))
    metrics.refusals.set(len(service.deployer.refused))
    metrics.feature_writes.set(service.features.waiting_writes())
    deployment = service.deployer.deployment
    models = {"champion": deployment.champion, "challenger": deployment.challenger}
    metrics.serving(
        {
            alias: (one.version, one.recommender.name())
            for alias, one in models.items()
            if one is not None
        }
    )
