"""Changes the champion in one serialized, verified step, with rollback and a log.

A move is four writes to the registry: the pending move, `previous_champion`, `champion`, the log
entry. A process killed between them leaves the pending move behind; the next move first completes
it if the champion had been changed already, and otherwise undoes it. The log is stored in the
registry, as tags of the registered model; promotions.jsonl in var/ is a readable copy that outlives
the registry.

A champion whose version was deleted in MLflow is not forgotten: the champion before it stands in
for it (`standing`), and the next move removes the aliases of deleted versions.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Final, Literal

import numpy as np
import polars as pl

from augrec.core import settings
from augrec.core.errors import InputError, RefusedError, TransientError
from augrec.core.files import write_text
from augrec.registry import bundle, mlflow_versions, models
from augrec.registry.connection import MODEL, client, exclusive, mlflow_errors
from augrec.registry.models import CHALLENGER, CHAMPION, PREVIOUS

LOG_FILE: Final = "promotions.jsonl"
_MAX_REASON: Final = 1000  # a tag of the registered model holds 5000 characters
Kind = Literal["promote", "rollback", "reject"]
_ENTRY, _PENDING = "promotion.", "pending_promotion"


@dataclass(frozen=True)
class Promotion:
    """One entry of the log: a move of the champion, or a person's rejection of a version.

    Attributes:
        number: counts from 1.
        kind: "promote", "rollback" or "reject".
        version: the champion since then; of a rejection, the version that did not become it.
        replaced: the champion before, None for the first; of a rejection, the one that stayed.
        previous_before: what `previous_champion` was before.
        reason, by: why, and by whom.
        at: ISO time, UTC.
        run_id: Airflow's run that did it; empty for a person at the command line.
    """

    number: int
    kind: Kind
    version: str
    replaced: str | None
    previous_before: str | None
    reason: str
    by: str
    at: str
    run_id: str = ""


@mlflow_errors("promote the version")
def promote(
    version: str | int,
    *,
    reason: str,
    by: str,
    expected_champion: str | int | None,
    run_id: str = "",
) -> Promotion | None:
    """Make a version the champion.

    Args:
        version: its number.
        reason: why, for the log.
        by: who.
        expected_champion: the champion that the version was compared with, see `standing`; None if
            there was none.
        run_id: Airflow's run that promotes, for the log.

    Returns:
        The move; None if the version is the champion already and nothing was done.

    Raises:
        InputError: there is no such version.
        RefusedError: the champion is not `expected_champion`, or the version's bundle differs from
            the registered one.
        TransientError: another process holds the lock, or the registry lost a write.
    """
    with exclusive("registry"):
        _settle()
        target = mlflow_versions.by_number(version).version
        if _alias(CHAMPION) == str(target):
            return None
        champion, _ = _standing()
        expected = None if expected_champion is None else str(expected_champion)
        if champion != expected:
            raise RefusedError(
                f"the champion is {_name(champion)}, but version {target} was compared with "
                f"{_name(expected)}",
                where=f"registry, {MODEL}",
                fix="compare again with the current champion, then promote",
            )
        _check_loads(str(target))
        if _alias(CHALLENGER) == str(target):
            _set(CHALLENGER, None)
        return _move(_entry("promote", str(target), reason=reason, by=by, run_id=run_id))


@mlflow_errors("roll back")
def rollback(*, reason: str, by: str, run_id: str = "") -> Promotion:
    """Make the previous champion the champion again; a second rollback undoes the first, unless it
    is the same Airflow run that is tried again.

    Raises:
        RefusedError: there is no previous champion, or its bundle differs from the registered one;
            the champion stays.
        TransientError: as `promote`.
    """
    with exclusive("registry"):
        _settle()
        done = of_run(run_id, "rollback")
        if done is not None:
            return done
        champion, previous = _alias(CHAMPION), _alias(PREVIOUS)
        if champion is None:  # its version was deleted
            previous, _ = _standing()
        if previous is None or previous == champion:
            raise RefusedError(
                "there is no previous champion to return to",
                where=f"registry, {MODEL}",
                fix="`augrec models` lists the versions; promote one of them",
            )
        _check_loads(previous)
        return _move(_entry("rollback", previous, reason=reason, by=by, run_id=run_id))


@mlflow_errors("record the rejection")
def reject(version: str | int, *, reason: str, by: str, run_id: str) -> Promotion:
    """Record that a person did not let a version become champion; idempotent for a run.

    Raises:
        InputError: there is no such version.
        TransientError: as `promote`.
    """
    with exclusive("registry"):
        _settle()
        done = of_run(run_id, "reject")
        if done is not None:
            return done
        target = str(mlflow_versions.by_number(version).version)
        entry = _entry("reject", target, reason=reason, by=by, run_id=run_id)
        _record(entry)
        return entry


@mlflow_errors("name the challenger")
def challenge(version: str | int | None) -> str | None:
    """Set or remove the challenger, the version that `augrec serve` tests against the champion.

    Args:
        version: its number; None removes the challenger.

    Returns:
        The previous challenger.

    Raises:
        InputError: there is no such version.
        RefusedError: it is the champion, or its bundle differs from the registered one.
    """
    with exclusive("registry"):
        before, target = (
            _alias(CHALLENGER),
            None if version is None else mlflow_versions.by_number(version).version,
        )
        if target is not None:
            if str(target) == _alias(CHAMPION):
                raise RefusedError(
                    f"version {target} is the champion itself",
                    where=f"registry, {MODEL}",
                    fix="name another version; `augrec models` lists them",
                )
            _check_loads(str(target))
        _set(CHALLENGER, None if target is None else str(target))
    return before


@mlflow_errors("look up the champion")
def standing() -> tuple[models.Version | None, str | None]:
    """The version that a new one is compared with, and the number of a champion whose version was
    deleted in MLflow, or None.

    It is the champion; where that was deleted, the champion before it; None before the first
    promotion.
    """
    version, lost = _standing()
    return (None if version is None else models.find(version)), lost


@mlflow_errors("read the promotion log")
def log() -> list[Promotion]:
    """Every move of the champion and every rejection, oldest first."""
    entries = [value for key, value in _tags().items() if key.startswith(_ENTRY)]
    return sorted(
        (Promotion(**json.loads(entry)) for entry in entries), key=lambda entry: entry.number
    )


@mlflow_errors("read the promotion log")
def reason_of(version: str) -> str:
    """Why a version became champion the last time; empty if it never did."""
    found = (move for move in reversed(log()) if move.kind != "reject" and move.version == version)
    return next((move.reason for move in found), "")


def of_run(run_id: str, kind: Kind) -> Promotion | None:
    """An Airflow run's entry in the log, or None: a task that is tried again must not act twice."""
    found = (entry for entry in log() if run_id and (entry.run_id, entry.kind) == (run_id, kind))
    return next(found, None)


