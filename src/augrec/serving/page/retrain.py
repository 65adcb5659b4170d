"""Data of the page's tab on the last retrain: decision, audits, figures, and promotions."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as ResultTimeout
from typing import Any, Final

from augrec.core.errors import AugrecError
from augrec.data.slices import SLICES
from augrec.reporting.audit_limits import limits
from augrec.reporting.words import (
    measure,
    measured,
    metric_words,
    policy_words,
    slice_words,
    users,
)
from augrec.serving.page.figures import of_report

_log = logging.getLogger(__name__)

MAX_AGE_S: Final = 15.0
TIMEOUT_S: Final = 5.0
_N_MOVES: Final = 8


class LastRetrain:
    """The last retrain, read from the registry at most every `MAX_AGE_S`, by one thread.

    If the registry does not answer within `TIMEOUT_S`, the previous result is returned. The first
    read may take long, because it imports MLflow.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="augrec-retrain")
        self._lock = threading.Lock()
        self._pending: Future[dict[str, Any]] | None = None
        self._result: dict[str, Any] = {"state": "asking"}
        self._report = ""
        self._audits: dict[str, str] = {}
        self._time_read = float("-inf")

    def read(self) -> dict[str, Any]:
        """{"state": "decided" | "none" | "asking" | "unreachable", …}; with "stale" if the registry
        does not answer."""
        with self._lock:
            if time.monotonic() - self._time_read < MAX_AGE_S:
                return self._result
            if self._pending is None or self._pending.done():
                self._pending = self._pool.submit(self._read_registry)
            pending = self._pending
        try:
            result = pending.result(TIMEOUT_S)
        except ResultTimeout:
            return {**self._result, "stale": True}
        except Exception as error:  # the page must work whatever the registry contains
            _log.warning("cannot read the last retrain: %s", error)
            previous = self._result if "run" in self._result else {"state": "unreachable"}
            return {**previous, "stale": True}
        with self._lock:
            self._result, self._time_read = result, time.monotonic()
        return result

    def report(self) -> str:
        """The last retrain's report.html; empty if there is none."""
        self.read()
        return self._report

    def audit(self, generator: str) -> str:
        """The audit page of a generator of the last retrain; empty if there is none."""
        self.read()
        return self._audits.get(generator, "")

    def _read_registry(self) -> dict[str, Any]:
        from augrec.registry import logged_runs, promotion  # imports MLflow

        run = logged_runs.last()
        if run is None:
            return {"state": "none"}
        previous = self._result.get("run") or {}
        if previous.get("mlflow_id") == run.mlflow_id:
            result = self._result
        else:
            with contextlib.suppress(AugrecError):
                self._report = logged_runs.report(run)
                self._audits = logged_runs.audit_pages(run)
            about = {
                "run_id": run.run_id,
                "mlflow_id": run.mlflow_id,
                "commit": run.commit,
                "finished": run.finished.isoformat(timespec="seconds"),
            }
            result = {
                "state": "decided",
                "run": about,
                **content(logged_runs.decision(run), logged_runs.audits(run)),
            }
            result["figures"] = of_report(self._report)
        moves = [
            {
                "kind": move.kind,
                "version": move.version,
                "replaced": move.replaced,
                "reason": move.reason,
                "at": move.at,
            }
            for move in promotion.log()
        ]
        return {**result, "outcome": run.outcome, "moves": moves[: -_N_MOVES - 1 : -1]}


def content(decision: Mapping[str, Any], audits: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Decision and audits as the page shows them.

    Args:
        decision: decision.json.
        audits: {generator: audit.json}.

    Returns:
        verdict, sentences, winner; metric: its name; groups: [{name, users}] of test users, first
        all of them; arms: [{recommender, policy, kind, words: what the policy does, won, valid: on
        validation users, values: one for each group, on test users}]; rule: how the model is
        chosen; recommenders: the gate's reasons; audits: [{generator, passed, limits: [{name,
        value, bound, limit, passed}]}].
    """
    metric, winner, arms = decision["gate"]["metric"], decision["winner"], decision.get("arms", [])
    groups = [
        "all",
        *(name for name in SLICES if any(measured(arm, metric, name) is not None for arm in arms)),
    ]
    first = arms[0] if arms else None
    return {
        "verdict": decision["verdict"],
        "sentences": decision.get("sentences", []),
        "winner": {name: winner[name] for name in ("recommender", "policy", "kind")},
        "metric": metric_words(metric),
        "groups": [{"name": slice_words(name), "users": users(first, name)} for name in groups],
        "rule": decision.get("rule", ""),
        "arms": [_arm(arm, metric, groups, decision) for arm in arms],
        "recommenders": decision.get("recommenders", []),
        "audits": [
            {
                "generator": name,
                "passed": bool(audit.get("passed")),
                "limits": [{**row, "name": measure(row["name"])} for row in limits(audit)],
            }
            for name, audit in sorted(audits.items())
        ],
    }


def _arm(
    arm: Mapping[str, Any], metric: str, groups: list[str], decision: Mapping[str, Any]
) -> dict[str, Any]:
    winner = decision["winner"]
    return {
        **{name: arm[name] for name in ("recommender", "policy", "kind")},
        "words": policy_words(decision, arm["policy"]),
        "won": all(arm[name] == winner[name] for name in ("recommender", "policy")),
        "valid": measured(arm, metric, "all", "valid"),
        "values": [measured(arm, metric, name) for name in groups],
    }
