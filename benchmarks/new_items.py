"""New items, without any interactions: rows that item_gan generates for them, compared with content
alone and with placebos.

    python -m benchmarks.new_items    # downloads MovieLens 100k by pip (see its terms)

Protocol cold_items by a share: a tenth of the items is new for test, another tenth for validation;
a seed draws them and seeds everything else. Users are trained on without their rows of those items.
New items are ranked among themselves. Content ranks them by their words. The other recommenders
learn of them from added users only, as many as there are real ones:

* item_gan's; "no GAN over items" leaves the vector of a new item where the regression on its
  content predicts it (spread 0);
* placebos: copies of the real users in which new items replace rows drawn at random, with the same
  share of new items as item_gan's users have. The new items are drawn evenly; by the mean
  popularity of the items of their categories; by content's scores for that user; or by iALS's
  scores with item vectors that a ridge regression on their content predicts.

The weight of added users, how sharply the last two placebos follow their scores, and the weight of
titles in content are chosen on validation users; all else is as in the project. MultVAE keeps the
weights of its last step. Results of each seed are stored below var/benchmarks, so that a run can
continue.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from augrec.augmentation.base import Policy, PolicyInputs
from augrec.core.files import write_parquet
from augrec.core.seeds import rng
from augrec.data.canonical import Tables
from augrec.data.clean import clean
from augrec.data.columns import Columns as C
from augrec.data.config import PrepareConfig
from augrec.data.fetch import TERMS, movielens_100k
from augrec.data.histories import Histories, ItemIndex
from augrec.data.split import Split, split
from augrec.data.training_data import TrainingData
from augrec.evaluation.bootstrap import paired_difference
from augrec.evaluation.metrics import evaluate
from augrec.generators import base as generators
from augrec.generators._latent.item_content import ItemContent
from augrec.generators.item_gan import Ridge
from augrec.recommenders import base as recommenders
from benchmarks import cache, project, tables
from benchmarks.environments import WHERE

METRIC, K = "ndcg@10", 10
COLD_SHARE = 0.1
ALONE = "content alone"
TITLE = (0.0, 0.5, 1.0)
WEIGHTS = (0.3, 1.0)
SHARPNESS = (1.0, 3.0)
"""New items are drawn by exp(sharpness × score), the score standardised over the user's new
items."""
RECOMMENDERS = ("multvae", "ease", "item_knn")
ARMS = {
    "item_gan": ["item_gan"],
    "item_gan, no GAN over items": ["no GAN"],
    "placebo: drawn evenly": ["evenly"],
    "placebo: by popularity of categories": ["categories"],
    "placebo: by content": [f"content {sharpness:g}" for sharpness in SHARPNESS],
    "placebo: by regression": [f"regression {sharpness:g}" for sharpness in SHARPNESS],
}
"""Each arm's samples; validation users choose among them."""
PLACEBOS = [arm for arm in ARMS if arm.startswith("placebo")]


def main() -> None:
    given = _arguments()
    torch.set_num_threads(1)
    if given.movielens_100k is None:
        print(TERMS)
    folder = given.movielens_100k or WHERE / "movielens-100k"
    where = cache.folder("new-items", __file__, folder=folder, recommenders=given.recommenders)
    seeds = range(given.first_seed, given.first_seed + given.seeds)
    measured = pl.concat([one_seed(folder, given.recommenders, where, seed) for seed in seeds])
    tables.write(
        "new-items",
        "New items without interactions, MovieLens 100k",
        [_facts(measured), _table(measured)],
        tables.command_line("benchmarks.new_items"),
        tables.own_versions(),
    )


def one_seed(folder: Path, names: list[str], where: Path, seed: int) -> pl.DataFrame:
    """NDCG@10 among new items of every test user for each recommender × arm; read where it was
    measured before."""
    path = where / f"{seed}.parquet"
    if path.exists():
        return pl.read_parquet(path)
    found = movielens_100k(folder)
    prepare = project.config(PrepareConfig, "prepare")
    cold = prepare.split.model_copy(update={"protocol": "cold_items", "cold_share": COLD_SHARE})
    parts = split(clean(found.interactions, prepare.positive), cold, seed)
    content = project.overrides("recommenders", "content") | {"max_new_items": 1_000_000}
    samples = dict(_samples(parts, found, content, seed))
    arms = {
        (ALONE, ""): [("content", content | {"title": weight}, parts.train) for weight in TITLE]
    }
    for name, (arm, used) in product(names, ARMS.items()):
        config = project.overrides("recommenders", name)
        arms[name, arm] = [
            (name, config, _training(parts.train, samples[one], weight, seed))
            for one, weight in product(used, WEIGHTS)
        ]
    measured = []
    for (name, arm), ways in arms.items():
        best = _best(ways, parts, found.items, seed)
        facts = {"recommender": name, "arm": arm, "seed": seed, "n_train": len(parts.train)}
        measured.append(
            best.with_columns(pl.lit(value).alias(column) for column, value in facts.items())
        )
        print(seed, name, arm, f"{_mean(best):.4f}", flush=True)
    where.mkdir(parents=True, exist_ok=True)
    write_parquet(path, pl.concat(measured))
    return pl.read_parquet(path)


