"""What the map says beforehand: how often the gate's rules accept generated users on data of a
size, held against samples left out; it writes src/augrec/evaluation/acceptance.json.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy.optimize import nnls
from scipy.stats import norm

from augrec.core.data_shape import DataShape
from augrec.core.files import write_text
from augrec.data.columns import Columns as C
from augrec.evaluation.acceptance import Sample, compare
from augrec.evaluation.multiple import holm
from augrec.generators import base as generators
from benchmarks import tables
from benchmarks._map_arms import GENERATED, PLACEBO, REAL

TABLE = Path(__file__).parents[1] / "src/augrec/evaluation/acceptance.json"
WEIGHTS = (0.03, 0.1, 0.3, 1.0)
"""Of a sample of another size."""
KEYS = ["arm", "amount"]
NOTE = """\
*Accepted*: in a draw, for at least one of the recommenders, the generated arm that validation users
prefer is better for test users than real data alone and than every placebo at every amount: the
gate's intervals, 95 % divided by Holm over the recommenders (the audit, which can refuse more, took
no part). *Placebos by the same rules*: the same asked of the placebo that validation users prefer,
against real data and the other placebos. *Expected*: the mean chance by the samples of all other
sources; those of another size (users, items or rows per user beyond a factor of 3) count at a
weight. *Loss*: mean logarithmic loss of these chances; *at weight 1*, of the share over all
samples."""


@dataclass(frozen=True)
class Draw:
    """A draw of a cell and what became of it.

    Attributes:
        name: of the cell, with the draw's number.
        source: of its data.
        sample: its size, and whether generated users were accepted.
        placebo: whether a placebo would have been.
    """

    name: str
    source: str
    sample: Sample
    placebo: bool

    @property
    def row(self) -> list[Any]:
        """Of acceptance.json."""
        one = self.sample
        return [self.name, one.users, one.items, one.interactions, one.accepted]


def drawn(about: dict[str, Any], ndcg: pl.DataFrame) -> Draw:
    """What the gate's rules say of a draw's stored numbers."""
    shape = about["shape"]
    source = "mixed shops" if about["cell"].startswith("mixed") else about["source"]
    size = shape["n_users"], shape["n_items"], shape["n_interactions"]
    sample = Sample(*size, _accepted(ndcg, GENERATED))
    source = {"shop": "shops, an axis at a time"}.get(source, source)
    name = f"{about['cell']}.{about['draw']}"
    return Draw(name, source, sample, _accepted(ndcg, PLACEBO))


def _accepted(ndcg: pl.DataFrame, kind: str) -> bool:
    names = ndcg["recommender"].unique().sort().to_list()
    tables_ = {name: ndcg.filter(pl.col("recommender") == name) for name in names}
    divided = holm(names, lambda name, tests: _passes(tables_[name], kind, tests))
    return any(_passes(tables_[name], kind, tests) for name, tests in divided.items())


def _passes(ndcg: pl.DataFrame, kind: str, tests: int) -> bool:
    """Whether the preferred arm of a kind beats real data and every placebo of another name."""
    ours = ndcg.filter(pl.col("kind") == kind)
    if ours.is_empty():
        return False
    arm, amount = ours.sort("valid", descending=True, maintain_order=True).select(KEYS).row(0)
    chosen = _values(ours.filter((pl.col("arm") == arm) & (pl.col("amount") == amount)))
    others = ndcg.filter(pl.col("kind").is_in([REAL, PLACEBO]) & (pl.col("arm") != arm))
    z = float(norm.ppf(1 - 0.025 / tests))
    for _, rival in others.group_by(KEYS, maintain_order=True):
        difference = chosen - _values(rival)
        if difference.mean() <= z * difference.std(ddof=1) / np.sqrt(len(difference)):
            return False
    return True


def _values(rows: pl.DataFrame) -> np.ndarray:
    return rows.sort(C.USER)["ndcg"].to_numpy()


def parts(draws: list[Draw], abouts: Iterable[dict[str, Any]], command: str) -> list[str]:
    """The section of the map's page; acceptance.json is written too."""
    losses = {weight: _loss(draws, weight) for weight in WEIGHTS}
    weight = min(losses, key=lambda one: losses[one])
    found = {
        "made_by": command,
        "table": "benchmarks/results/where-it-helps.md",
        "others": weight,
        "seconds": _seconds(list(abouts)),
        "samples": [one.row for one in draws],
    }
    write_text(TABLE, _lines(found))
    rows = [
        [
            source,
            str(len(here)),
            str(sum(one.sample.accepted for one in here)),
            str(sum(one.placebo for one in here)),
            f"{np.mean([_expected(one, draws, weight) for one in here]):.3f}",
            f"{np.mean([_log_loss(one, draws, weight) for one in here]):.3f}",
            f"{np.mean([_log_loss(one, draws, WEIGHTS[-1]) for one in here]):.3f}",
        ]
        for source, here in _by_source(draws)
    ]
    header = ["left out", "draws", "accepted", "placebos by the same rules", "expected", "loss"]
    lines = ", ".join(f"{losses[one]:.4f} at {one:g}" for one in WEIGHTS)
    return [
        "## What it says beforehand",
        tables.markdown([*header, "at weight 1"], rows),
        f"Mean loss by the weight of samples of another size: {lines}. Taken: {weight:g}.",
        " ".join(NOTE.split()),
    ]


def _lines(found: dict[str, Any]) -> str:
    """JSON with a line for each sample."""
    each = ",\n".join(f"    {json.dumps(row)}" for row in found["samples"])
    head = json.dumps({**found, "samples": []}, indent=2)
    return head.replace('"samples": []', f'"samples": [\n{each}\n  ]') + "\n"


def _by_source(draws: list[Draw]) -> Iterator[tuple[str, list[Draw]]]:
    for source in dict.fromkeys(one.source for one in draws):
        yield source, [one for one in draws if one.source == source]


def _expected(one: Draw, draws: list[Draw], weight: float) -> float:
    """The chance by the samples of the other sources."""
    others = [other.sample for other in draws if other.source != one.source]
    size = one.sample.users, one.sample.items, one.sample.interactions
    return compare(others, *size, weight).chance


def _log_loss(one: Draw, draws: list[Draw], weight: float) -> float:
    chance = _expected(one, draws, weight)
    return -float(np.log(chance if one.sample.accepted else 1 - chance))


def _loss(draws: list[Draw], weight: float) -> float:
    return float(np.mean([_log_loss(one, draws, weight) for one in draws]))


def _seconds(abouts: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Generator -> CPU seconds of a step, and of a step for each item: non-negative least
    squares over the draws."""
    found = {}
    for name in sorted({name for about in abouts for name in about["seconds"]}):
        here = [about for about in abouts if name in about["seconds"]]
        steps = np.array([_steps(name, about["shape"]) for about in here])
        items = np.array([about["shape"]["n_items"] for about in here])
        took = np.array([about["seconds"][name] for about in here])
        each, _ = nnls(np.stack([steps, steps * items], 1), took)
        found[name] = {"step": round(float(each[0]), 6), "step_item": round(float(each[1]), 9)}
    return found


def _steps(name: str, shape: dict[str, Any]) -> int:
    generator = generators.find(name)({})
    generator.settle(DataShape(**shape))
    return int(generator.config.steps)
