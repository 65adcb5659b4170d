"""augrec's recommenders compared with those of other libraries: quality, training time and memory,
in one run.

    python -m benchmarks.environments                                  # once
    python -m benchmarks.peers random movielens_100k FOLDER            # CFGAN's protocol
    python -m benchmarks.peers time movietweetings FOLDER
    python -m benchmarks.peers random movielens_100k FOLDER --defaults # every library as it comes

Every library trains in a separate process and environment, on the same rows and with the same
number of threads, after a tiny fit, so that loading and compiling is not counted. In each round
they take turns. augrec.evaluation measures all lists."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from augrec.evaluation.bootstrap import paired_difference
from augrec.evaluation.user_means import summarise
from benchmarks import tables
from benchmarks.data import SPLITS
from benchmarks.environments import ENVIRONMENTS, WHERE, requirements
from benchmarks.measure import Machine, quality, train
from benchmarks.settings import ENTRIES, Entry, at_defaults

SHOWN = {
    "random": ("precision@5", "precision@20", "recall@20", "ndcg@20"),
    "time": ("recall@20", "ndcg@20", "ndcg@10"),
}
"""The last is the one compared."""
FACTS = {"seconds": 2, "cpu_seconds": 2, "rank_seconds": 2, "peak_mib": 0}
"""What is compared besides -> its digits."""
SLOW_S = 15
"""A training that takes longer is not repeated, nor is one that failed."""
LIBRARIES = ("implicit", "lenskit", "rectools", "cornac", "recbole")


@dataclass(frozen=True)
class Outcome:
    """One library's model: the metrics of the last round, and the facts of all."""

    library: str
    measured: pl.DataFrame
    rounds: list[dict[str, float]]

    def median(self, fact: str) -> float:
        return statistics.median(facts[fact] for facts in self.rounds)


def main() -> None:
    given = _arguments()
    split = given.where / f"{given.split}-{given.folder.name}"
    SPLITS[given.split](given.layout, given.folder, split, given.seed)
    sections = []
    for model in given.models or ENTRIES[given.split]:
        entries = ENTRIES[given.split][model]
        chosen = [
            entry
            for entry in (at_defaults(model, entries) if given.defaults else entries)
            if entry[0] in ("augrec", *(given.libraries or LIBRARIES))
        ]
        outcomes = list(_outcomes(model, chosen, split, given))
        sections.append(_table(model, outcomes, SHOWN[given.split], given.seed))
        print(sections[-1], flush=True)
    pins = [
        line for name in ENVIRONMENTS for line in requirements(name) if line.startswith(LIBRARIES)
    ]
    tables.write(
        "-".join(
            [
                *("peers", given.split, given.folder.name),
                *(["defaults"] if given.defaults else []),
                *given.models,
            ]
        ),
        f"Compared with peers: {given.folder.name}, {given.split} split"
        + (", every library at its own defaults" if given.defaults else ""),
        [_facts(split, given), *sections],
        tables.command_line("benchmarks.peers"),
        tables.own_versions() | dict(line.split("==") for line in pins),
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("split", choices=sorted(SPLITS))
    parser.add_argument(
        "layout", help="of the raw data, e.g. movielens_100k, recbole, movietweetings"
    )
    parser.add_argument("folder", type=Path, help="the folder of the raw data")
    parser.add_argument("--models", nargs="+", default=[], help="only these")
    parser.add_argument("--libraries", nargs="+", default=[], help="only these and augrec")
    parser.add_argument("--defaults", action="store_true", help="every library at its own")
    parser.add_argument("--threads", type=int, default=1, help="for every library")
    parser.add_argument(
        "--rounds", type=int, default=3, help="the median of this number is reported"
    )
    parser.add_argument("--seed", type=int, default=20260)
    parser.add_argument(
        "--where", type=Path, default=WHERE, help="holds the environments and the split"
    )
    return parser.parse_args()


def _outcomes(
    model: str, entries: Sequence[Entry], split: Path, given: argparse.Namespace
) -> Iterator[Outcome]:
    """Of the libraries that did not fail, augrec first."""
    machine = Machine(given.where, given.threads)
    rounds: dict[str, list[dict[str, float]]] = {library: [] for library, _, _ in entries}
    going = list(entries)
    for turn in range(given.rounds):
        for library, environment, settings in list(going):
            found = train(library, environment, model, settings, split, machine, given.seed + turn)
            rounds[library] += [found] if found else []
            if found is None or found["seconds"] > SLOW_S:
                going.remove((library, environment, settings))
    for library, facts in rounds.items():
        if facts:
            yield Outcome(library, quality(library, model, split), facts)


def _table(model: str, outcomes: Sequence[Outcome], shown: Sequence[str], seed: int) -> str:
    ours, rows = outcomes[0], []
    for one in outcomes:
        overall = summarise(one.measured)["overall"]
        cells = [one.library, *(f"{overall[name]:.4f}" for name in shown)]
        cells.append("" if one is ours else _difference(ours, one, shown[-1], seed))
        for fact, digits in (
            ("seconds", 2),
            ("cpu_seconds", 2),
            ("rank_seconds", 2),
            ("peak_mib", 0),
        ):
            cells.append(f"{one.median(fact):.{digits}f}")
            cells.append(f"{one.median(fact) / ours.median(fact):.1f}×")
        rows.append(
            [*cells, f"{one.median('grown_mib'):.0f}", f"{one.median('index_seconds'):.2f}"]
        )
    times = (
        "seconds",
        "",
        "CPU seconds",
        "",
        "seconds of ranking",
        "",
        "peak MiB",
        "",
        "MiB of training",
        "seconds of indexing",
    )
    return tables.markdown([f"**{model}**", *shown, f"augrec's gain in {shown[-1]}", *times], rows)


def _difference(ours: Outcome, theirs: Outcome, metric: str, seed: int) -> str:
    found = paired_difference(
        ours.measured, theirs.measured, metric, confidence=0.95, samples=2000, seed=seed
    )
    return f"{found.difference:+.4f} [{found.ci_low:+.4f}, {found.ci_high:+.4f}]"


def _facts(split: Path, given: argparse.Namespace) -> str:
    rows, cases = (pl.read_parquet(split / f"{name}.parquet") for name in ("train", "cases"))
    return (
        f"{len(rows):,} training rows of {rows['user_id'].n_unique():,} users and "
        f"{rows['item_id'].n_unique():,} items; {len(cases):,} users, ranked over the full "
        f"catalogue. Times and memory are the median of {given.rounds} rounds in which the "
        f"libraries took turns (of one round where training took more than {SLOW_S} s), with "
        f"{given.threads} thread(s) each, and, with ×, a multiple of augrec's. Training starts "
        "when a library's own data object is ready; the last column is the time to build it: "
        "from the table of ids for augrec, from positions for a peer, through a file for "
        "RecBole. Peak memory is that of the whole process, imports included; MiB of training is "
        "what training added, for augrec with indexing. Gains in brackets: 95 % paired bootstrap "
        "over users."
    )


if __name__ == "__main__":
    main()
