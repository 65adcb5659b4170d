"""Does a policy help some users at the cost of others? The margin is applied to each group of
users, slice of activity and group of items."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import polars as pl

from augrec.data.columns import Columns as C
from augrec.data.slices import SLICES
from augrec.evaluation.bootstrap import Difference
from augrec.evaluation.config import GateConfig
from augrec.evaluation.item_statistics import ITEM_GROUPS
from augrec.evaluation.multiple import holm
from augrec.evaluation.paired import Paired
from augrec.evaluation.user_means import OVERALL

ACTIVITY: Final = "activity"
ITEMS: Final = "items"
LOST, HELD, OPEN, FEW = "lost", "held", "open", "few"


@dataclass(frozen=True)
class _Group:
    """One group and its metric; `members`, bool (n,), are its users among those of the slice, None:
    all."""

    kind: str
    name: str
    metric: str
    slice_name: str = OVERALL
    members: np.ndarray | None = None

    @property
    def key(self) -> str:
        return "\0".join((self.kind, self.name, self.metric, self.slice_name))


def judge_groups(
    paired: Paired,
    candidate: str,
    comparator: str,
    gate: GateConfig,
    seed: int,
    groups: pl.DataFrame | None = None,
) -> list[dict[str, Any]]:
    """Apply the margin to a candidate in every group: by activity, by popularity of the targets, by
    users' attributes.

    A group is lost, and the candidate with it, where the whole interval lies below -margin × the
    comparator's mean: the loss is shown. To demand the reverse, that no such loss be possible,
    would refuse everything, for the interval of a few dozen users is wider than any sensible
    margin; that demand is made of all users together. Dozens of groups are tested, so a loss must
    hold out against Holm's correction for the number that was judged: a candidate that changes
    nothing is refused for a lost group at most as often as one interval is wrong.

    Args:
        paired: the recommender's arms on test users.
        candidate, comparator: policies; the latter is what would be used otherwise.
        gate: metric, margin, confidence and the least number of users.
        seed: of the bootstrap.
        groups: user_id, and a String column for each attribute, one row a user; None: there are no
            attributes of users.

    Returns:
        A row a group: {"kind": "activity", "items" or the attribute, "group", "metric", "n_users",
        "candidate_mean", "comparator_mean", "difference", "ci_low", "ci_high", "verdict"}. The
        interval is that of a single group; the verdict is "lost", "held" (a loss beyond the margin
        is ruled out), "open" (neither is shown) or "few" (fewer than min_users: not judged). For
        groups of items the metric is the recall of the targets among them.
    """
    margin = gate.non_inferiority_margin
    found = list(_groups(paired, candidate, gate.metric, groups))

    def difference(group: _Group, divided: int = 1) -> Difference:
        return paired.difference(
            candidate,
            comparator,
            group.metric,
            group.slice_name,
            members=group.members,
            confidence=1 - (1 - gate.confidence) / divided,
            samples=gate.bootstrap_samples * divided,
            seed=seed,
        )

    single = {group.key: difference(group) for group in found}
    judged = {group.key: group for group in found if single[group.key].n_users >= gate.min_users}
    suspects = {key for key in judged if _lost(single[key], margin)}  # no wider interval loses more

    def lost(key: str, divided: int) -> bool:
        return key in suspects and _lost(difference(judged[key], divided), margin)

    divided = holm(list(judged), lost) if suspects else {}
    rows = []
    for group in found:
        verdict = FEW
        if group.key in judged:
            held = _held(single[group.key], margin)
            verdict = LOST if lost(group.key, divided.get(group.key, 1)) else HELD if held else OPEN
        rows.append(
            {"kind": group.kind, "group": group.name, "metric": group.metric}
            | asdict(single[group.key])
            | {"verdict": verdict}
        )
    return rows


def _groups(
    paired: Paired, candidate: str, metric: str, groups: pl.DataFrame | None
) -> Iterator[_Group]:
    cutoff = metric.partition("@")[2]
    for name in SLICES:
        if len(paired.values(candidate, metric, name).users):
            yield _Group(ACTIVITY, name, metric, name)
    for tier in ITEM_GROUPS:
        recall = f"recall_{tier}@{cutoff}"
        if paired.measured(recall) and len(paired.values(candidate, recall).users):
            yield _Group(ITEMS, tier, recall)
    if groups is None:
        return
    users = pl.DataFrame(
        {C.USER: paired.values(candidate, metric).users.tolist()}, schema={C.USER: pl.String}
    )
    attributes = users.join(groups, on=C.USER, how="left", maintain_order="left")
    for attribute in (name for name in groups.columns if name != C.USER):
        for value in attributes[attribute].drop_nulls().unique().sort():
            members = (attributes[attribute] == value).fill_null(False).to_numpy()
            yield _Group(attribute, str(value), metric, members=members)


def _lost(found: Difference, margin: float) -> bool:
    if found.ci_high is None or found.comparator_mean is None:
        return False
    return found.ci_high < -margin * found.comparator_mean


def _held(found: Difference, margin: float) -> bool:
    if found.ci_low is None or found.comparator_mean is None:
        return False
    return found.ci_low >= -margin * found.comparator_mean
