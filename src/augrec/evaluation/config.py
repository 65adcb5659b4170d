"""`evaluation` of params.yaml."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from augrec.data.config import Section


class EvaluationConfig(Section):
    """How long the ranked lists are, and where they are measured."""

    cutoffs: list[int] = Field(default=[10, 20], min_length=1)
    """Every metric is measured at each of these list lengths."""

    @model_validator(mode="after")
    def _cutoffs_fit(self) -> Self:
        if min(self.cutoffs) < 1:
            raise ValueError("each cutoff must be 1 or more")
        return self
