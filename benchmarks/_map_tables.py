"""The tables and the figure of the map, from what its cells left."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from augrec.core.files import read_json
from augrec.data.columns import Columns as C
from benchmarks import _map_advice, tables
from benchmarks._map_arms import GENERATED, PLACEBO, REAL, SMOOTHER

Z = 1.96
RECOMMENDERS = ("ease", "item_knn", "blend")
NOTE = """\
A row is a cell, a few draws of its training users. *Generated*: the generator and amount that
validation users prefer. In brackets the 95 % interval of the difference paired by test user, a
user's draws averaged first: it says how much other test users would change, not other training
users. Bold where it excludes 0. *Over placebo*: over the best of bootstrap, popularity-random,
crossover and noise at the same amount. *Over smoother*: over the best of users drawn from a
low-rank model at the same amount and pair counts shrunk towards popularity. Both are chosen on
validation users, as are l2 or shrinkage, popularity, the weight of added rows and the blend, for
each arm. Test users took part in no choice."""


@dataclass(frozen=True)
class Gain:
    """A mean difference between two arms over test users.

    Attributes:
        mean, low, high: with its 95 % interval.
    """

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, values: np.ndarray) -> Gain:
        half = Z * float(values.std(ddof=1)) / np.sqrt(len(values))
        return cls(float(values.mean()), float(values.mean()) - half, float(values.mean()) + half)

    @property
    def sign(self) -> int:
        return int(self.low > 0) - int(self.high < 0)

    def __str__(self) -> str:
        return tables.gain(self.mean, self.low, self.high)


@dataclass(frozen=True)
class Measured:
    """The draws of a cell.

    Attributes:
        name: of the cell.
        abouts: of its draws.
        draws: their tables user_id, recommender, arm, kind, amount, valid, ndcg.
    """

    name: str
    abouts: list[dict[str, Any]]
    draws: list[pl.DataFrame]

    @property
    def about(self) -> dict[str, Any]:
        """Of the first draw."""
        return self.abouts[0]

    def values(self, chosen: list[pl.DataFrame]) -> pl.DataFrame:
        """user, ndcg: the mean over draws; a shop's draws have different users."""
        shop = self.about["source"] == "shop"
        named = [
            one.select((pl.format("{}#{}", C.USER, pl.lit(n)) if shop else pl.col(C.USER)), "ndcg")
            for n, one in enumerate(chosen)
        ]
        keyed = [one.rename({one.columns[0]: "user"}) for one in named]
        return pl.concat(keyed).group_by("user").agg(pl.col("ndcg").mean()).sort("user")

    def gain(self, ours: pl.Expr, theirs: pl.Expr) -> Gain:
        """Of the arm that validation users prefer among `ours` over the one among `theirs`, chosen
        anew in each draw."""
        both = [
            self.values([_preferred(draw.filter(mask)) for draw in self.draws])["ndcg"].to_numpy()
            for mask in (ours, theirs)
        ]
        return Gain.of(both[0] - both[1])


def _preferred(rows: pl.DataFrame) -> pl.DataFrame:
    keys = ["recommender", "arm", "amount"]
    best = rows.sort("valid", descending=True, maintain_order=True).head(1)
    return rows.join(best.select(keys), on=keys, how="semi").sort(C.USER)


def write(out: Path, command: str) -> None:
    """results/where-it-helps.md and .svg."""
    found = list(_read(out))
    if not found:
        return
    parts = [
        f"{len(found)} cells, {sum(len(one.draws) for one in found)} draws, "
        f"{sum(len(one.draws[0][C.USER].unique()) for one in found):,} test users in the first "
        f"draws; NDCG@20, 5 known items. Generators: {_generators(found)}.",
        "## How often",
        _counts(found),
        "## The best model, generated data allowed, against the best without",
        _question(found),
    ]
    drawn = [
        _map_advice.drawn(about, ndcg)
        for cell in found
        for about, ndcg in zip(cell.abouts, cell.draws, strict=True)
    ]
    parts += _map_advice.parts(drawn, (about for one in found for about in one.abouts), command)
    for name in RECOMMENDERS:
        parts += [f"## {name}", _cells(found, name)]
    parts += [" ".join(NOTE.split()), "![Gains over the best placebo](where-it-helps.svg)"]
    figure(found, tables.RESULTS / "where-it-helps.svg")
    title = "Where generated users help"
    tables.write("where-it-helps", title, parts, command, tables.own_versions())


def mean_of_users(draws: list[pl.DataFrame], arm: str) -> np.ndarray:
    """An arm's NDCG for each test user, in the order of their ids, as the mean over draws of
    training users, float64 (n,)."""
    values = [one.filter(pl.col("arm") == arm).sort(C.USER)["ndcg"].to_numpy() for one in draws]
    return np.asarray(np.mean(values, axis=0))


def _read(out: Path) -> Iterator[Measured]:
    names = dict.fromkeys(path.name.rsplit(".", 2)[0] for path in sorted(out.glob("*.json")))
    for name in names:
        files = sorted(out.glob(f"{name}.[0-9]*.parquet"))
        abouts = [read_json(file.with_suffix(".json")) for file in files]
        yield Measured(name, abouts, [pl.read_parquet(file) for file in files])


