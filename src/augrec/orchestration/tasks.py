"""The tasks of `retrain` that have side effects. Each is keyed by the run and idempotent."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from augrec.core.errors import RefusedError
from augrec.core.files import read_json
from augrec.core.settings import Settings
from augrec.orchestration import run_report
from augrec.orchestration.addresses import report_url, run_url
from augrec.versioning import workspace
from augrec.versioning.workspace import Workspace

if TYPE_CHECKING:
    from airflow.sdk.types import DagRunProtocol as DagRun

log = logging.getLogger(__name__)

MATERIALIZED = "augrec_materialized"
"""Airflow variable: the time up to which the online store holds features, of which data source and
feature schema, and which taste groups."""
ROLLBACK_WAITS = timedelta(minutes=10)
"""A rollback that begins later than this after it was asked for is refused."""


def materialize(settings: Settings, run: Workspace) -> dict[str, Any]:
    """Write features of the interval since the last materialization to the online store.

    The end of the interval is kept in an Airflow variable, which is updated only after a success.
    A new data source or feature schema, and a local store that is missing or damaged, start again
    from the beginning of the data. Taste groups are all of the end of the data.
    """
    from airflow.sdk import Variable

    from augrec.features.addresses import local_files
    from augrec.features.databases import usable
    from augrec.features.schema import data_period, tastes_path

    path = run.path
    lineage = _feature_lineage(path)
    last = json.loads(Variable.get(MATERIALIZED, default="{}"))
    first, until = data_period(path)
    start = first
    known = (
        last.get("lineage") == lineage and first <= datetime.fromisoformat(last["until"]) <= until
    )
    if known and usable(local_files(settings.online_store, settings.feast_registry)):
        start = datetime.fromisoformat(last["until"])
    groups = _digest(tastes_path(path))
    if start == until and groups == last.get("groups"):
        log.info("the online store has these features already")
        return {"start": start.isoformat(), "end": until.isoformat(), "user": 0, "item": 0}
    from augrec.features import store  # Feast takes seconds to import

    written = store.materialize(
        path,
        start,
        until,
        online_store=settings.online_store,
        registry=settings.feast_registry,
    )
    done = {"lineage": lineage, "until": until.isoformat(), "groups": groups}
    Variable.set(MATERIALIZED, json.dumps(done))
    log.info(
        "%s users and %s items have their features of %s … %s in the online store",
        *(f"{written[kind]:,}" for kind in ("user", "item")),
        *(f"{moment:%Y-%m-%d %H:%M}" for moment in (start, until)),
    )
    return {"start": start.isoformat(), "end": until.isoformat(), **written}


def publish(settings: Settings, run: Workspace) -> dict[str, Any]:
    """Commit, tag and push the results of the run."""
    from augrec.versioning import hosts
    from augrec.versioning import publish as publishing

    done = publishing.publish(settings, run)
    hosts.release(settings, done.tag)
    log.info(
        "committed as %s with the tag %s; %s new files in the DVC remote",
        done.commit[:12],
        done.tag,
        f"{done.pushed:,}",
    )
    return asdict(done)


def register(settings: Settings, run_id: str, commit: str) -> dict[str, Any]:
    """Log the run, register its winner, compare it with the champion.

    Returns:
        version; promotable: whether it may become champion; ask: whether a person has to agree;
        reason: why, in a sentence; champion: the version it was compared with, or None; markdown:
        the comparison, for the person who approves it.
    """
    from augrec.features import feature_service_name
    from augrec.registry import models, outcome, tracking

    run = workspace.open_(settings, run_id)
    path = run.path
    decision = read_json(path / "reports" / "decision.json")
    links = {"augrec.report": report_url(run_id, "report.html"), "augrec.airflow": run_url(run_id)}
    tracking.log_run(path, run_id, commit=commit, tags=links)
    version = models.register(
        path,
        run_id,
        commit,
        decision,
        feature_service=feature_service_name(),
        links=links,
    )
    compared = _compare(path, version.version)
    page = run_report.registered(run, commit, version.version, compared["reason"])
    tracking.show_report(run_id, page)
    outcome.record(run_id, decision, version.version, compared["reason"])
    for sentence in decision["sentences"]:
        log.info(sentence)
    log.info(
        "version %s, %s on %s. %s",
        version.version,
        version.recommender,
        version.policy,
        compared["reason"],
    )
    return {"version": version.version, **compared}


def promote(
    settings: Settings,
    run_id: str,
    registered: dict[str, Any],
    approval: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Make the registered version the champion, unless it is worse than the current champion.

    If another run has changed the champion since this version was compared with it, they are
    compared again. An approval is valid only for the comparison that was shown, so a promotion
    that a person approved is refused instead.

    Args:
        settings: where the project is.
        run_id: Airflow's run id.
        registered: what `register` returned.
        approval: who approved the promotion and why: {"by", "reason"}; None if nobody was asked.

    Returns:
        promoted: whether the version is champion now; reason: why; replaced: the previous champion,
            or None.

    Raises:
        RefusedError: a person approved a comparison with another champion; or the version failed
            its verification.
    """
    from augrec.registry import promotion

    version, (now, _) = registered["version"], promotion.standing()
    done = promotion.of_run(run_id, "promote")
    if done is not None:  # a cleared task must not undo a later change, such as a rollback
        is_champion = now is not None and now.version == done.version
        reason = f"This run already changed the champion: entry {done.number} of the promotion log."
        return {
            "version": version,
            "promoted": is_champion,
            "reason": reason,
            "replaced": done.replaced,
        }
    moved_on = now is not None and now.version not in {registered["champion"], version}
    if moved_on and approval is None:
        registered = {**registered, **_compare(workspace.open_(settings, run_id).path, version)}
    if not registered["promotable"] or (registered["ask"] and approval is None):
        by_hand = f" `augrec promote {version}` does it." if registered["ask"] else ""
        return {
            "version": version,
            "promoted": False,
            "reason": registered["reason"] + by_hand,
            "replaced": None,
        }
    by, words = f"run {run_id}", registered["reason"]
    if approval is not None:
        by, words = approval["by"], " ".join(filter(None, (words, approval["reason"])))
    moved = promotion.promote(
        version,
        reason=words,
        by=by,
        expected_champion=registered["champion"],
        run_id=run_id,
    )
    replaced = moved.replaced if moved else None
    return {
        "version": version,
        "promoted": True,
        "reason": registered["reason"],
        "replaced": replaced,
    }


