"""What the defaults of each recommender reach, as a share of what a search finds on the same data.

    python -m benchmarks.defaults ml-100k=movielens-100k:FOLDER \\
        movietweetings=movietweetings:FOLDER mt-recent=movietweetings:FOLDER:recent \\
        mt-dense=movietweetings:FOLDER:dense completejourney=completejourney:FOLDER \\
        tiny sparse dense long_tail many_users --trials 40

A search begins at the default and chooses on validation users; both are then measured on test
users. Rules with a fitted factor are also measured at multiples of it: the table says which factor
the other data sets would choose for each, and what it reaches there. Results are kept cell by cell
in benchmarks/results/defaults.json, so that a run in parts adds to the same table; defaults.md is
made from all of them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np

from augrec.core.config import parse
from augrec.core.files import read_json, write_json
from augrec.core.seeds import derive
from augrec.data.split import Split
from augrec.data.training_data import TrainingData
from augrec.evaluation.metrics import evaluate
from augrec.evaluation.user_means import user_values
from augrec.recommenders.base import Recommender, find
from augrec.tuning.config import Dimension, TuningConfig, space_of
from augrec.tuning.search import search
from benchmarks import tables
from benchmarks.default_sets import PROTOCOLS, SIMULATED, cells

RECOMMENDERS: Final = (
    "popularity",
    "item_knn",
    "ease",
    "ials",
    "bpr",
    "multvae",
    "recvae",
    "cfgan",
    "mmoe",
    "sasrec",
    "gru4rec",
)
FITTED: Final = {"item_knn": "shrinkage", "ease": "l2", "ials": "regularisation"}
"""Recommender -> its setting whose rule has a fitted factor."""
MULTIPLES: Final = (0.25, 0.5, 0.7, 1.0, 1.4, 2.0, 4.0)
GAINS: Final = (
    *("recommender", "cells", "valid: mean", "median", "test: mean", "median"),
    *("cells better on test", "worse"),
)
METRIC: Final = "ndcg@10"
_SEED = 1


def measure(model: Recommender, parts: Split) -> tuple[float, float]:
    """The mean over users on validation and on test."""
    return tuple(  # type: ignore[return-value]
        float(user_values(evaluate(model, cases, [10]), METRIC)["value"].to_numpy().mean())
        for cases in (parts.cases_valid, parts.cases_test)
    )


def compare(name: str, parts: Split, trials: int) -> dict[str, Any]:
    """One recommender on one data set: its defaults, the search, multiples of a fitted factor."""
    kind, data = find(name), TrainingData(parts.train, cases=parts.cases_valid)
    settled = kind()
    settled.settle(data.shape)
    started = time.process_time()

    def fit(values: Mapping[str, Any], log: Any) -> Recommender:
        config = settled.config.model_copy(update=dict(values))
        given = TrainingData(parts.train, cases=parts.cases_valid, log=log)
        return kind(config, seed=derive(_SEED, name)).fit(given)

    default = measure(fit({}, lambda row: None), parts)
    seconds = time.process_time() - started
    config = parse(TuningConfig, {"trials": trials}, "tuning")
    space = space_of(config, kind)
    start = {key: _within(one, getattr(settled.config, key)) for key, one in space.items()}
    found = search(fit, lambda model: measure(model, parts)[0], space, [start], config, seed=_SEED)
    best = measure(found.model, parts)
    result: dict[str, Any] = {
        "trials": trials,
        "seconds": seconds,
        "default": default,
        "best": max(default, best),
        "found": found.best.parameters,
    }
    if key := FITTED.get(name):
        own = getattr(settled.config, key)
        result["multiples"] = [
            measure(fit({key: own * by}, lambda row: None), parts) for by in MULTIPLES
        ]
    return result


def _within(one: Dimension, value: Any) -> Any:
    if one.range is None:
        return value if one.holds(value) else one.choices[0]
    return min(max(value, one.range.low), one.range.high)


def shares(result: Mapping[str, Any]) -> tuple[float, float]:
    """What the defaults reach of what the search found, on validation and on test."""
    pairs = zip(result["default"], result["best"], strict=True)
    return tuple(own / max(best, 1e-9) for own, best in pairs)


def gained(of_cells: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the search's choice gains over the defaults, in percent: mean and median over cells on
    validation users, who chose, and on test users; and in how many cells it gains or loses there
    more than a thousandth."""
    default, best = (
        np.array([one[side] for one in of_cells]) for side in ("default", "best")
    )  # (cells, 2) each: validation, test
    gains = 100 * (best / np.maximum(default, 1e-9) - 1)
    words = [f"{middle(gains[:, side]):+.1f}" for side in (0, 1) for middle in (np.mean, np.median)]
    return [*words, str((gains[:, 1] > 0.1).sum()), str((gains[:, 1] < -0.1).sum())]


