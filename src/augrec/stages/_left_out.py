"""What of a run takes no part because it does not suit the data: a file says so in place of its
results, from stage to stage, so that nothing fails and nothing is forgotten."""

from __future__ import annotations

import logging
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


def selected(room: str, name: str) -> tuple[LeftOut | None, dict[str, Any]]:
    """What the stage `select` decided of a component: why it takes no part, or None; and its
    settings that were "auto". Where the stage has not run, it takes part as it is configured."""
    file = SELECTION / room / f"{name}.json"
    found = read_json(file) if file.is_file() else {"left_out": None, "settings": {}}
    left_out = found["left_out"]
    return None if left_out is None else LeftOut(**left_out), found["settings"]


def read(folder: Path) -> LeftOut | None:
    """What the folder of a result holds in its place; None: it is there."""
    file = folder / _FILE
    return LeftOut(**read_json(file)) if file.is_file() else None


def write(left_out: LeftOut, *folders: Path) -> None:
    """Make these folders say it, in place of any result."""
    for folder in folders:
        with whole_directory(folder) as draft:
            write_json(draft / _FILE, asdict(left_out))
    _log.warning("%s", left_out)


def passed_on(left_out: LeftOut | None, *folders: Path) -> bool:
    """Whether an input is left out; then `folders`, the outputs, say so too."""
    if left_out is not None:
        write(left_out, *folders)
    return left_out is not None
