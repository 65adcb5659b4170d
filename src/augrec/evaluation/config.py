"""`evaluation` of params.yaml."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from augrec.core.config import BaseConfig


class EvaluationConfig(BaseConfig):
    """How long the ranked lists are, and where they are measured."""

    cutoffs: list[int] = Field(default=[10, 20], min_length=1)
    """Every metric is measured at each of these list lengths."""

    max_groups: int = Field(default=25, ge=2)
    """A user attribute of more distinct texts makes no groups; numbers beyond that are cut into
    thirds of the cases."""
    min_group_users: int = Field(default=20, ge=1)
    """Smaller groups of users are shown, but make no gap."""

    @model_validator(mode="after")
    def _cutoffs_fit(self) -> Self:
        if min(self.cutoffs) < 1:
            raise ValueError("each cutoff must be 1 or more")
        return self
