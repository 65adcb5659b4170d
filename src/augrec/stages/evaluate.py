"""Rank the full catalogue for every case and keep each user's metrics, for every repetition of the
arm's training."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from augrec.audit.config import AuditConfig
from augrec.audit.recommender_attack import attack_recommender
from augrec.core.config import parse, read_params
from augrec.core.files import digest, whole_directory, write_json, write_parquet
from augrec.core.seeds import derive
from augrec.data.columns import Columns as C
from augrec.data.outcomes import events_before
from augrec.data.ranking import RankingMetric, familiar_items
from augrec.data.split import TEST, VALID
from augrec.evaluation.config import EvaluationConfig
from augrec.evaluation.heads import evaluate_heads
from augrec.evaluation.item_statistics import ItemStatistics, catalogue_metrics, exposure
from augrec.evaluation.metrics import per_case, rank_cases
from augrec.evaluation.repetitions import REPETITION, mean_of
from augrec.evaluation.user_means import by_group, by_time, summarise
from augrec.recommenders._heads import HasHeads
from augrec.recommenders._taste.tastes import Tastes
from augrec.recommenders.base import Recommender, load
from augrec.stages import _left_out, _repetitions, _tastes
from augrec.stages._inputs import (
    TRAINING_SET,
    begin_of,
    read_table,
    read_training_interactions,
)
from augrec.stages.runner import run

_log = logging.getLogger(__name__)
_LOGGED = ("ndcg@10", "recall@10", "recall@20")


@dataclass(frozen=True)
class _Evaluation:
    """What every model of a run is evaluated with."""

    config: EvaluationConfig
    cases: Mapping[str, pl.DataFrame]
    train: pl.DataFrame
    items: pl.DataFrame
    metric: RankingMetric
    tastes: Tastes | None
    seed: int

    def of(self, model: Recommender) -> tuple[ItemStatistics, np.ndarray | None]:
        """Statistics of the model's items, and which of them are ranked; None: all."""
        return ItemStatistics.of(model.items, self.train, self.items), self.metric.among(
            model.items
        )


def main(recommender: str, policy: str) -> None:
    """Write reports/evaluation/<recommender>/<policy>: per_user.parquet and metrics.json;
    heads.parquet if it has heads.

    metrics.json holds what the arm reaches: means over all of its trainings; predictions of events
    are of the model that may be promoted. per_user.parquet is of that model. Its further
    repetitions are in repetitions.parquet, which has the columns of per_user.parquet and
    `repetition`, from 1 on; without further repetitions it has no rows. membership.json tells how
    well the scores of that model distinguish its training users from validation users, see
    `augrec.audit.recommender_attack`; null: too few users to tell.
    """
    saved = Path("models/recommenders") / recommender / policy
    target = Path("reports/evaluation") / recommender / policy
    if _left_out.passed_on(_left_out.read(saved), target):
        return
    evaluation = _evaluation()
    metrics: dict[str, dict[str, Any]] = {split: {} for split in evaluation.cases}
    tables: list[list[pl.DataFrame]] = []
    lists: list[dict[str, dict[str, Any]]] = []
    of_heads: list[pl.DataFrame] = []
    attacked: dict[str, Any] | None = None
    for path in (saved, *_repetitions.models(recommender, policy)):
        model = load(path)
        measured = {name: _measure(model, name, evaluation) for name in evaluation.cases}
        tables.append([table for table, _ in measured.values()])
        lists.append({name: facts for name, (_, facts) in measured.items()})
        if path == saved:
            attacked = _attack(model, evaluation.cases[VALID])
        if path == saved and isinstance(model, HasHeads):
            for split, cases in evaluation.cases.items():
                events = _events(split, evaluation.cases[TEST])
                rows, found = evaluate_heads(model, cases, events, evaluation.seed)
                metrics[split]["heads"] = found
                of_heads.append(rows.select(pl.lit(split).alias("split"), pl.all()))
    for place, split in enumerate(evaluation.cases):
        mean = mean_of([several[place] for several in tables])
        metrics[split] = (
            {"cases": digest(TRAINING_SET, f"cases_{split}.parquet")}
            | _summary(mean, split, evaluation)
            | _mean_of_leaves([facts[split] for facts in lists])
            | metrics[split]
        )
        overall = metrics[split]["overall"]
        shown = "  ".join(f"{name} {overall[name]:.4f}" for name in _LOGGED if name in overall)
        _log.info("%s: %s cases, all users: %s", split, f"{len(mean):,}", shown)
    own, *further = [pl.concat(several) for several in tables]
    numbered = [
        table.insert_column(
            0, pl.repeat(number, len(table), dtype=pl.Int32, eager=True).alias(REPETITION)
        )
        for number, table in enumerate(further, start=1)
    ]
    nothing = own.clear().insert_column(0, pl.Series(REPETITION, [], pl.Int32))
    with whole_directory(target) as draft:
        write_parquet(draft / "per_user.parquet", own)
        write_parquet(draft / "repetitions.parquet", pl.concat([nothing, *numbered]))
        if of_heads:
            write_parquet(draft / "heads.parquet", pl.concat(of_heads))
        write_json(draft / "metrics.json", metrics)
        write_json(draft / "membership.json", attacked)


