"""Where a benchmark keeps what it has measured, so that a run can go on: never beside what other
code or settings gave."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from benchmarks.environments import HERE, WHERE


def folder(name: str, script: str, **arguments: object) -> Path:
    """var/benchmarks/<name>-<digest>, the digest of arguments, params.yaml, all of src/augrec and
    the script itself.

    Args:
        name: for people.
        script: the benchmark's __file__.
        arguments: what the measured numbers depend on besides.
    """
    root = HERE.parent
    hasher = hashlib.sha256(json.dumps(arguments, sort_keys=True, default=str).encode())
    for path in (
        root / "params.yaml",
        Path(script).resolve(),
        *sorted((root / "src/augrec").rglob("*.py")),
    ):
        hasher.update(path.relative_to(root).as_posix().encode() + b"\n" + path.read_bytes())
    return WHERE / f"{name}-{hasher.hexdigest()[:12]}"