def _entry(
    kind: Kind,
    version: str,
    *,
    reason: str,
    by: str,
    run_id: str,
) -> Promotion:
    done = log()
    return Promotion(
        number=done[-1].number + 1 if done else 1,
        kind=kind,
        version=version,
        replaced=_replaced(version),
        previous_before=_alias(PREVIOUS),
        reason=reason[:_MAX_REASON],
        by=by[:_MAX_REASON],
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        run_id=run_id,
    )


def _champions() -> list[str]:
    """The champion and those before it, latest first, each once, whether their versions still
    exist or not."""
    aliases = mlflow_versions.aliases()
    moves = [entry for entry in reversed(log()) if entry.kind != "reject"]
    known = [aliases.get(CHAMPION), *(move.version for move in moves[:1]), aliases.get(PREVIOUS)]
    known += [version for move in moves for version in (move.version, move.replaced)]
    return list(dict.fromkeys(version for version in known if version is not None))


def _standing() -> tuple[str | None, str | None]:
    """As `standing`, by number."""
    known = _champions()
    found = next(filter(mlflow_versions.exists, known), None)
    return found, (known[0] if known and known[0] != found else None)


def _replaced(version: str) -> str | None:
    """What `previous_champion` becomes when a version takes the place of the present champion, or
    of the one that stands in for it."""
    champion = _alias(CHAMPION)
    if champion is not None:
        return champion
    return next((v for v in _champions() if v != version and mlflow_versions.exists(v)), None)