def _evaluation() -> _Evaluation:
    params = read_params()
    return _Evaluation(
        config=parse(EvaluationConfig, params["evaluation"], "evaluation"),
        cases={
            split: read_table(TRAINING_SET / f"cases_{split}.parquet", "training_set")
            for split in (VALID, TEST)
        },
        # real rows: the same for every policy
        train=pl.read_parquet("data/prepared/train.parquet", columns=[C.USER, C.ITEM]),
        items=pl.read_parquet("data/prepared/items.parquet"),
        metric=RankingMetric(familiar=familiar_items(Path("data/prepared"))),
        tastes=_tastes.read(),
        seed=params["seed"],
    )


def _attack(model: Recommender, valid: pl.DataFrame) -> dict[str, Any] | None:
    """Training users against users of validation cases who are none, by the longest history that a
    case of theirs has."""
    params = read_params()
    config = parse(AuditConfig, params.get("audit") or {}, "audit")
    members = read_training_interactions()
    longest = valid.sort(pl.col("history").list.len(), C.USER, maintain_order=True)
    others = (
        longest.unique(C.USER, keep="last", maintain_order=True)
        .join(members.select(C.USER).unique(), on=C.USER, how="anti")
        .select(C.USER, pl.col("history").alias(C.ITEM))
        .explode(C.ITEM)
        .drop_nulls()
    )
    seed = derive(params["seed"], "membership")
    found = attack_recommender(model, members, others, config, seed)
    return None if found is None else found.as_json()


def _events(split: str, test: pl.DataFrame) -> pl.DataFrame:
    """The events of a split's targets; for validation only those before test."""
    events = read_table(Path("data/prepared/events.parquet"), "prepare")
    if split == TEST:
        return events
    return events_before(events, begin_of(TEST), test)


def _measure(
    model: Recommender, split: str, evaluation: _Evaluation
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """The metrics of each case of a split, and those of its lists as a whole."""
    cases, cutoffs = evaluation.cases[split], evaluation.config.cutoffs
    statistics, among = evaluation.of(model)
    ranked = rank_cases(model, cases, max(cutoffs), among=among)
    measured = per_case(ranked, cases, model, cutoffs, statistics)
    return measured.select(pl.lit(split).alias("split"), pl.all()), {
        "catalogue": catalogue_metrics(ranked, len(model.items), cutoffs),
        "items": exposure(ranked, cases["targets"], statistics, cutoffs),
    }


def _summary(measured: pl.DataFrame, split: str, evaluation: _Evaluation) -> dict[str, Any]:
    """Means over users, of all and of each group, those of the same taste among them. The gate
    compares groups by the attributes that users came with alone, see the stage `decide`."""
    config = evaluation.config
    cases = _tastes.with_groups(evaluation.cases[split], evaluation.tastes)
    return {
        **summarise(measured),
        "groups": by_group(
            measured, cases, max_groups=config.max_groups, min_users=config.min_group_users
        ),
        "time": by_time(measured, cases),
    }


def _mean_of_leaves(several: Sequence[Any]) -> Any:
    """Nested numbers of several trainings as their means; what is the same in all stays as it
    is."""
    first = several[0]
    if isinstance(first, Mapping):
        return {key: _mean_of_leaves([one[key] for one in several if key in one]) for key in first}
    if all(one == first for one in several):
        return first
    return float(np.mean([one for one in several if one is not None]))


if __name__ == "__main__":
    run(main)
