"""Where training begins under a policy that continues the champion."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from augrec.core.errors import AugrecError
from augrec.core.files import read_json
from augrec.recommenders.base import Recommender, load

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Start:
    """The fitted model that training starts from, if any.

    Attributes:
        model: the champion's; None: training begins with nothing.
        since: it was trained on what came before this moment.
        older: what users active since did before counts so much.
        facts: for training.json: the champion's version and `since`, None where training begins
            with nothing, and why.
    """

    model: Recommender | None = None
    since: datetime | None = None
    older: float = 0.0
    facts: dict[str, Any] | None = None


def start(training_set: Path, kind: type[Recommender]) -> Start:
    """Where training under a policy begins.

    A champion may know what this run judges by: where time is not cut for all at once, or where it
    was trained on anything from the cut on, it is not continued.

    Args:
        training_set: the policy's folder, with policy.json and perhaps the champion.
        kind: what is to be trained.
    """
    policy = read_json(training_set / "policy.json")
    if policy.get("start") != "champion":
        return Start()
    found = _continued(training_set / "champion", policy.get("champion"), kind)
    found = replace(found, older=policy.get("older") or 0.0)
    _log.info(found.facts["reason"] if found.facts else "")
    return found


def _continued(folder: Path, champion: Mapping[str, Any] | None, kind: type[Recommender]) -> Start:
    if champion is None:
        return _in_full("there is no champion")
    named = f"the champion, version {champion['version']},"
    try:
        model = load(folder)
    except AugrecError as error:
        return _in_full(f"{named} cannot be read by this code: {error.what}")
    if not isinstance(model, kind):
        return _in_full(f"{named} is a {model.name()}")
    if not model.continues:
        return _in_full(f"a {kind.name()} has no weights to continue with")
    facts = read_json(folder / "training.json") if (folder / "training.json").exists() else {}
    if not facts.get("trained_until"):
        return _in_full(f"{named} does not say until when it was trained")
    since = datetime.fromisoformat(facts["trained_until"])
    split = read_json(Path("data/prepared/split.json"))
    if split["rules"]["order"] != "global" or since >= datetime.fromisoformat(split["valid_from"]):
        return _in_full(f"{named} may have been trained on what this run judges by")
    reason = f"continues {named} on what users did since {since:%Y-%m-%d %H:%M} UTC"
    facts = {"version": champion["version"], "since": since.isoformat(), "reason": reason}
    return Start(model, since, facts=facts)


def _in_full(why: str) -> Start:
    return Start(facts={"version": None, "since": None, "reason": f"trained in full: {why}"})
