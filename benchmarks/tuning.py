"""What the search of `tuning` in params.yaml finds on small, sparse and sequential data, compared
with the project's own config.

    python -m benchmarks.tuning small=movielens-100k:FOLDER sparse=movietweetings:FOLDER \\
        sequential=completejourney:FOLDER

Each recommender is searched with the same budget; its config is chosen on validation users, both
configs are evaluated on test users. Writes benchmarks/results/tuning.md and tuning.json.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml

from augrec.core.component import available
from augrec.core.config import parse
from augrec.core.files import read_json, write_json, write_text
from augrec.core.seeds import derive
from augrec.data import sources
from augrec.data.canonical import Tables
from augrec.data.clean import clean
from augrec.data.columns import ITEMS, TIME, USERS
from augrec.data.config import PrepareConfig
from augrec.data.split import Split, split
from augrec.data.training_data import TrainingData
from augrec.evaluation.metrics import evaluate
from augrec.evaluation.user_means import user_values
from augrec.recommenders.base import Recommender, find
from augrec.tuning.config import TuningConfig, space_of, starting_points
from augrec.tuning.metric import over_users
from augrec.tuning.search import search
from benchmarks import project

HOME = Path(__file__).parents[1]
RESULTS = HOME / "benchmarks" / "results"
_MIN_ROWS = 3
"""Items with fewer interactions are left out."""


def completejourney(folder: Path) -> Tables:
    """Baskets of 84.51°'s Complete Journey, as in the R package: the product types that households
    buy over a year."""
    products = pl.read_csv(folder / "products.csv.gz", infer_schema=False)
    rows = pl.read_csv(folder / "transactions_sample.csv.gz", infer_schema=False).join(
        products.select("product_id", "product_type", "department"), on="product_id", how="inner"
    )
    rows = rows.filter(pl.col("product_type").is_not_null())
    seconds = pl.col("transaction_timestamp").cast(pl.Float64) * 1e6
    interactions = rows.select(
        pl.col("household_id").alias("user_id"),
        pl.col("product_type").alias("item_id"),
        pl.lit("purchase").alias("event"),
        pl.lit(None, pl.Float32).alias("value"),
        seconds.cast(pl.Int64).cast(pl.Datetime("us")).cast(TIME).alias("timestamp"),
        pl.lit("real").alias("origin"),
        pl.lit(1.0, pl.Float32).alias("weight"),
    )
    items = (
        rows.group_by("product_type")
        .agg(pl.col("department").mode().sort().first())
        .sort("product_type")
    )
    described = items.select(
        pl.col("product_type").alias("item_id"),
        pl.col("product_type").alias("title"),
        pl.lit(None, pl.String).alias("description"),
        pl.concat_list("department").alias("categories"),
        pl.lit([], pl.List(pl.String)).alias("tags"),
        pl.lit(None, pl.Float64).alias("price"),
    )
    users = interactions.select("user_id").unique().sort("user_id").cast(pl.Schema(USERS))
    return Tables(interactions, described.cast(pl.Schema(ITEMS)), users)


def load(spec: str) -> tuple[Split, Tables]:
    """A data set "layout:folder", cleaned and split by the project's settings."""
    layout, _, folder = spec.partition(":")
    tables = (
        completejourney(Path(folder))
        if layout == "completejourney"
        else sources.read(layout, Path(folder))
    )
    config = project.config(PrepareConfig, "prepare")
    rows = clean(tables.interactions, config.positive, min_item_interactions=_MIN_ROWS)
    return split(rows, config.split, project.PARAMS["seed"]), tables


def compare(name: str, parts: Split, tables: Tables, config: TuningConfig) -> dict[str, Any]:
    """Search one recommender; the test users' mean NDCG@10 with the project's config and with the
    one found."""
    kind, own, seed = find(name), project.overrides("recommenders", name), project.PARAMS["seed"]
    space = space_of(config, kind)
    models: list[Recommender] = []

    def fit(values: Mapping[str, Any], log: Any) -> Recommender:
        model = kind({**own, **values}, seed=derive(seed, "train", name)).fit(
            TrainingData(
                parts.train,
                cases=parts.cases_valid,
                items=tables.items,
                users=tables.users,
                log=log,
            )
        )
        models.append(model) if not models else None
        return model

    started = time.perf_counter()
    measure = over_users(parts.cases_valid, config.metric)
    starts = starting_points(config, kind(own), space)[:1]  # without what was found before
    found = search(fit, measure, space, starts, config, seed=derive(seed, "tuning", name))
    seconds = time.perf_counter() - started
    before, after = (
        user_values(evaluate(model, parts.cases_test, [10]), "ndcg@10")["value"].to_numpy()
        for model in (models[0], found.model)
    )
    gain = after - before
    return {
        "trials": len(found.trials),
        "pruned": sum(trial.state == "pruned" for trial in found.trials),
        "out_of_time": found.out_of_time,
        "seconds": round(seconds, 1),
        "valid": [found.trials[0].value, found.best.value],
        "test": [float(before.mean()), float(after.mean())],
        "gain": float(gain.mean()),
        "margin": float(1.96 * gain.std(ddof=1) / np.sqrt(len(gain))),
        "found": found.best.parameters,
    }


