"""Sections of params.yaml that belong to the stages themselves."""

from __future__ import annotations

from pydantic import Field, ValidationInfo, field_validator

from augrec.core.config import Auto, BaseConfig


class ChampionConfig(BaseConfig):
    """`run.champion`: the registered model that `continue_champion` begins at."""

    version: str
    digest: str
    """Hash of the model's files: another model under that version is refused."""


class RunConfig(BaseConfig):
    """What takes part in a run. Each name is a file of its room, or a policy; `auto`: what suits
    the size of the data, see `augrec choose`."""

    generators: list[str] | Auto = "auto"
    """Models that make up synthetic users; []: none, the run takes real data and placebos alone."""
    policies: list[str] | Auto = "auto"
    """Ways to build the training set, see `policies`."""
    recommenders: list[str] | Auto = "auto"
    """Each is trained on every policy."""
    chosen: list[str] = []
    """What `auto` chose and why; a run writes it here."""
    advice: str | None = None
    """What is known beforehand of generated data; a run writes it here."""
    repetitions: int = Field(default=1, ge=1, strict=True)
    """Trainings of each pair in which chance plays a part, with other draws, so that luck does not
    pass for a gain."""
    refit: bool = True
    """Train the winner once more, on all interactions, before it serves; false: the model that was
    measured serves."""
    champion: ChampionConfig | None = None
    """Where `continue_champion` begins; a run that uses it writes version and digest here."""
    require_approval: bool = False
    """Wait for a person before a new champion serves."""
    approvers: list[str] = []
    """Airflow users who may approve or reject; without a name, everybody who may edit the run."""

    @field_validator("generators", "policies", "recommenders")
    @classmethod
    def _names_each_once(cls, names: list[str] | Auto, info: ValidationInfo) -> list[str] | Auto:
        if isinstance(names, str):
            return names
        if not names and info.field_name != "generators":
            raise ValueError("name at least one, or write auto")
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"named twice: {', '.join(twice)}")
        return names


class AugmentationConfig(BaseConfig):
    """What holds for every policy."""

    max_ratio: float = Field(2.0, ge=0.0)
    """No policy may add more users than this for each real one."""


class ExtensionsConfig(BaseConfig):
    """Whose histories are extended, and how far."""

    max_length: int = Field(default=20, ge=1)
    """Those of training users with at most this number of distinct items."""
    items: int = Field(default=10, ge=0)
    """Rows on each side; 0: none."""


class SynthesisConfig(BaseConfig):
    """The samples that are drawn from trained generators."""

    ratio: float = Field(1.0, gt=0.0)
    """Synthetic users for each real training user."""
    condition: dict[str, dict[str, bool | int | str | list[int | str]]] = {}
    """Generator -> condition of the users to draw, see `Generator.sample`; without a line here
    conditions are as frequent as in training."""
    extensions: ExtensionsConfig = ExtensionsConfig()
    """For policies with `extend`."""
