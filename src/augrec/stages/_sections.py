"""The sections of params.yaml that a run depends on, each with its config class."""

from __future__ import annotations

from typing import Final

from augrec.audit.config import AuditConfig
from augrec.core.config import BaseConfig
from augrec.data.config import PrepareConfig
from augrec.data.training_data import Hardware
from augrec.evaluation.config import EvaluationConfig, GateConfig
from augrec.features.schema import FeaturesConfig
from augrec.recommenders._taste.tastes import TastesConfig
from augrec.stages._configs import AugmentationConfig, RunConfig, SynthesisConfig
from augrec.tuning.config import TuningConfig
from augrec.validation.config import ValidationConfig, WindowConfig

SECTIONS: Final[dict[str, type[BaseConfig]]] = {
    "run": RunConfig,
    "data.window": WindowConfig,
    "validation": ValidationConfig,
    "prepare": PrepareConfig,
    "features": FeaturesConfig,
    "taste_groups": TastesConfig,
    "hardware": Hardware,
    "synthesis": SynthesisConfig,
    "audit": AuditConfig,
    "augmentation": AugmentationConfig,
    "tuning": TuningConfig,
    "evaluation": EvaluationConfig,
    "gate": GateConfig,
}
"""By their dotted names in params.yaml. `generators`, `recommenders` and `policies` hold
components, `data.source` and `data.import` say where data comes from, the service reads
`serving`."""

OTHERS: Final[tuple[str, ...]] = (
    "seed",
    "data",
    "generators",
    "policies",
    "recommenders",
    "serving",
)
"""What else may stand at the top of params.yaml."""


def top_level() -> list[str]:
    """Every name that may stand at the top of params.yaml."""
    return list(dict.fromkeys([name.partition(".")[0] for name in SECTIONS] + list(OTHERS)))
