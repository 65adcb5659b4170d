"""The section `serving` of params.yaml, read once at the start.

Serving is not part of a run: no stage depends on this section, and changes take effect when the
service is restarted. Addresses and secrets come from the environment (see `augrec.core.settings`
and `augrec.serving.security`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from augrec.core.config import BaseConfig, parse, read_params, section
from augrec.data.config import PrepareConfig


class RolloutConfig(BaseConfig):
    """`serving.rollout`: how the registry's `challenger` is used."""

    mode: Literal["off", "shadow", "split"] = "off"
    """shadow: its answers are computed and logged, users get the champion's. split: some users get
    its answers."""
    challenger_percent: float = Field(default=10.0, ge=0, le=100)
    """Percentage of users assigned to the challenger in mode `split`; an assignment is
    permanent."""
    salt: str = "1"
    """A new salt assigns all users again."""


class AnswerLogConfig(BaseConfig):
    """`serving.answers`: the log of answers, the input of `augrec report ab`."""

    share: float = Field(default=1.0, ge=0, le=1)
    """Share of answers that are logged."""
    segment_mb: float = Field(default=64.0, gt=0)
    """Maximum size of a file, after which a new one is started."""
    keep_days: float = Field(default=90.0, gt=0)
    """Age after which files are deleted."""


class IndexConfig(BaseConfig):
    """`serving.index`: search in large catalogues."""

    kind: Literal["exact", "approximate"] = "exact"
    """approximate: with an index that searches a part of the catalogue, for recommenders whose
    scores are dot products."""
    min_items: int = Field(default=50_000, ge=1_000)
    """Smaller catalogues are always searched completely, which is as fast."""
    min_recall: float = Field(default=0.95, gt=0, le=1)
    """Minimum recall of the ten best items, averaged over users; the index searches as many cells
    as that needs."""


class ServingConfig(BaseConfig):
    """`serving`: the HTTP service."""

    poll_s: float = Field(default=5.0, gt=0)
    """Interval of polling the registry, seconds."""
    retry_refused_s: float = Field(default=300.0, gt=0)
    """Time until a refused version is tried again, seconds."""
    timeout_s: float = Field(default=1.0, gt=0)
    """Time limit for a model, seconds; after it, popular items are returned."""
    max_in_flight: int = Field(default=128, ge=1)
    """Maximum number of concurrent requests; further ones get 429."""
    max_batch: int = Field(default=32, ge=1)
    """Maximum number of requests that are ranked together."""
    max_body_kb: int = Field(default=1024, ge=1)
    """Maximum size of a request body, KiB; larger ones get 413."""
    max_users: int = Field(default=100_000, ge=1)
    """Maximum number of users whose histories are in memory."""
    features: bool = True
    """Read user features from the online store."""
    features_timeout_s: float = Field(default=0.02, gt=0)
    """Time limit for the online store, seconds."""
    features_max_age_s: float = Field(default=60.0, ge=0)
    """Time that features are cached, seconds."""
    max_scores: int = Field(default=2**24, ge=1)
    """Maximum number of scores, users times items, in memory (2**24 are 64 MiB)."""
    body_timeout_s: float = Field(default=10.0, gt=0)
    """Time limit for the next part of a request body, seconds; after it, the client gets 408."""
    allow_hosts: list[str] = []
    """Host names that requests may use in addition to this machine's, while there are no API keys;
    protects against DNS rebinding by pages of other sites."""
    allow_origins: list[str] = []
    """Origins of web pages that may call the service from a browser (CORS)."""
    index: IndexConfig = IndexConfig()
    rollout: RolloutConfig = RolloutConfig()
    answers: AnswerLogConfig = AnswerLogConfig()


def read_config(home: Path) -> tuple[ServingConfig, PrepareConfig, tuple[str, ...]]:
    """The sections `serving` and `prepare` of params.yaml, and the valid events.

    Raises:
        ConfigError: params.yaml is missing or invalid.
    """
    params = read_params(home)
    serving = parse(ServingConfig, section(params, "serving"), "serving")
    prepare = parse(PrepareConfig, section(params, "prepare") or {"positive": {}}, "prepare")
    events = section(params, "validation").get("events") or list(prepare.positive)
    return serving, prepare, tuple(events)
