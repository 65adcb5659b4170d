"""Check params.yaml and write the whole config of each component of the run: params.yaml ->
data/config.

The stages that train depend on the file of their own component, so a changed default or override
runs again what depends on it, and nothing else. The names of the run's generators are written to
each folder that has a member for each of them, so that the folder is there without generators too.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path

from augrec.core.config import read_params
from augrec.core.files import whole_directory, write_json, write_text
from augrec.stages._inputs import CONFIG
from augrec.stages.planning import Resolved, resolve
from augrec.stages.runner import run

GENERATORS = tuple(
    Path(folder) / "generators.json"
    for folder in ("models/generators", "data/synthetic", "reports/audit")
)
_log = logging.getLogger(__name__)


def main() -> None:
    """Write data/config/generators/NAME.json, data/config/recommenders/NAME.json, and the names of
    the generators."""
    resolved = resolve(read_params())
    write(resolved)
    for path in GENERATORS:
        write_json(path, list(resolved["generators"]))


def write(resolved: dict[str, Resolved], folder: Path = CONFIG) -> None:
    """Write what `resolve` returned."""
    with whole_directory(folder) as draft:
        for room, members in resolved.items():
            for name, values in members.items():
                # in the order that the class has: a search tries its keys in that order
                text = json.dumps(values, indent=2, allow_nan=False, ensure_ascii=False)
                write_text(draft / room / f"{name}.json", text + "\n")
            _log.info("%s: %s", room, ", ".join(members) or "none")


if __name__ == "__main__":
    run(main)
