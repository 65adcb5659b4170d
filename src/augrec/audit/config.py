"""The section `audit` of params.yaml."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from augrec.core.config import BaseConfig


class UtilityConfig(BaseConfig):
    """Training on the sample alone, tested on real users."""

    recommender: str = "ease"
    """Trained once on real and once on synthetic users, evaluated on validation users; any
    recommender."""
    options: dict[str, Any] = {}
    """Its config; absent keys have their defaults."""
    large_catalogue: int = Field(default=3000, ge=1)
    """Of more items than this …"""
    large_recommender: str = "item_knn"
    """… this one is trained instead, with its defaults, so that the cost stays linear."""
    metric: str = Field(default="ndcg@10", pattern=r"^[a-z_]+@[1-9][0-9]*$")
    """The metric that is compared."""
    max_users: int = Field(default=20_000, ge=2)
    """At most this many users of each kind are trained on, as many real ones as synthetic ones."""
    max_cases: int = Field(default=2000, ge=2)
    """At most this many validation cases are evaluated."""


class AuditConfig(BaseConfig):
    """How samples are audited."""

    neighbours: int = Field(default=1, ge=1)
    """Likeness to the sample is the mean Jaccard similarity to this number of nearest profiles."""
    max_users: int = Field(default=2000, ge=10)
    """At most this many users of each kind are compared with all; the others are left out of
    measures that compare users."""
    top_items: int = Field(default=200, ge=2)
    """Item pairs are compared among the most popular ones."""
    dimensions: int = Field(default=16, ge=2)
    """Dimensions of the space of users, see `augrec.audit.space`."""
    clusters: int = Field(default=20, ge=2)
    """Clusters of users for k-means; fewer where there are few users."""
    manifold_neighbours: int = Field(default=5, ge=1)
    """k of precision, recall, density and coverage."""
    folds: int = Field(default=5, ge=2)
    """Cross-fitting folds of the classifier of real and synthetic users."""
    min_profile: int = Field(default=3, ge=1)
    """Shorter profiles are equal by chance: they count neither as duplicates nor as copies."""
    near_copy: float = Field(default=0.9, gt=0.0, le=1.0)
    """Jaccard similarity from which a profile is a near copy."""
    singled_out_quantile: float = Field(default=0.01, gt=0.0, lt=0.5)
    """A profile singles a user out if that user is nearer, relative to the second nearest, than for
    this share of real users."""
    min_non_members: int = Field(default=30, ge=2)
    """With fewer held-out users who have a history before validation begins, their validation
    period counts too."""
    min_attacked: float = Field(default=20.0, ge=2.0)
    """With fewer (effective) users on either side an attack decides nothing."""
    bootstrap_samples: int = Field(default=500, ge=10)
    """Resamples behind an interval."""
    confidence: float = Field(default=0.95, gt=0.0, lt=1.0)
    """Of every interval."""
    undecided: Literal["pass", "block"] = "pass"
    """Whether a sample passes where a limit lies inside the measure's interval: too few users to
    decide."""
    limits: dict[str, float] = {}
    """`min_` or `max_` and a measure's name: its limit. A measure that could not be computed breaks
    its limit."""
    utility: UtilityConfig = UtilityConfig()
