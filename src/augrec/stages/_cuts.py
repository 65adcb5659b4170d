"""When validation and test begin, as the stage prepare wrote it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from augrec.core.files import read_json


def begin_of(split: str) -> datetime | None:
    """From when the cases of a split, "valid" or "test", are judged, UTC; None where time is not
    cut for all alike."""
    text = read_json(Path("data/prepared/split.json"))[f"{split}_from"]
    return None if text is None else datetime.fromisoformat(text)
