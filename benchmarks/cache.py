"""Where a benchmark stores what it has measured, so that an interrupted run can continue. Results
of other code or settings are never mixed in: they have another folder."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from benchmarks.environments import HERE, WHERE


def folder(name: str, script: str, **arguments: object) -> Path:
    """var/benchmarks/<name>-<digest>, the digest of arguments, params.yaml, all of src/augrec and
    the script itself.

    Args:
        name: a readable prefix.
        script: the benchmark's __file__.
        arguments: what else the measured numbers depend on.
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
