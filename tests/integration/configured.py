"""params.yaml of a workspace, and what the stage `configure` makes of the components it names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from augrec.core.config import parse, section
from augrec.generators import base as generators
from augrec.recommenders import base as recommenders
from augrec.stages import planning
from augrec.stages.configure import write
from augrec.tuning.config import TuningConfig


def write_params(folder: Path, params: Mapping[str, Any]) -> None:
    """Write both. The sections that `configure` checks besides may be missing."""
    (folder / "params.yaml").write_text(yaml.safe_dump(dict(params)))
    tuning = parse(TuningConfig, section(params, "tuning"), "tuning")
    made = {
        name: {"config": planning.dump(generators.find(name)(config))}
        for name, config in section(params, "generators").items()
    }
    trained = {
        name: planning.tuned(recommenders.find(name)(config), tuning)
        for name, config in section(params, "recommenders").items()
    }
    write({"generators": made, "recommenders": trained}, folder / "data/config")