def _remove_aliases_of_deleted_versions() -> None:
    for name, version in mlflow_versions.aliases().items():
        if not mlflow_versions.exists(version):
            client().delete_registered_model_alias(MODEL, name)


def _move(move: Promotion) -> Promotion:
    client().set_registered_model_tag(MODEL, _PENDING, _line(move))
    _set(PREVIOUS, move.replaced)
    _set(CHAMPION, move.version)
    if (_alias(CHAMPION), _alias(PREVIOUS)) != (move.version, move.replaced):
        raise TransientError(
            "the registry lost a write",
            where=f"registry, {MODEL}",
            fix="it is tried again; do not change aliases by hand meanwhile",
        )
    _record(move)
    return move


def _settle() -> None:
    """Complete or undo the move of a killed process, and remove aliases of deleted versions."""
    _remove_aliases_of_deleted_versions()
    pending = _tags().get(_PENDING)
    if pending is not None:
        move = Promotion(**json.loads(pending))
        if _alias(CHAMPION) == move.version:
            _set(PREVIOUS, move.replaced)
            _record(move)
        else:
            _set(PREVIOUS, move.previous_before)
            client().delete_registered_model_tag(MODEL, _PENDING)


def _record(move: Promotion) -> None:
    entry = _line(move)
    client().set_registered_model_tag(MODEL, f"{_ENTRY}{move.number:06d}", entry)
    client().set_model_version_tag(MODEL, move.version, f"{_ENTRY}{move.number:06d}", entry)
    path = settings.load().var / LOG_FILE
    kept = path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []
    new = [line for line in map(_line, log()) if line not in kept]
    write_text(path, "".join(f"{line}\n" for line in [*kept, *new]))
    client().delete_registered_model_tag(MODEL, _PENDING)


def _line(move: Promotion) -> str:
    entry = asdict(move)
    if not move.run_id:
        del entry["run_id"]
    return json.dumps(entry, ensure_ascii=False)


def _check_loads(version: str) -> None:
    """A version must load, and recommend items to a user without a history with finite scores,
    before it may serve."""
    try:
        items, scores = bundle.load(version).recommend(pl.Series([[]], dtype=pl.List(pl.String)), 1)
    except InputError as error:
        raise RefusedError(
            f"version {version} cannot be loaded: {error.what}", where=error.where, fix=error.fix
        ) from error
    if items.size == 0 or items[0, 0] == "":
        raise RefusedError(
            f"version {version} recommends nothing to a user without a history",
            where=f"registry, {MODEL}",
            fix="check how it was trained; the champion stays",
        )
    if not np.isfinite(scores[0, 0]):
        raise RefusedError(
            f"version {version} scores items with {scores[0, 0]}",
            where=f"registry, {MODEL}",
            fix="check how it was trained; the champion stays",
        )


def _alias(name: str) -> str | None:
    return mlflow_versions.aliases().get(name)


def _tags() -> dict[str, str]:
    found = mlflow_versions.registered_model()
    return {} if found is None else dict(found.tags)


def _set(alias: str, version: str | None) -> None:
    if version is not None and mlflow_versions.exists(version):
        client().set_registered_model_alias(MODEL, alias, version)
    elif _alias(alias) is not None:
        client().delete_registered_model_alias(MODEL, alias)


def _name(version: str | None) -> str:
    return "none" if version is None else f"version {version}"
