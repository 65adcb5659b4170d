"""How the service behaves: the section `serving` of params.yaml, read once at the start.

Serving is not part of a run: no stage depends on the section, and a change takes effect when the
service is started again. Addresses and secrets come from the environment (see
`augrec.core.settings` and `augrec.serving.security`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import yaml
from pydantic import Field

from augrec.core.config import BaseConfig, parse
from augrec.core.errors import ConfigError
from augrec.data.config import PrepareConfig


class RolloutConfig(BaseConfig):
    """`serving.rollout`: what the version called `challenger` in the registry is used for."""

    mode: Literal["off", "shadow", "split"] = "off"
    """shadow: it is asked too and its answers are logged, users see the champion's. split: some
    users get its answers."""
    challenger_percent: float = Field(default=10.0, ge=0, le=100)
    """So many of a hundred users are the challenger's under `split`; a user keeps their side."""
    salt: str = "1"
    """Another salt deals the users anew."""


class AnswerLogConfig(BaseConfig):
    """`serving.answers`: the log that is trained on and judged by."""

    share: float = Field(default=1.0, ge=0, le=1)
    """Share of the answers that are kept."""
    segment_mb: float = Field(default=64.0, gt=0)
    """A file of this size is closed and the next one begun."""
    keep_days: float = Field(default=90.0, gt=0)
    """Older files are deleted."""


class IndexConfig(BaseConfig):
    """`serving.index`: how the best items of a large catalogue are found."""

    kind: Literal["exact", "approximate"] = "exact"
    """approximate: through an index that looks at the likely part of the catalogue only, where the
    recommender allows it."""
    min_items: int = Field(default=50_000, ge=1_000)
    """Smaller catalogues are always searched in full: it is as fast."""
    min_recall: float = Field(default=0.95, gt=0, le=1)
    """Share of the ten best items that must be found, on average over users; the index looks as far
    as that takes."""


class ServingConfig(BaseConfig):
    """`serving`."""

    poll_s: float = Field(default=5.0, gt=0)
    """The registry is asked so often whether the champion is another."""
    retry_refused_s: float = Field(default=300.0, gt=0)
    """A refused bundle is looked at again after so long."""
    timeout_s: float = Field(default=1.0, gt=0)
    """A model that takes longer is not waited for: popular items are answered."""
    max_in_flight: int = Field(default=128, ge=1)
    """Requests beyond so many at once are turned away with 429."""
    max_batch: int = Field(default=32, ge=1)
    """At most so many waiting requests are ranked together."""
    max_body_kb: int = Field(default=1024, ge=1)
    """Larger bodies are refused."""
    max_users: int = Field(default=100_000, ge=1)
    """Histories of so many users are kept in memory, those asked for last."""
    features: bool = True
    """Read user features from the online store."""
    features_timeout_s: float = Field(default=0.02, gt=0)
    """The online store is not waited for any longer."""
    features_max_age_s: float = Field(default=60.0, ge=0)
    """What was read is used again for so long."""
    max_scores: int = Field(default=2**24, ge=1)
    """So many scores, users times items, are held at once (2**24 are 64 MiB)."""
    body_timeout_s: float = Field(default=10.0, gt=0)
    """A client that sends nothing of its body for so long is answered with 408."""
    allow_hosts: list[str] = []
    """Names, besides this machine's own, that the service may be asked under while there are no API
    keys: a page of another site whose name is made to point here (DNS rebinding) must not reach
    it."""
    allow_origins: list[str] = []
    """Sites whose pages may call the service from a browser."""
    index: IndexConfig = IndexConfig()
    rollout: RolloutConfig = RolloutConfig()
    answers: AnswerLogConfig = AnswerLogConfig()


def read_config(home: Path) -> tuple[ServingConfig, PrepareConfig, tuple[str, ...]]:
    """The sections of params.yaml that the service needs: `serving`, `prepare`, and the events that
    are known.

    Raises:
        ConfigError: params.yaml is missing, or says something impossible.
    """
    path = home / "params.yaml"
    try:
        params = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise ConfigError(
            "params.yaml cannot be read", where=str(path), fix="restore it from git"
        ) from error
    serving = parse(ServingConfig, params.get("serving") or {}, "serving")
    prepare = parse(PrepareConfig, params.get("prepare") or {"positive": {}}, "prepare")
    events = (params.get("validation") or {}).get("events") or list(prepare.positive)
    return serving, prepare, tuple(events)
