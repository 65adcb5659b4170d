"""What the page tells of the last retrain: its decision, its audits, its drawings, and how the
champion moved."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from typing import Any, Final

from augrec.core.errors import AugrecError
from augrec.data.slices import SLICES
from augrec.reporting.audit_limits import limits
from augrec.reporting.words import measure, measured, metric_words, slice_words, users
from augrec.serving.page.figures import of_report

_log = logging.getLogger(__name__)

FRESH_S: Final = 15.0
PATIENCE_S: Final = 5.0
_MOVES: Final = 8


class LastRetrain:
    """The last retrain, read from the registry at most every `FRESH_S`, by one thread.

    A registry that does not answer within `PATIENCE_S` makes nobody wait longer: what was read
    before is told again. The first answer may take long, MLflow has to be imported for it.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="augrec-retrain")
        self._lock = threading.Lock()
        self._reading: Future[dict[str, Any]] | None = None
        self._told: dict[str, Any] = {"state": "asking"}
        self._report = ""
        self._audits: dict[str, str] = {}
        self._read_at = float("-inf")

    def tell(self) -> dict[str, Any]:
        """{"state": "decided" | "none" | "asking" | "unreachable", …}; "stale": the registry is
        silent now."""
        with self._lock:
            if time.monotonic() - self._read_at < FRESH_S:
                return self._told
            if self._reading is None or self._reading.done():
                self._reading = self._pool.submit(self._read)
            reading = self._reading
        try:
            told = reading.result(PATIENCE_S)
        except NotYet:
            return {**self._told, "stale": True}
        except Exception as error:  # whatever the registry holds, the page goes on
            _log.warning("the last retrain cannot be read: %s", error)
            known = self._told if "run" in self._told else {"state": "unreachable"}
            return {**known, "stale": True}
        with self._lock:
            self._told, self._read_at = told, time.monotonic()
        return told

    def report(self) -> str:
        """The last retrain's report.html; empty where there is none."""
        self.tell()
        return self._report

    def audit(self, generator: str) -> str:
        """The page of the audit of one of the last retrain's generators; empty where there is
        none."""
        self.tell()
        return self._audits.get(generator, "")

    def _read(self) -> dict[str, Any]:
        from augrec.registry import logged_runs, promotion  # brings MLflow

        run = logged_runs.last()
        if run is None:
            return {"state": "none"}
        known = self._told.get("run") or {}
        if known.get("mlflow_id") == run.mlflow_id:
            told = self._told
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
            told = {
                "state": "decided",
                "run": about,
                **content(logged_runs.decision(run), logged_runs.audits(run)),
            }
            told["figures"] = of_report(self._report)
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
        return {**told, "moves": moves[: -_MOVES - 1 : -1]}


def content(decision: Mapping[str, Any], audits: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Decision and audits in the page's words.

    Args:
        decision: decision.json.
        audits: {generator: audit.json}.

    Returns:
        verdict, sentences, winner; metric (its name); groups: [{name, users}] of test users, all of
        them first; arms: [{recommender, policy, kind, won, values: one for each group}];
        recommenders: the gate's reasons; audits: [{generator, passed, limits: [{name, value, bound,
            limit, passed}]}].
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
        "arms": [_arm(arm, metric, groups, winner) for arm in arms],
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
    arm: Mapping[str, Any], metric: str, groups: list[str], winner: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        **{name: arm[name] for name in ("recommender", "policy", "kind")},
        "won": all(arm[name] == winner[name] for name in ("recommender", "policy")),
        "values": [measured(arm, metric, name) for name in groups],
    }