def _generators(found: list[Measured]) -> str:
    """Each with the cells that it took part in."""
    cells: dict[str, list[str]] = {}
    for cell in found:
        names = pl.concat(cell.draws).filter(pl.col("kind") == GENERATED)["arm"].unique().sort()
        for name in names:
            cells.setdefault(name, []).append(cell.name)
    return "; ".join(
        f"{name} in {'all cells' if len(there) == len(found) else ', '.join(there)}"
        for name, there in sorted(cells.items())
    )


def _comparisons(cell: Measured, name: str, kind: str) -> Iterator[tuple[Gain, Gain, Gain]]:
    """For every arm of a kind: over none, over the best placebo (another one) at its amount, over
    the best smoother."""
    of, amounts = pl.col("recommender") == name, pl.col("amount")
    drawn = [
        set(draw.filter(pl.col("kind") == kind).select("arm", "amount").iter_rows())
        for draw in cell.draws
    ]
    for arm, amount in sorted(set.intersection(*drawn)):
        ours = of & (pl.col("arm") == arm) & (amounts == amount)
        placebo = of & (pl.col("kind") == PLACEBO) & (amounts == amount) & (pl.col("arm") != arm)
        smoother = of & (pl.col("kind") == SMOOTHER) & amounts.is_in([0, amount])
        none = of & (pl.col("kind") == REAL)
        yield cell.gain(ours, none), cell.gain(ours, placebo), cell.gain(ours, smoother)


def _counts(found: list[Measured]) -> str:
    """Every arm of every cell; the placebos are the control: what the same comparison says of arms
    that hold no information."""
    lines = []
    for name in RECOMMENDERS:
        for kind, title in ((GENERATED, "generators"), (PLACEBO, "placebos (control)")):
            gains = [three for cell in found for three in _comparisons(cell, name, kind)]
            cells = [f"{name}, {title}", str(len(gains))]
            for place in range(3):
                signs = [three[place].sign for three in gains]
                cells.append(f"{signs.count(1)} better, {signs.count(-1)} worse")
            cells.append(str(sum(all(one.sign > 0 for one in three) for three in gains)))
            lines.append(cells)
    header = ["arms of", "arms × cells", "over none", "over best placebo", "over best smoother"]
    return tables.markdown([*header, "over all three"], lines)


def _cells(found: list[Measured], name: str) -> str:
    lines = []
    for cell in found:
        of, about = pl.col("recommender") == name, cell.about
        ours = of & (pl.col("kind") == GENERATED)
        amount = int(_preferred(cell.draws[0].filter(ours))["amount"][0])
        at = pl.col("amount") == amount
        none = of & (pl.col("kind") == REAL)
        plain = cell.values([_preferred(draw.filter(none)) for draw in cell.draws])["ndcg"]
        smoother = of & (pl.col("kind") == SMOOTHER) & pl.col("amount").is_in([0, amount])
        lines.append(
            [
                cell.name,
                str(about["shape"]["n_users"]),
                str(about["shape"]["n_items"]),
                f"{about['shape']['n_interactions'] / about['shape']['n_users']:.0f}",
                str(len(cell.draws)),
                f"{plain.to_numpy().mean():.4f}",
                f"{_preferred(cell.draws[0].filter(ours))['arm'][0]} {amount}×",
                str(cell.gain(ours & at, none)),
                str(cell.gain(ours & at, of & (pl.col("kind") == PLACEBO) & at)),
                str(cell.gain(ours & at, smoother)),
            ]
        )
    header = ["cell", "users", "items", "rows per user", "draws", "none", "generated"]
    return tables.markdown([*header, "over none", "over placebo", "over smoother"], lines)


def _question(found: list[Measured]) -> str:
    lines = []
    for cell in found:
        gain = cell.gain(pl.lit(True), pl.col("kind") != GENERATED)
        taken = [_preferred(draw).row(0, named=True) for draw in cell.draws]
        named = ", ".join(f"{one['recommender']} × {one['arm']}" for one in taken)
        same = all(one["kind"] != GENERATED for one in taken)
        lines.append([cell.name, named, "the same model" if same else str(gain)])
    return tables.markdown(["cell", "chosen on validation users", "over the best without"], lines)


def figure(found: list[Measured], path: Path) -> None:
    """The gain of each generated arm over the best placebo, with its interval, by cell."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot as plt

    plt.rcParams["svg.hashsalt"] = "augrec"
    drawing, all_axes = plt.subplots(
        1, 2, figsize=(9, 1 + 0.3 * len(found)), sharey=True, layout="constrained"
    )
    for axes, name in zip(all_axes, ("ease", "item_knn"), strict=True):
        for place, cell in enumerate(found):
            gains = [three[1] for three in _comparisons(cell, name, GENERATED)]
            for number, gain in enumerate(gains):
                height = place + 0.6 * (number / max(1, len(gains) - 1) - 0.5)
                colour = "tab:blue" if gain.sign > 0 else "tab:grey"
                axes.plot([gain.low, gain.high], [height] * 2, color=colour, linewidth=1)
                axes.plot(gain.mean, height, "o", color=colour, markersize=3)
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set_title(f"{name}: NDCG@20 over the best placebo", fontsize=9)
        axes.tick_params(labelsize=8)
    all_axes[0].set_yticks(range(len(found)), [cell.name for cell in found])
    all_axes[0].invert_yaxis()
    drawing.savefig(path, metadata={"Date": None})
    plt.close(drawing)
