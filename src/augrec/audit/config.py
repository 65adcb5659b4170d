"""The section `audit` of params.yaml."""

from __future__ import annotations

from pydantic import Field

from augrec.data.config import Section


class AuditConfig(Section):
    """How samples are judged."""

    neighbours: int = Field(1, ge=1)
    """Likeness to the sample is the mean Jaccard similarity to so many nearest profiles."""
    max_users: int = Field(2000, ge=10)
    """So many users of each kind are compared with everybody; the others are left out of nearest-neighbour measures."""
    top_items: int = Field(200, ge=2)
    """Item pairs are compared among the most popular ones."""
    min_profile: int = Field(3, ge=1)
    """Shorter profiles are equal by chance: they count neither as duplicates nor as copies."""
    near_copy: float = Field(0.9, gt=0.0, le=1.0)
    """Jaccard similarity from which a profile is a near copy."""
    min_non_members: int = Field(30, ge=2)
    """With fewer held-out users who have a history before validation begins, their validation period counts too."""
    bootstrap_samples: int = Field(500, ge=10)
    """Resamples behind the interval of the attack."""
    confidence: float = Field(0.95, gt=0.0, lt=1.0)
    """Of that interval."""
    limits: dict[str, float] = {}
    """`min_` or `max_` and a measure's name: its limit. A measure that could not be taken does not keep its limit."""