def _best(
    ways: list[tuple[str, dict[str, Any], pl.DataFrame]],
    parts: Split,
    items: pl.DataFrame,
    seed: int,
) -> pl.DataFrame:
    """Test users' metric of the recommender, config and training set that are best on validation
    users."""
    best: tuple[float, Any] = (-1.0, None)
    for name, config, training in ways:
        model = recommenders.find(name)(config, seed=seed).fit(TrainingData(training, items=items))
        reached = float(_measure(model, parts.cases_valid, parts.train)[METRIC].mean())  # type: ignore[arg-type]
        if reached > best[0]:
            best = reached, model
    return _measure(best[1], parts.cases_test, parts.train)


def _measure(
    model: recommenders.Recommender, cases: pl.DataFrame, train: pl.DataFrame
) -> pl.DataFrame:
    """As the evaluate stage measures where new items are wanted: ranked are the items of no
    training row."""
    among = _new(model.items, train)
    return evaluate(model, cases, [K], among=among).select(C.USER, "slice", METRIC)


def _new(items: ItemIndex, train: pl.DataFrame) -> np.ndarray:
    """Which items no training user met, bool (n_items,)."""
    return np.isin(items.ids, train[C.ITEM].unique().to_numpy(), invert=True)


def _training(train: pl.DataFrame, sample: pl.DataFrame, weight: float, seed: int) -> pl.DataFrame:
    steps = [{"mix": {"sample": "sample", "ratio": 1.0, "weight": weight}}]
    return Policy("mix", steps, seed=seed).apply(PolicyInputs(train, lambda name: sample, 2.0))


def _samples(
    parts: Split, found: Tables, content: dict[str, Any], seed: int
) -> Iterator[tuple[str, pl.DataFrame]]:
    """As many synthetic users as there are real ones, by the names in `ARMS`."""
    train, n = parts.train, parts.train[C.USER].n_unique()
    users = found.users.join(train.select(C.USER).unique(), on=C.USER, how="semi")
    generator = generators.find("item_gan")(project.overrides("generators", "item_gan"), seed=seed)
    yield (
        "item_gan",
        (
            sample := generator.fit(TrainingData(train, users=users, items=found.items)).sample(
                n, seed=seed
            )
        ),
    )
    generator.config = generator.config.model_copy(update={"spread": 0.0})
    yield "no GAN", generator.sample(n, seed=seed)
    share = float((~sample[C.ITEM].is_in(train[C.ITEM].unique().implode())).mean())  # type: ignore[arg-type]
    print(seed, f"item_gan: {share:.1%} of the rows are of new items", flush=True)
    reader = recommenders.find("content")(content, seed=seed).fit(
        TrainingData(train, items=found.items)
    )
    ids = reader.items.ids[_new(reader.items, train)]
    by_content = reader.score(Histories.from_interactions(train, reader.items))
    by_content = by_content[
        :, reader.items.encode(pl.Series(ids.tolist()))
    ]  # (users in order, new items)
    yield "evenly", _placed(train, ids, np.zeros_like(by_content), share, seed)
    yield (
        "categories",
        _placed(
            train,
            ids,
            _of_categories(train, found.items, ids) + np.zeros_like(by_content),
            share,
            seed,
        ),
    )
    for name, scores in {
        "content": by_content,
        "regression": _regressed(train, found.items, ids, generator.config, seed),
    }.items():
        standard = (scores - scores.mean(1, keepdims=True)) / (scores.std(1, keepdims=True) + 1e-9)
        for sharpness in SHARPNESS:
            yield f"{name} {sharpness:g}", _placed(train, ids, sharpness * standard, share, seed)


def _regressed(
    train: pl.DataFrame, items: pl.DataFrame, ids: np.ndarray, config: Any, seed: int
) -> np.ndarray:
    """iALS's scores of new items with vectors predicted from their content, (users in order, new
    items)."""
    ials = recommenders.find("ials")(project.overrides("recommenders", "ials"), seed=seed)
    model: Any = ials.fit(TrainingData(train))
    content = ItemContent.of(
        train,
        items,
        model.items,
        directions=config.content_directions,
        max_new_items=config.max_new_items,
        seed=seed,
    )
    ridge, _ = Ridge.fit(
        torch.as_tensor(content.known), torch.as_tensor(model.item_factors()), seed
    )
    places = ridge.predict(torch.as_tensor(content.new)).numpy()
    order = {item: place for place, item in enumerate(content.new_ids.tolist())}
    users = model.user_factors(Histories.from_interactions(train, model.items))
    return np.asarray(users) @ places[[order[item] for item in ids.tolist()]].T


