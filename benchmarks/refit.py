"""What training the winner once more on all interactions is worth.

    python -m benchmarks.refit ml-100k=movielens-100k:FOLDER \\
        mt-recent=movietweetings:FOLDER:recent completejourney=completejourney:FOLDER sparse dense

Time is cut twice, as in a run. The measured model learns from training users before validation, and
validation users decide when its training ends. The other one takes that over and learns from
everything before the test period, as the stage `refit` does on the last day of the data. Both are
measured on the same test users, whose histories both are given.
"""

from __future__ import annotations

import argparse
from typing import Any, Final

import polars as pl

from augrec.core.seeds import derive
from augrec.data.columns import Columns as C
from augrec.data.config import SplitConfig
from augrec.data.split import split
from augrec.data.training_data import TrainingData
from augrec.evaluation.bootstrap import paired_difference
from augrec.evaluation.metrics import evaluate
from augrec.recommenders.base import find
from benchmarks import tables
from benchmarks.default_sets import SHOPS, interactions

RECOMMENDERS: Final = ("popularity", "item_knn", "ease", "ials", "multvae", "sasrec")
METRIC: Final = "ndcg@10"
_SEED, _MAX_CASES = 1, 2_000


def compare(rows: pl.DataFrame, name: str) -> dict[str, Any]:
    """One recommender: numbers of interactions, both values and their difference over users."""
    parts = split(rows, SplitConfig(), _SEED)
    cases = parts.cases_test.gather_every(max(1, -(-len(parts.cases_test) // _MAX_CASES)))
    valid = parts.cases_valid.gather_every(max(1, -(-len(parts.cases_valid) // _MAX_CASES)))
    before = rows.filter(pl.col(C.TIMESTAMP) < parts.test_from)
    kind, seed = find(name), derive(_SEED, name)
    measured = kind({}, seed=seed).fit(TrainingData(parts.train, cases=valid))
    refit = kind({}, seed=seed).fit(TrainingData(before, cases=valid, decided=measured))
    theirs, ours = (evaluate(model, cases, [10]) for model in (measured, refit))
    found = paired_difference(ours, theirs, METRIC, confidence=0.95, samples=2_000, seed=_SEED)
    known = [
        cases.explode("targets")["targets"].is_in(model.items.ids.tolist()).mean()
        for model in (measured, refit)
    ]
    return {"rows": (len(parts.train), len(before)), "found": found, "known": known}


def main() -> None:
    """Print and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="+", help="name=layout:folder, or a simulated shop's name")
    parser.add_argument("--recommenders", nargs="*", default=RECOMMENDERS)
    words = parser.parse_args()
    table = []
    for word in words.data:
        data, _, spec = word.partition("=")
        if not spec and data not in SHOPS:
            parser.error(f"{data}: give name=layout:folder, or one of {', '.join(SHOPS)}")
        rows = interactions(data, spec or None)
        for name in words.recommenders:
            one = compare(rows, name)
            found = one["found"]
            table.append(
                [
                    data,
                    name,
                    *(f"{n:,}" for n in one["rows"]),
                    *(f"{100 * share:.0f}" for share in one["known"]),
                    f"{found.comparator_mean:.4f}",
                    f"{found.candidate_mean:.4f}",
                    tables.gain(found.difference, found.ci_low, found.ci_high),
                ]
            )
            print(*table[-1], flush=True)
    tables.write(
        "refit",
        "The winner trained once more on all interactions",
        [
            f"{METRIC} on test users; the gain is a mean over users with its 95 % interval. Known: "
            "the percentage of what test users want that is in the model's catalogue.",
            tables.markdown(
                [
                    "data",
                    "recommender",
                    "measured: rows",
                    "refit: rows",
                    "measured: known",
                    "refit: known",
                    "measured",
                    "refit",
                    "gain",
                ],
                table,
            ),
        ],
        tables.command_line("benchmarks.refit"),
        tables.own_versions(),
    )


if __name__ == "__main__":
    main()
