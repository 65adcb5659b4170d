"""The privacy-utility curve: what epsilon costs a profile VAE in quality, and how far it limits a
membership attack.

    python -m benchmarks.privacy movielens_100k simulated [--seeds 3] [--epsilons 1 2 4 8 16 64]

Users are split at random (protocol held_out_users): half are trained on, a quarter are the
non-members that the attack must distinguish from them. **TSTR**: EASE is trained on as many
synthetic users as there are real ones and evaluated on the latest items of that quarter; NDCG@10,
compared with training on the real users and with a list by popularity. **Attack**: the audit's
membership inference, the better of two. "bound" is the largest AUC that (ε, 0)-privacy allows any
attacker: e^ε / (1 + e^ε). All private rows have one configuration, chosen among seven at ε = 8 on
another split of MovieLens 100k, so that the simulated shop is the fairer test; noise, sample and
split change with the seed.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from augrec.audit.config import AuditConfig
from augrec.audit.inputs import AuditInputs
from augrec.audit.sample_audit import audit_sample
from augrec.augmentation.base import Policy, PolicyInputs
from augrec.core.files import write_parquet
from augrec.data.canonical import Tables
from augrec.data.clean import clean
from augrec.data.columns import REAL
from augrec.data.columns import Columns as C
from augrec.data.config import PrepareConfig
from augrec.data.fetch import TERMS, movielens_100k
from augrec.data.simulate import ShopConfig, simulate
from augrec.data.split import Split, SplitConfig, split
from augrec.data.training_data import TrainingData
from augrec.generators import base as generators
from benchmarks import cache, project, tables
from benchmarks.environments import WHERE

SHOP = ShopConfig(n_users=8000, n_items=300, n_interactions=300_000)
SMALL = {"hidden": 32, "latent": 4, "steps": 200, "learning_rate": 0.01}
"""What the private rows have in common; an expected batch is half of the users."""
MEASURES = (
    "pair_correlation",
    "popularity_correlation",
    "tstr",
    "trtr",
    "popularity",
    "attack_auc",
    "attack_auc_low",
    "attack_auc_high",
    "control_auc",
)
_NOTHING = {"epsilon": None, "noise": None, "n_users": None, "n_items": None, "n_rows": None}
_LEVELS = (
    ("posterior sampling, closeness 1", "tab:red", "no privacy, posterior"),
    ("prior sampling", "tab:orange", "no privacy, prior"),
    ("popularity alone", "tab:gray", "popularity alone"),
)
POPULARITY = [{"popularity_random": {"ratio": 1.0}}]


def main() -> None:
    given = _arguments()
    torch.set_num_threads(1)
    parts, curves = [], {}
    for name in given.data:
        found = pl.concat(
            [one_seed(name, given.epsilons, given.folder, seed) for seed in range(given.seeds)]
        )
        parts += [f"## {name}", _sizes(found), _table(found)]
        curves[name] = found
    draw(curves, tables.RESULTS / "privacy.svg")
    parts.append("![TSTR and attack against epsilon](privacy.svg)")
    about = (__doc__ or "").split("\n\n", 2)[2]
    tables.write(
        "privacy",
        "Privacy against utility",
        [about, *parts],
        tables.command_line("benchmarks.privacy"),
        tables.own_versions(),
    )


def one_seed(name: str, epsilons: Sequence[float], folder: Path | None, seed: int) -> pl.DataFrame:
    """Every measure of every sample; read where it was measured before."""
    path = (
        cache.folder(f"privacy/{name}", __file__, epsilons=epsilons, folder=folder)
        / f"{seed}.parquet"
    )
    if path.exists():
        return pl.read_parquet(path)
    found = _read(name, folder, seed)
    rows = clean(found.interactions, project.config(PrepareConfig, "prepare").positive)
    parts = split(rows, SplitConfig(protocol="held_out_users"), seed)
    inputs = AuditInputs(
        parts.train, rows, parts.held_out, None, None, found.items, cases=parts.cases_valid
    )
    measured = []
    for arm, sample, facts in samples(parts, found, epsilons, seed):
        private = facts.get("epsilon") is not None
        values = _measure(sample, inputs, private, seed)
        measured.append({"data": name, "seed": seed, "arm": arm, **_NOTHING, **values, **facts})
        print(measured[-1], flush=True)
    table = pl.DataFrame(measured, infer_schema_length=None)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_parquet(path, table)
    return table


def samples(
    parts: Split, found: Tables, epsilons: Sequence[float], seed: int
) -> Iterator[tuple[str, pl.DataFrame, dict[str, Any]]]:
    """Name, synthetic users and further facts of each arm."""
    n = parts.train[C.USER].n_unique()
    users = found.users.join(parts.train.select(C.USER).unique(), on=C.USER, how="semi")
    size = {"n_users": n, "n_items": parts.train[C.ITEM].n_unique(), "n_rows": len(parts.train)}
    learn = partial(_learn, parts.train, users, found.items, n, seed)
    yield (
        "the real users themselves",
        parts.train.with_columns(pl.lit("copies").alias(C.ORIGIN)),
        size,
    )
    yield "posterior sampling, closeness 1", *learn({"sampling": "posterior", "closeness": 1.0})
    yield "posterior sampling, closeness 0.5", *learn({"sampling": "posterior"})
    yield "prior sampling", *learn({})
    small = {**SMALL, "batch_size": n // 2}
    yield "prior sampling, small network", *learn(small)
    events = {
        event: sorted(part[C.VALUE].drop_nulls().unique().to_list()) if event == "rating" else []
        for (event,), part in parts.train.group_by(C.EVENT, maintain_order=True)
    }
    for epsilon in sorted(epsilons, reverse=True):
        privacy = {"epsilon": epsilon, "events": events}
        yield f"epsilon {epsilon:g}", *learn({**small, "privacy": privacy})
    made = Policy("popularity", POPULARITY, seed=seed).apply(
        PolicyInputs(parts.train, _no_sample, 2.0)
    )
    yield "popularity alone", made.filter(pl.col(C.ORIGIN) != REAL), {}


def draw(curves: dict[str, pl.DataFrame], path: Path) -> None:
    """TSTR and attack against epsilon, a column for each data set; points are seeds."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot as plt

    plt.rcParams["svg.hashsalt"] = "augrec"
    figure, axes = plt.subplots(
        2, len(curves), figsize=(4.5 * len(curves), 5.5), sharex=True, squeeze=False
    )
    for column, (name, found) in enumerate(curves.items()):
        private = found.filter(pl.col("epsilon").is_not_null()).sort("epsilon")
        for row, (measure, what) in enumerate(
            (("tstr", "TSTR, NDCG@10"), ("attack_auc", "attack, AUC"))
        ):
            axis = axes[row][column]
            means = private.group_by("epsilon", maintain_order=True).agg(pl.col(measure).mean())
            axis.plot(
                private["epsilon"], private[measure], "o", color="tab:blue", alpha=0.4, markersize=4
            )
            axis.plot(means["epsilon"], means[measure], color="tab:blue", label="private")
            for arm, colour, label in _LEVELS:
                level = found.filter(pl.col("arm") == arm)[measure].mean()
                axis.axhline(level, color=colour, linestyle="--", label=label)
            if measure == "tstr":
                axis.axhline(found["trtr"].mean(), color="black", linestyle=":", label="real users")
                axis.set_title(name)
            else:
                axis.plot(
                    means["epsilon"],
                    1 / (1 + np.exp(-means["epsilon"])),
                    "k:",
                    label="bound",
                )
                axis.set_ylim(0.45, 0.8)
            axis.legend(fontsize=6)
            axis.set_xscale("log")
            axis.set_ylabel(what)
        axes[1][column].set_xlabel("epsilon")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def _learn(
    train: pl.DataFrame,
    users: pl.DataFrame,
    items: pl.DataFrame,
    n: int,
    seed: int,
    config: dict[str, Any],
) -> tuple[pl.DataFrame, dict[str, Any]]:
    generator = generators.find("profile_vae")(config, seed=seed).fit(
        TrainingData(train, users=users, items=items)
    )
    privacy: Any = generator.facts().get("privacy")
    facts = (
        {}
        if privacy is None
        else {"epsilon": privacy["epsilon_asked"], "noise": privacy["noise_multiplier"]}
    )
    return generator.sample(n, seed=seed), facts