def transferred(results: Mapping[str, Any], name: str) -> list[tuple[str, float, float]]:
    """For each data set the multiple of the rule that is best on the others, and what it reaches
    there on test, as a share of the best found by the search."""
    of_sets: dict[str, list[Mapping[str, Any]]] = {}
    for key, result in results.items():
        if key.split("|")[2] == name and "multiples" in result:
            of_sets.setdefault(key.split("|")[0], []).append(result)
    found = []
    for left_out, cells_of_it in of_sets.items():
        others = [one for key, many in of_sets.items() if key != left_out for one in many]
        if not others:
            continue
        valid = np.array([[value for value, _ in one["multiples"]] for one in others])
        chosen = int((valid / valid.max(1, keepdims=True)).mean(0).argmax())
        reached = [one["multiples"][chosen][1] / one["best"][1] for one in cells_of_it]
        found.append((left_out, MULTIPLES[chosen], float(np.mean(reached))))
    return found


def report(results: Mapping[str, Any]) -> list[str]:
    """The parts of defaults.md."""
    rows, summary, factors, gains = [], [], [], []
    names = [name for name in RECOMMENDERS if any(key.endswith(f"|{name}") for key in results)]
    for name in names:
        own = {key: one for key, one in results.items() if key.endswith(f"|{name}")}
        valid, test = zip(*(shares(one) for one in own.values()), strict=True)
        cell = [
            f"{100 * value:.1f}" for side in (valid, test) for value in (min(side), median(side))
        ]
        summary.append([name, str(len(own)), *cell])
        gains.append([name, str(len(own)), *gained(list(own.values()))])
        for key, one in own.items():
            data, protocol, _ = key.split("|")
            numbers = [f"{value:.4f}" for side in ("default", "best") for value in one[side]]
            found = [f"{100 * value:.1f}" for value in shares(one)]
            cost = [str(one["trials"]), f"{one['seconds']:.1f}"]
            rows.append([name, data, protocol, *numbers, *found, *cost])
        if name in FITTED:
            for left_out, by, reached in transferred(own, name):
                factors.append([name, left_out, f"{by:g}", f"{100 * reached:.1f}"])
    return [
        "Quality at the defaults as a share, in percent, of the best that a search found. The "
        "search begins at the defaults and chooses on validation users, so their share there is "
        f"at most 100; on test users it need not be. {METRIC}, mean over users.",
        tables.markdown(
            ["recommender", "cells", "valid: least", "median", "test: least", "median"], summary
        ),
        "## What a search gains\n\nIts choice over the defaults, in percent. Validation users "
        "chose, so there it cannot lose. It costs as many trainings as trials.",
        tables.markdown(GAINS, gains),
        "## The fitted factor, each data set left out\n\nThe multiple of the rule's factor that "
        "is best on all other sets, and the share of the best that it reaches on the test users "
        "of the one left out, which took no part.",
        tables.markdown(["recommender", "left out", "multiple", "share on test"], factors),
        "## All cells",
        tables.markdown(
            [
                "recommender",
                "data",
                "protocol",
                "default: valid",
                "test",
                "best: valid",
                "test",
                "share: valid",
                "test",
                "trials",
                "CPU s",
            ],
            rows,
        ),
    ]


def main() -> None:
    """Measure the cells asked for; results are kept after each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="*", help="name=layout:folder, or a simulated shop's name")
    parser.add_argument("--recommenders", nargs="*", default=RECOMMENDERS, choices=RECOMMENDERS)
    parser.add_argument("--protocols", nargs="*", default=PROTOCOLS, choices=PROTOCOLS)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--out", type=Path, default=tables.RESULTS / "defaults.json")
    parser.add_argument("--again", action="store_true", help="measure also what was measured")
    words = parser.parse_args()
    results: dict[str, Any] = read_json(words.out) if words.out.exists() else {}
    for word in words.data:
        name, _, spec = word.partition("=")
        if not spec and name not in SIMULATED:
            parser.error(f"{name}: give name=layout:folder, or one of {', '.join(SIMULATED)}")
        for protocol in words.protocols:
            wanted = [f"{name}|{protocol}|{one}" for one in words.recommenders]
            wanted = [key for key in wanted if words.again or key not in results]
            parts = cells(name, spec or None, protocol) if wanted else None
            for key in wanted:
                assert parts is not None
                results[key] = compare(key.split("|")[2], parts, words.trials)
                percent = [round(100 * share, 1) for share in shares(results[key])]
                print(key, percent, results[key]["found"], flush=True)
                write_json(words.out, results)
    tables.write(
        words.out.stem,
        "Defaults beside a search",
        report(results),
        tables.command_line("benchmarks.defaults"),
        tables.own_versions(),
    )


if __name__ == "__main__":
    main()
