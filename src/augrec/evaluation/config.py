"""The sections `evaluation` and `gate` of params.yaml."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from augrec.core.config import BaseConfig


class EvaluationConfig(BaseConfig):
    """How long the ranked lists are, and where they are measured."""

    cutoffs: list[int] = Field(default=[10, 20], min_length=1)
    """Every metric is measured at each of these list lengths."""

    max_groups: int = Field(default=25, ge=2)
    """A text attribute of users with more distinct values makes no groups; a numeric one is cut
    into thirds of the cases."""
    min_group_users: int = Field(default=20, ge=1)
    """Smaller groups of users are shown, but take no part in the gap between groups."""

    @model_validator(mode="after")
    def _cutoffs_fit(self) -> Self:
        if min(self.cutoffs) < 1:
            raise ValueError("each cutoff must be 1 or more")
        return self


class GateConfig(BaseConfig):
    """When generated data is accepted; see `augrec.evaluation.gate`."""

    target_slice: Literal["0", "1-5", "6-20", "21+", "all"] = "1-5"
    """The users that generated data must help."""
    metric: str = "ndcg@10"
    """The metric that decides, at one of evaluation.cutoffs."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """Of the two-sided interval."""
    bootstrap_samples: int = Field(default=2000, ge=100)
    """Resamples of the users."""
    non_inferiority_margin: float = Field(default=0.01, ge=0, lt=1)
    """Largest tolerated relative loss, over all users and in each group."""
    power: float = Field(default=0.8, gt=0.5, lt=1)
    """The report states the smallest gain that would have been accepted with this probability."""
    simpler_within: float = Field(default=0.25, ge=0)
    """A simpler training set, or a cheaper recommender, is chosen where the best on validation
    users is ahead by no more than this number of standard errors of the difference; 1 is the
    one-standard-error rule."""
    min_users: int = Field(default=20, ge=2)
    """A group with fewer users decides nothing."""
    max_membership_auc: float | None = Field(default=None, ge=0.5, le=1)
    """The winner is not registered if the membership attack on its scores is shown to reach more
    than this area (the lower end of its interval less the bias of its control), or could not be
    measured; null: no limit. See `augrec.audit.recommender_attack`."""