def _placed(
    train: pl.DataFrame, ids: np.ndarray, log_chances: np.ndarray, share: float, seed: int
) -> pl.DataFrame:
    """The rows, `share` of them with a new item in place of their own; log_chances float (users in
    order, new items).

    A user's new items are drawn without replacement in proportion to their chances.
    """
    draw = rng(seed, "placed")
    order = np.argsort(-(log_chances + draw.gumbel(size=log_chances.shape)), axis=1)
    users = train[C.USER].rank("dense").to_numpy().astype(np.int64) - 1
    rows = train.select(C.USER, hit=pl.Series(draw.random(len(train)) < share))
    hit, turn = rows.select("hit", turn=pl.col("hit").cum_sum().over(C.USER).cast(pl.Int64) - 1)
    drawn = pl.Series(ids[order[users, np.clip(turn.to_numpy(), 0, len(ids) - 1)]].tolist())
    changed = train.with_columns(pl.when(hit).then(drawn).otherwise(pl.col(C.ITEM)).alias(C.ITEM))
    return changed.unique([C.USER, C.ITEM], keep="first", maintain_order=True)


def _of_categories(train: pl.DataFrame, items: pl.DataFrame, ids: np.ndarray) -> np.ndarray:
    """ln of the mean popularity of the known items of each new item's categories, float64
    (n_new,)."""
    shown = items.select(C.ITEM, C.CATEGORIES).explode(C.CATEGORIES)
    known = shown.join(train.group_by(C.ITEM).len(), on=C.ITEM)
    popular = known.group_by(C.CATEGORIES).agg(pl.col("len").mean())
    means = shown.join(popular, on=C.CATEGORIES).group_by(C.ITEM).agg(pl.col("len").mean())
    wanted = pl.DataFrame({C.ITEM: ids.tolist()}).join(
        means, on=C.ITEM, how="left", maintain_order="left"
    )["len"]
    return np.log(wanted.fill_null(strategy="mean").to_numpy())


def _table(measured: pl.DataFrame) -> str:
    alone = measured.filter(pl.col("recommender") == ALONE)
    lines = [[f"**{ALONE}**", f"{_mean(alone):.4f}", "", "", ""]]
    for name in measured["recommender"].unique(maintain_order=True).to_list()[1:]:
        arms = {
            arm: measured.filter((pl.col("recommender") == name) & (pl.col("arm") == arm))
            for arm in ARMS
        }
        hardest = max(PLACEBOS, key=lambda arm: _mean(arms[arm]))
        for arm, table in arms.items():
            ahead = f"{_seeds_ahead(table, alone)} of {table['seed'].n_unique()}"
            over = "" if arm in PLACEBOS else _gain(table, arms[hardest])
            label = arm + (" (the best)" if arm == hardest else "")
            lines.append(
                [f"{name}, {label}", f"{_mean(table):.4f}", _gain(table, alone), ahead, over]
            )
    header = ["", "NDCG@10", "over content alone", "seeds ahead of it", "over the best placebo"]
    return tables.markdown(header, lines)


def _mean(table: pl.DataFrame) -> float:
    return float(table.group_by(C.USER).agg(pl.col(METRIC).mean())[METRIC].mean())  # type: ignore[arg-type]


def _seeds_ahead(ours: pl.DataFrame, theirs: pl.DataFrame) -> int:
    means = (
        side.group_by("seed").agg(pl.col(METRIC).mean()).sort("seed")[METRIC]
        for side in (ours, theirs)
    )
    mine, other = means
    return int((mine > other).sum())


def _gain(ours: pl.DataFrame, theirs: pl.DataFrame) -> str:
    found = paired_difference(ours, theirs, METRIC, confidence=0.95, samples=2000, seed=0)
    return tables.gain(found.difference, found.ci_low, found.ci_high)


def _facts(measured: pl.DataFrame) -> str:
    one = measured.filter(pl.col("recommender") == ALONE)
    rows = sorted(set(one["n_train"].to_list()))
    return (
        f"{one['seed'].n_unique()} seeds, each with other new items; {rows[0]:,} to {rows[-1]:,} "
        f"training interactions; {one[C.USER].n_unique():,} different test users. A tenth of the "
        "items is new for test, a tenth for validation; NDCG@10 of new items ranked among "
        "themselves; without added users the recommenders know none of them and reach 0. In "
        "brackets the 95 % interval of the difference paired by user, a user's cases in all seeds "
        "averaged first; bold where it excludes 0. The interval covers other users with these new "
        "items, not other items: for that see the seeds."
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--movielens-100k", type=Path, help="a folder that holds it already")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--recommenders", nargs="*", default=list(RECOMMENDERS))
    return parser.parse_args()


if __name__ == "__main__":
    main()
