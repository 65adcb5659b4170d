"""Check params.yaml and write the whole config of each component of the run: params.yaml ->
data/config.

The stages that train depend on the file of their own component, so a changed default or override
runs again what depends on it, and nothing else.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path

from augrec.core.config import read_params
from augrec.core.files import whole_directory, write_text
from augrec.stages._inputs import CONFIG
from augrec.stages.planning import Resolved, resolve
from augrec.stages.runner import run

_log = logging.getLogger(__name__)


def main() -> None:
    """Write data/config/generators/NAME.json and data/config/recommenders/NAME.json."""
    write(resolve(read_params()))


def write(resolved: dict[str, Resolved], folder: Path = CONFIG) -> None:
    """Write what `resolve` returned."""
    with whole_directory(folder) as draft:
        for room, members in resolved.items():
            for name, values in members.items():
                # in the order that the class has: a search tries its keys in that order
                text = json.dumps(values, indent=2, allow_nan=False, ensure_ascii=False)
                write_text(draft / room / f"{name}.json", text + "\n")
            _log.info("%s: %s", room, ", ".join(members))


if __name__ == "__main__":
    run(main)