HEADER = """# Hyper-parameters searched on small, sparse and sequential data

Made by `benchmarks/tuning.py`. "own" is the config that the project trains with, "found" the best
of the search on validation users, whose first trial is "own"; NDCG@10, mean over users. The
interval is that of the mean difference between the two on the same test users. ⏱: the time limit
ended the search; another machine may find another config. The data are split by time: what is best
in the validation period need not be best in the test period that follows. Where the interval holds
0, the gain cannot be distinguished from chance.
"""

PRESETS = """## Presets

Where the found config was better on validation users and on test users, by any amount, it stands
in `augrec.tuning.presets`: a search tries it right after "own".
"""


def table(results: Mapping[str, Any]) -> str:
    """tuning.md."""
    lines = [HEADER]
    for name, data in results.items():
        head = " · ".join(f"{value:,} {key}" for key, value in data["counts"].items())
        lines += [
            f"## {name}: {data['source']}",
            "",
            f"Training data: {head}. Each search: {data['budget']}.",
            "",
            "| recommender | trials (pruned) | s | valid: own → found | test: own → found | gain "
            "on test, 95 % | found |",
            "|---|---|---|---|---|---|---|",
        ]
        for recommender, row in sorted(
            data["recommenders"].items(), key=lambda pair: -pair[1]["test"][1]
        ):
            late = " ⏱" if row["out_of_time"] else ""
            values = ", ".join(
                f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}"
                for key, value in row["found"].items()
            )
            valid, test = (
                " → ".join(f"{value:.4f}" for value in row[split]) for split in ("valid", "test")
            )
            lines.append(
                f"| {recommender} | {row['trials']} ({row['pruned']}){late} | {row['seconds']:.0f} "
                f"| {valid} | {test} | "
                f"{row['gain']:+.4f} ± {row['margin']:.4f} | {values} |"
            )
        lines.append("")
    return "\n".join(
        [*lines, PRESETS, "```yaml", yaml.safe_dump(presets(results), sort_keys=True), "```", ""]
    )


def presets(results: Mapping[str, Any]) -> dict[str, dict[str, dict[str, Any]]]:
    """What was found, where it was better than "own" on validation and on test users, in two
    digits."""
    return {
        name: {
            recommender: {key: _rounded(value) for key, value in row["found"].items()}
            for recommender, row in sorted(data["recommenders"].items())
            if row["valid"][1] > row["valid"][0] and row["gain"] > 0
        }
        for name, data in results.items()
    }


def _rounded(value: Any) -> Any:
    return float(f"{value:.2g}") if isinstance(value, float) else value


def main() -> None:
    """Search all; results are written after each recommender."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="+", help="name=layout:folder")
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=120.0, help="for each recommender")
    parser.add_argument(
        "--recommenders", nargs="*", help="all that have a search space, if left out"
    )
    parser.add_argument("--out", type=Path, default=RESULTS / "tuning")
    words = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    budget = {"trials": words.trials, "seconds": words.seconds}
    config = parse(TuningConfig, project.overrides("tuning") | budget, "tuning")
    path = words.out.with_suffix(".json")
    results: dict[str, Any] = read_json(path) if path.exists() else {}
    for word in words.data:
        name, _, spec = word.partition("=")
        parts, tables = load(spec)
        train = parts.train
        counts = {
            "rows": len(train),
            "users": train["user_id"].n_unique(),
            "items": train["item_id"].n_unique(),
        }
        data = results.setdefault(
            name,
            {"source": Path(spec.partition(":")[2]).name, "counts": counts, "recommenders": {}},
        )
        data["budget"] = f"{words.trials} trials, {words.seconds:g} s"
        for recommender in words.recommenders or [
            one for one in available("augrec.recommenders") if space_of(config, find(one))
        ]:
            data["recommenders"][recommender] = compare(recommender, parts, tables, config)
            write_json(path, results)
            write_text(words.out.with_suffix(".md"), table(results))


if __name__ == "__main__":
    main()
