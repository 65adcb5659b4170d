"""A rollback while the registry does not answer: the service returns to its own copy of the
previous champion at once, and the registry follows when it answers again."""

from __future__ import annotations

import getpass
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from augrec.core.errors import RefusedError
from augrec.core.files import read_json, write_json

PREVIOUS: Final = "previous_champion"
"""The entry of the service's record, var/serving/current.json, that this module returns to."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LocalRollback:
    """A rollback that the registry does not know of yet.

    Attributes:
        target: the version to serve, as the service recorded it.
        replaced: the version that was the champion.
        reason, by: why, and by whom.
    """

    target: dict[str, Any]
    replaced: str
    reason: str
    by: str


def ask(folder: Path, *, reason: str) -> LocalRollback:
    """Let the service return to its copy of the previous champion.

    Args:
        folder: var/serving.
        reason: why, for the promotion log.

    Raises:
        RefusedError: the service has served one champion only.
    """
    record = folder / "current.json"
    kept = read_json(record) if record.exists() else {}
    if PREVIOUS not in kept or "champion" not in kept:
        raise RefusedError(
            "the registry does not answer, and the service has no copy of a previous champion",
            where=str(folder),
            fix="start MLflow (`augrec status` shows whether it runs), then try again",
        )
    asked = LocalRollback(kept[PREVIOUS], kept["champion"]["version"], reason, getpass.getuser())
    write_json(_file(folder), asdict(asked))
    return asked


def asked_for(folder: Path) -> LocalRollback | None:
    """The rollback that waits for the registry, or None."""
    path = _file(folder)
    return LocalRollback(**read_json(path)) if path.exists() else None


def tell_registry(folder: Path, asked: LocalRollback, champion: str | None) -> None:
    """Make the registry, which answers again, follow a rollback. If its champion is no longer the
    one that was rolled back, the registry is right and the rollback is dropped.

    Raises:
        AugrecError: the registry refuses, or does not answer after all.
    """
    from augrec.registry import models, promotion  # MLflow takes seconds to import

    previous, target = models.previous_champion(), str(asked.target["version"])
    if champion != asked.replaced:
        log.warning("the champion has changed meanwhile: the rollback is dropped")
    elif previous is not None and previous.version == target:
        promotion.rollback(reason=asked.reason, by=asked.by)
    else:  # the service had not served the registry's previous champion
        promotion.promote(target, reason=asked.reason, by=asked.by, expected_champion=champion)
    _file(folder).unlink(missing_ok=True)


def _file(folder: Path) -> Path:
    return folder / "rollback.json"