def show_outcome(settings: Settings, run_id: str, outcome: str) -> None:
    """Say in the run's report, here and in MLflow, what became of its model."""
    from augrec.registry import tracking

    tracking.show_report(run_id, run_report.released(workspace.open_(settings, run_id), outcome))


def rollback(run: DagRun, reason: str) -> dict[str, str | None]:
    """Return to the previous champion, as a person asked in Airflow.

    Raises:
        RefusedError: the run has waited, so the champion may have changed since it was asked for.
    """
    waited = datetime.now(UTC) - run.run_after
    if waited > ROLLBACK_WAITS:
        raise RefusedError(
            f"this rollback was asked for {waited.total_seconds() / 60:.0f} minutes ago and had to "
            "wait, for example because its DAG was paused; the champion stays",
            where=f"run {run.run_id}",
            fix="trigger `rollback` again if it is still wanted",
        )
    from augrec.registry import promotion

    by = run.triggering_user_name or f"run {run.run_id}"
    moved = promotion.rollback(reason=reason, by=by, run_id=run.run_id)
    return {"champion": moved.version, "replaced": moved.replaced}


def _compare(path: Path, version: str) -> dict[str, Any]:
    from augrec.registry.champion_comparison import compare_with_champion
    from augrec.reporting import approval
    from augrec.reporting.comparison_words import sentence

    compared = compare_with_champion(path, version)
    return {
        "promotable": compared["promotable"],
        "ask": compared["ask"],
        "reason": sentence(compared),
        "champion": (compared["champion"] or {}).get("version"),
        "markdown": approval.markdown(compared, read_json(path / "reports" / "decision.json")),
    }


def _digest(file: Path) -> str | None:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16] if file.exists() else None


def _feature_lineage(path: Path) -> str:
    """Identifies the data source and the feature schema; see `materialize`."""
    source = read_json(path / "data" / "raw" / "source.json").get("source", "")
    schema = (path / "data" / "features" / "schema.json").read_text(encoding="utf-8")
    return f"{source}:{hashlib.sha256(schema.encode()).hexdigest()[:16]}"
