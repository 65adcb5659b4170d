"""What of a run takes no part because it does not suit the data: a file says so in place of its
results, from stage to stage, so that nothing fails and nothing is forgotten."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from augrec.core.files import read_json, whole_directory, write_json

SELECTION = Path("data/selection")
"""What the stage `select` writes: <room>/<name>.json with `left_out`, null where the component
takes part, and `settings`, what rules made of those that are "auto"."""
_FILE = "left_out.json"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LeftOut:
    """A generator, policy or recommender that takes no part.

    Attributes:
        room: "generators", "policies" or "recommenders".
        name: its name.
        reason: why, in a sentence without a full stop.
        fix: what to do if it is wanted.
    """

    room: str
    name: str
    reason: str
    fix: str

    @property
    def kind(self) -> str:
        """What it is: "generator", "policy" or "recommender"."""
        return "policy" if self.room == "policies" else self.room.removesuffix("s")

    def __str__(self) -> str:
        return f"{self.kind} {self.name} is left out: {self.reason}. To have it: {self.fix}"


def selected(room: str, name: str) -> Path:
    """Where the stage `select` says whether a component takes part."""
    return SELECTION / room / f"{name}.json"


def read(place: Path) -> LeftOut | None:
    """What `select` wrote of a component, or the folder of a result holds in its place; None: it
    takes part."""
    file = place / _FILE if place.is_dir() else place
    found = read_json(file) if file.is_file() else None
    if file.is_relative_to(SELECTION) and found is not None:
        found = found["left_out"]
    return None if found is None else LeftOut(**found)


def settings(room: str, name: str) -> dict[str, Any]:
    """What the stage `select` made of a component's settings that are "auto"."""
    file = selected(room, name)
    return dict(read_json(file)["settings"]) if file.is_file() else {}


def write(left_out: LeftOut, *folders: Path) -> None:
    """Make these folders say it, in place of any result."""
    for folder in folders:
        with whole_directory(folder) as draft:
            write_json(draft / _FILE, asdict(left_out))
    _log.warning("%s", left_out)


def passed_on(places: Iterable[Path], *folders: Path) -> bool:
    """Whether one of the inputs `places` is left out; then `folders`, the outputs, say so too."""
    found = next((one for place in places if (one := read(place))), None)
    if found is not None:
        write(found, *folders)
    return found is not None
