"""The thread that polls data/raw and the registry for changes."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import threading
from pathlib import Path

from augrec.core.settings import QUICK_LIMITS
from augrec.serving.deployer import Deployer
from augrec.serving.metrics import Metrics
from augrec.serving.service import Service
from augrec.serving.user_store import UserStore, fingerprint, open_user_store

log = logging.getLogger(__name__)


class Poller:
    """Loads local copies, then polls the registry and data/raw. A thread of its own, so that a
    registry that hangs delays no request.

    Args:
        service: the service to update.
        home: the project's folder.
        var: its folder for state.
        positive, max_history: see `augrec.serving.user_store.open_user_store`.

    Attributes:
        ready: whether the local copies have been loaded.
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
        self._path = var / "serving" / "users.db"
        self._fingerprint = ""
        self._stop = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.ready = False

    def start(self) -> None:
        """Start the thread; call it on the event loop."""
        for name, value in QUICK_LIMITS.items():
            os.environ.setdefault(name, value)
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._run, name="poller", daemon=True).start()

    def stop(self) -> None:
        """Stop after the current poll."""
        self._stop.set()

    def _run(self) -> None:
        deployer: Deployer = self._service.deployer
        self._refresh_users()
        try:
            deployer.start()
        except Exception:
            log.exception("cannot load local copies of models")
        self.ready = True
        self._service.features.start()
        swaps = -1
        while not self._stop.is_set():
            deployer.poll()
            self._refresh_users()
            if deployer.swaps != swaps:
                swaps = deployer.swaps
                # libraries and models are permanent: scanning them would pause all requests
                gc.freeze()
            _update_metrics(self._service, self._service.metrics)
            self._stop.wait(self._service.config.poll_s)

    def _refresh_users(self) -> None:
        """Read data/raw if it has changed."""
        current = fingerprint(self._raw, self._positive, self._max_history)
        if current == self._fingerprint or self._loop is None:
            return
        try:
            store = open_user_store(self._raw, self._path, self._positive, self._max_history)
        # an import in progress, a damaged file: keep the users as they are
        except Exception as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            log.error("cannot read data/raw: %s", reason)
            return
        self._fingerprint = current
        done = threading.Event()
        self._loop.call_soon_threadsafe(self._use, store, done)
        done.wait(timeout=30)

    def _use(self, store: UserStore, done: threading.Event) -> None:
        ranker = self._service.ranker
        ranker.attribute_types = {**ranker.attribute_types, **store.attributes}
        self._service.users.reset(store)
        done.set()


def _update_metrics(service: Service, metrics: Metrics) -> None:
    metrics.users.set(len(service.users))
    metrics.refusals.set(len(service.deployer.refused))
    metrics.feature_writes.set(service.features.waiting_writes())
    deployment = service.deployer.deployment
    models = {"champion": deployment.champion, "challenger": deployment.challenger}
    metrics.set_serving(
        {
            alias: (one.version, one.recommender.name())
            for alias, one in models.items()
            if one is not None
        }
    )
