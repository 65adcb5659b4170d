"""Loads models from the registry into the service, and refuses those that fail a check.

The registry is polled for the versions of champion and challenger. A new version is copied,
verified against its digest, loaded next to the current model and checked; then one assignment makes
it the served model. Verified copies stay on disk, so that the service starts and runs without the
registry.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

import polars as pl

from augrec.core.errors import AugrecError, TransientError
from augrec.core.files import read_json, write_json
from augrec.data.columns import Columns as C
from augrec.data.histories import Histories
from augrec.data.training_data import TrainingData
from augrec.recommenders import base
from augrec.recommenders.base import Recommender
from augrec.serving import local_rollback
from augrec.serving.config import ServingConfig
from augrec.serving.index import build
from augrec.serving.item_metadata import ItemMetadata
from augrec.serving.live_groups import follow
from augrec.serving.model import Model, check
from augrec.serving.rollout import Deployment
from augrec.serving.status_schemas import Refusal
from augrec.serving.user_store import positive_rows

log = logging.getLogger(__name__)

Alias = Literal["champion", "challenger"]
ALIASES: Final[tuple[Alias, ...]] = ("champion", "challenger")
_CURRENT = "current.json"
_KEPT_COPIES = 4
_INDEX_ROWS, _INDEX_USERS = 100_000, 256
"""Rows and users of data/raw that an index is measured with."""


@dataclass(frozen=True)
class AliasTarget:
    """The version that an alias refers to."""

    version: str
    digest: str
    policy: str
    run_id: str
    commit: str


class Deployer:
    """Holds the current deployment and updates it.

    Args:
        raw: data/raw of the project, for titles and the fallback.
        folder: var/serving.
        config: see `ServingConfig`.
        positive: positive events; see `augrec.serving.user_store.positive_rows`.
        notify: called with "swap", "refused" or "registry_error" and the alias, for metrics.
        replay: lets a model with taste groups follow the latest events again.

    Attributes:
        deployment: the served models; read it once for each request.
        refused: {(version, digest): why it was refused}.
        registry: result of the last poll.
        swaps: number of model changes since the start.
    """

    def __init__(
        self,
        raw: Path,
        folder: Path,
        config: ServingConfig,
        positive: dict[str, float | None],
        notify: Callable[[str, str], None] = lambda what, alias: None,
        replay: Callable[[Recommender], None] = lambda recommender: None,
    ) -> None:
        self._raw, self._models, self._config = raw, folder / "models", config
        self._positive, self._notify, self._replay = positive, notify, replay
        self._folder, self._state = folder, folder / _CURRENT
        self.deployment = Deployment()
        self.refused: dict[tuple[str, str], Refusal] = {}
        self._refused_at: dict[tuple[str, str], float] = {}
        self.registry: dict[str, Any] = {"reachable": None, "checked_at": None, "problem": None}
        self.swaps = 0
        self._busy = threading.Lock()

    def start(self) -> None:
        """Load the local copies, and the fallback if there is no champion. Call it once, from any
        thread."""
        with self._busy:
            kept = read_json(self._state) if self._state.exists() else {}
            for alias in ALIASES:
                if alias in kept:
                    self._try(alias, AliasTarget(**kept[alias]), "local copy")
            self._roll_back_locally()
            if self.deployment.champion is None:
                self.deployment = replace(self.deployment, fallback=self._fallback())

    def poll(self) -> None:
        """Poll the registry once and load new versions. Never raises; errors are reported in
        `registry` and `refused`."""
        with self._busy:
            try:
                asked = local_rollback.asked_for(self._folder)
                if asked is not None:
                    champion = _target("champion")
                    local_rollback.tell_registry(
                        self._folder, asked, champion.version if champion else None
                    )
                wanted = {alias: _target(alias) for alias in ALIASES}
            except Exception as error:
                self._unreachable(error)
                self._roll_back_locally()
                return
            self.registry = {
                "reachable": True,
                "checked_at": datetime.now(UTC).isoformat(),
                "problem": None,
            }
            for alias, version in wanted.items():
                if version is not None:
                    self._update(alias, version)
            # a champion that was removed from the registry goes on serving, a challenger does not
            if wanted["challenger"] is None and self.deployment.challenger is not None:
                self.deployment = replace(self.deployment, challenger=None)
                self._remember("challenger", None)

    def _roll_back_locally(self) -> None:
        """Serve the copy that a rollback names of which the registry does not know yet."""
        asked = local_rollback.asked_for(self._folder)
        if asked is None:
            return
        target, current = AliasTarget(**asked.target), self.deployment.champion
        if current is None or current.version != target.version:
            self._try("champion", target, "local copy")

    def _unreachable(self, error: Exception) -> None:
        self._notify("registry_error", "")
        if self.registry["reachable"] is not False:
            log.warning(
                "cannot reach the registry, loaded models go on serving: %s",
                _first_line(error),
            )
        now = datetime.now(UTC).isoformat()
        self.registry = {"reachable": False, "checked_at": now, "problem": _first_line(error)}

    def _update(self, alias: Alias, wanted: AliasTarget) -> None:
        current: Model | None = getattr(self.deployment, alias)
        if current is not None and (current.version, current.digest) == (
            wanted.version,
            wanted.digest,
        ):
            return
        key = (wanted.version, wanted.digest)
        if time.monotonic() - self._refused_at.get(key, -1e9) < self._config.retry_refused_s:
            return
        self._try(alias, wanted, "registry")

    def _try(
        self, alias: Alias, wanted: AliasTarget, origin: Literal["registry", "local copy"]
    ) -> None:
        key = (wanted.version, wanted.digest)
        try:
            model = self._load(wanted, origin)
        except TransientError as error:
            self._unreachable(error)
            return
        except Exception as error:  # a bad bundle must not affect the current model
            why = (
                error.what
                if isinstance(error, AugrecError)
                else f"{type(error).__name__}: {_first_line(error)}"
            )
            log.error("refused version %s as %s: %s", wanted.version, alias, why)
            self.refused[key] = Refusal(
                version=wanted.version, digest=wanted.digest, why=why, at=datetime.now(UTC)
            )
            self._refused_at[key] = time.monotonic()
            self._notify("refused", alias)
            return
        self.refused.pop(key, None)
        self._refused_at.pop(key, None)
        self.deployment = replace(self.deployment, **{alias: model})
        self.swaps += 1
        self._notify("swap", alias)
        log.info("version %s now serves as %s", wanted.version, alias)
        self._remember(alias, wanted)

    def _load(self, wanted: AliasTarget, origin: Literal["registry", "local copy"]) -> Model:
        from augrec.registry import bundle  # MLflow takes seconds to import

        copy = self._models / f"{wanted.version}-{wanted.digest}"
        if origin == "registry":
            try:
                recommender, items, facts = bundle.open_copy(copy)
            except AugrecError:  # no copy yet, or a damaged one
                shutil.rmtree(copy, ignore_errors=True)
                bundle.fetch(wanted.version, copy)
                recommender, items, facts = bundle.open_copy(copy)
        else:
            recommender, items, facts = bundle.open_copy(copy)
        if facts["digest"] != wanted.digest:
            shutil.rmtree(copy, ignore_errors=True)
            raise TransientError(
                "the version was registered again while it was copied",
                where=f"version {wanted.version}",
            )
        metadata = ItemMetadata(self._with_current_metadata(items))
        facts_of_version = {
            "version": wanted.version,
            "digest": wanted.digest,
            "policy": wanted.policy,
            "run_id": wanted.run_id,
            "commit": wanted.commit,
        }
        index = build(recommender, self._sample_histories(recommender), self._config.index)
        groups = bundle.groups_of(copy)
        model = Model.of(
            recommender, metadata, origin=origin, index=index, groups=groups, **facts_of_version
        )
        checks = check(model, facts.get("golden", []), self._config.max_scores)
        follow(recommender, self._config.max_users)  # after the checks, whose answers are as learnt
        self._replay(recommender)
        return replace(model, checks=checks)

    def _sample_histories(self, recommender: Recommender) -> Histories:
        """Histories of some users in data/raw, to measure the recall of an index."""
        rows = pl.DataFrame(schema={C.USER: pl.String, C.ITEM: pl.String})
        path = self._raw / "interactions.parquet"
        if self._config.index.kind == "approximate" and path.exists():
            scan = pl.scan_parquet(path).filter(positive_rows(self._positive))
            rows = scan.select(C.USER, C.ITEM).head(_INDEX_ROWS).collect().drop_nulls()
        lists = rows.group_by(C.USER, maintain_order=True).agg(
            pl.col(C.ITEM).unique(maintain_order=True)
        )
        return Histories.from_lists(lists[C.ITEM].head(_INDEX_USERS), recommender.items)

    def _with_current_metadata(self, items: pl.DataFrame) -> pl.DataFrame:
        """The items of data/raw, then those of the bundle that are not in data/raw."""
        path = self._raw / "items.parquet"
        if not path.exists():
            return items
        current = pl.read_parquet(path, columns=[C.ITEM, C.TITLE, C.CATEGORIES, C.PRICE])
        both = pl.concat([current.drop_nulls(C.ITEM), items], how="diagonal")
        return both.unique(C.ITEM, keep="first", maintain_order=True)

    def _fallback(self) -> Model | None:
        """The recommender `popularity` on data/raw; None if there is no data."""
        path = self._raw / "interactions.parquet"
        if not path.exists():
            return None
        rows = pl.read_parquet(path, columns=[C.USER, C.ITEM, C.EVENT, C.VALUE])
        rows = rows.filter(positive_rows(self._positive)).drop_nulls([C.USER, C.ITEM])
        if rows.is_empty():
            return None
        recommender = base.find("popularity")().fit(TrainingData(rows))
        items = pl.DataFrame({C.ITEM: recommender.items.ids.tolist()}).with_columns(
            pl.lit(None, pl.String).alias(C.TITLE),
            pl.lit(None, pl.List(pl.String)).alias(C.CATEGORIES),
        )
        return Model.of(
            recommender,
            ItemMetadata(self._with_current_metadata(items)),
            version="0",
            policy="none",
            origin="data",
        )

    def _remember(self, alias: Alias, wanted: AliasTarget | None) -> None:
        """Store what to load at the next start, and delete old copies."""
        kept = read_json(self._state) if self._state.exists() else {}
        before = kept.pop(alias, None)
        if wanted is not None:
            kept[alias] = vars(wanted)
            if alias == "champion" and before is not None and before != kept[alias]:
                kept[local_rollback.PREVIOUS] = before
        write_json(self._state, kept)
        needed = {f"{one['version']}-{one['digest']}" for one in kept.values()}
        others = [path for path in self._models.glob("*-*") if path.name not in needed]
        others.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        for path in others[_KEPT_COPIES - len(needed) :]:
            shutil.rmtree(path, ignore_errors=True)


def _target(alias: Alias) -> AliasTarget | None:
    from augrec.registry import models

    found = models.named(alias)
    if found is None:
        return None
    return AliasTarget(
        found.version, found.serving_digest, found.policy, found.run_id, found.commit
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:500]