def _measure(sample: pl.DataFrame, inputs: AuditInputs, private: bool, seed: int) -> dict[str, Any]:
    """Fidelity, TSTR and attack, by the audit; in a private sample it does not judge items without
    interactions."""
    inputs = replace(inputs, sample_facts={"privacy": {}} if private else {})
    verdict, _ = audit_sample(sample, inputs, AuditConfig(), generator="profile_vae", seed=seed)
    values = {**verdict["fidelity"], **verdict["privacy"], **verdict["utility"]}
    return {name: values[name] for name in MEASURES}


def _read(name: str, folder: Path | None, seed: int) -> Tables:
    if name == "simulated":
        return simulate(SHOP, seed)
    print(TERMS)
    return movielens_100k(folder or WHERE / "movielens-100k")


def _no_sample(name: str) -> pl.DataFrame:
    raise AssertionError(f"no policy here mixes in {name}")


def _sizes(found: pl.DataFrame) -> str:
    sizes = found.drop_nulls("n_users").select("n_users", "n_items", "n_rows")
    users, items, rows = sizes.to_numpy().mean(axis=0)
    return (
        f"{users:,.0f} training users, {items:,.0f} items, {rows:,.0f} interactions; "
        f"{found['seed'].n_unique()} seeds, their mean ± standard deviation. NDCG@10 of a list by "
        f"popularity {found['popularity'].to_numpy().mean():.3f}."
    )


def _table(found: pl.DataFrame) -> str:
    header = ["synthetic users", "noise", "item pairs", "TSTR", "of TRTR", "attack AUC", "bound"]
    rows = []
    for (arm,), part in found.group_by("arm", maintain_order=True):
        epsilon = part["epsilon"][0]
        noise = part["noise"].drop_nulls().to_numpy()
        rows.append(
            [
                str(arm),
                f"{noise.mean():.2f}" if len(noise) else "",
                _spread(part["pair_correlation"]),
                _spread(part["tstr"]),
                f"{(part['tstr'] / part['trtr']).to_numpy().mean():.0%}",
                _spread(part["attack_auc"]),
                "" if epsilon is None else f"{1 / (1 + np.exp(-epsilon)):.3f}",
            ]
        )
    return tables.markdown(header, rows)


def _spread(values: pl.Series) -> str:
    known = values.drop_nulls().to_numpy()
    if not len(known):
        return ""
    return f"{known.mean():.3f} ± {known.std(ddof=1) if len(known) > 1 else 0:.3f}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", nargs="+", choices=["movielens_100k", "simulated"])
    parser.add_argument(
        "--folder", type=Path, help="of MovieLens 100k; downloaded by pip when absent"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--epsilons", type=float, nargs="+", default=[1.0, 2.0, 4.0, 8.0, 16.0, 64.0]
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
