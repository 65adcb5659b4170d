"""What a run's report says at its top of the run, from the stage that decides to the promotion."""

from __future__ import annotations

from datetime import UTC, datetime

from augrec.core.files import read_json
from augrec.orchestration.addresses import run_url, version_url
from augrec.reporting import run_head
from augrec.versioning.workspace import Workspace

WAITING = "not released yet"
DRY = "a dry run: nothing is registered"


def decided(run: Workspace) -> None:
    """The run has decided."""
    source = run.path / "data" / "raw" / "source.json"
    data = read_json(source) if source.exists() else {}
    taken = str(data.get("taken_at", ""))[:10]
    run_head.complete(
        run.path / "reports",
        run=(run.run_id, run_url(run.run_id)),
        date=(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", ""),
        data=(", as of ".join(filter(None, (str(data.get("source", "")), taken))), ""),
        commit=(run.commit[:12], ""),
        outcome=(DRY if run.dry_run else WAITING, ""),
    )


def registered(run: Workspace, commit: str, version: str, reason: str) -> str:
    """Its winner is a version; returns the page."""
    return run_head.complete(
        run.path / "reports",
        commit=(commit[:12], ""),
        version=(version, version_url(version)),
        outcome=(f"registered. {reason}", ""),
    )


def released(run: Workspace, outcome: str) -> str:
    """It was promoted, refused or rejected: `outcome` says which; returns the page."""
    return run_head.complete(run.path / "reports", outcome=(outcome, ""))
