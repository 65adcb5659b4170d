"""Single cells of benchmarks/catalogue.py: data that lies ready, and what one job on it costs."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from augrec.audit.config import AuditConfig
from augrec.audit.inputs import AuditInputs
from augrec.audit.sample_audit import audit_sample
from augrec.core.seeds import rng
from augrec.data.clean import clean
from augrec.data.columns import INTERACTIONS
from augrec.data.columns import Columns as C
from augrec.data.config import SplitConfig
from augrec.data.histories import ItemIndex
from augrec.data.popularity_sampling import draw_distinct
from augrec.data.ranking import LIST_METRICS
from augrec.data.row_details import RowDetails, build_interactions
from augrec.data.simulate import ShopConfig, simulate
from augrec.data.split import TEST, VALID, split
from augrec.data.training_data import TrainingData
from augrec.evaluation.arm import Arm
from augrec.evaluation.config import EvaluationConfig, GateConfig
from augrec.evaluation.gate import decide
from augrec.generators.base import find
from benchmarks import project

SEED = 20260
RECOMMENDERS, REPETITIONS = 2, 3
KINDS = {
    "none": "real",
    "bootstrap": "placebo",
    "popularity_random": "placebo",
    "truncation": "real",
    "latent_gan": "generated",
}
SMALL = {"steps": 100, "batch_size": 16, "hidden": 64}
_POSITIVE = {"view": None}
_ITEMS_PER_SEEN = 1.15


@dataclass(frozen=True)
class Size:
    """Of prepared data: distinct rows."""

    users: int
    items: int
    interactions: int


def prepare_shop(where: Path, n_items: int) -> Size:
    """Simulate a shop in which about `n_items` items have interactions, 4 each; stored below
    `where` for the cells."""
    folder = where / f"catalogue-{n_items}"
    if not (folder / "size.json").exists():
        shop = simulate(
            ShopConfig(
                n_users=max(n_items // 5, 50),
                n_items=round(_ITEMS_PER_SEEN * n_items),
                n_interactions=round(4.6 * n_items),
                popularity_exponent=0.4,
                new_item_share=0.0,
            ),
            SEED,
        )
        _write(
            folder,
            {
                "train": clean(shop.interactions, _POSITIVE).select(list(INTERACTIONS)),
                "items": shop.items,
            },
        )
    return _size(folder)


def prepare_evidence(where: Path, wanted: int) -> Size:
    """Simulate and split a shop with about `wanted` training interactions, and draw a sample by
    popularity."""
    folder = where / f"evidence-{wanted}"
    if not (folder / "size.json").exists():
        n_users = wanted // 8
        shop = simulate(ShopConfig(n_users=n_users, n_items=2000, n_interactions=6 * wanted), SEED)
        rows = clean(shop.interactions, _POSITIVE)
        parts = split(rows, SplitConfig(), SEED)
        train = parts.train.select(list(INTERACTIONS))
        made = {
            "train": train,
            "sample": _by_popularity(train),
            "interactions": rows,
            "held_out": parts.held_out,
            "items": shop.items,
            "users": shop.users,
            "cases": parts.cases_valid,
        }
        _write(folder, made)
        cuts = {"valid_from": str(parts.valid_from), "test_from": str(parts.test_from)}
        (folder / "cuts.json").write_text(json.dumps(cuts))
    return _size(folder)


def generator_costs(
    where: Path, name: str, n_items: int, drawn: int = 1000, **settings: int
) -> dict[str, float]:
    """Training, and drawing `drawn` users, with the project's settings but for those given."""
    folder = where / f"catalogue-{n_items}"
    train, items = (
        pl.read_parquet(folder / "train.parquet"),
        pl.read_parquet(folder / "items.parquet"),
    )
    config = project.overrides("generators", name) | settings
    # loads what is loaded once, which is not counted
    find(name)({**config, "steps": 2}).fit(TrainingData(train.head(500))).sample(2)
    generator = find(name)(config, seed=SEED)
    curve: list[tuple[float, float]] = []

    def log(row: Mapping[str, float]) -> None:
        curve.append((row["step"], time.perf_counter()))

    with _measured() as costs:
        generator.fit(TrainingData(train, items=items, log=log))
    steps, moments = (np.diff(values) for values in zip(*curve, strict=True))
    if len(steps):
        costs["trained_per_s"] = float(np.median(steps / moments)) * generator.config.batch_size
    began = time.perf_counter()
    generator.sample(drawn, seed=1)
    return costs | {"drawn_per_s": drawn / (time.perf_counter() - began)}


def small_costs(where: Path, name: str, n_items: int) -> dict[str, float]:
    """The same with few steps, small batches and narrow layers, so that a million items fit."""
    return generator_costs(where, name, n_items, drawn=100, **SMALL)


def audit_costs(where: Path, name: str, wanted: int) -> dict[str, float]:
    """One audit."""
    folder = where / f"evidence-{wanted}"
    table = {path.stem: pl.read_parquet(path) for path in folder.glob("*.parquet")}
    cuts = {
        key: datetime.fromisoformat(cut)
        for key, cut in json.loads((folder / "cuts.json").read_text()).items()
    }
    inputs = AuditInputs(
        training=table["train"],
        interactions=table["interactions"],
        held_out=table["held_out"],
        valid_from=cuts["valid_from"],
        test_from=cuts["test_from"],
        items=table["items"],
        users=table["users"],
        cases=table["cases"],
    )
    with _measured() as costs:
        audit_sample(
            table["sample"],
            inputs,
            project.config(AuditConfig, "audit"),
            generator="placebo",
            seed=SEED,
        )
    return costs


def gate_costs(where: Path, name: str, n_users: int) -> dict[str, float]:
    """One decision about simulated measurements: a generator that helps a little."""
    arms = [
        Arm(
            recommender=f"recommender {at}",
            policy=policy,
            kind=kind,
            generators=(policy,) if kind == "generated" else (),
        )
        for at in range(RECOMMENDERS)
        for policy, kind in KINDS.items()
    ]
    measured = {
        (arm.recommender, arm.policy): [
            _measurements(arm, n_users, turn) for turn in range(REPETITIONS)
        ]
        for arm in arms
    }
    audits = {"latent_gan": {"passed": True, "failed_limits": []}}
    with _measured() as costs:
        decide(arms, measured, audits, project.config(GateConfig, "gate"), SEED)
    return costs


CELLS: dict[str, Callable[[Path, str, int], dict[str, float]]] = {
    "generators": generator_costs,
    "small": small_costs,
    "audit": audit_costs,
    "gate": gate_costs,
}


def _measurements(arm: Arm, n_users: int, turn: int) -> pl.DataFrame:
    """A table as the evaluate stage writes it, of as many validation users as test users."""
    base, own = rng(SEED, "people"), rng(SEED, arm.recommender, arm.policy, turn)
    slices = np.array(["0", "1-5", "6-20", "21+"])[np.arange(n_users) % 4].tolist()
    parts = []
    for role in (VALID, TEST):
        level = base.random(n_users)
        values: dict[str, Any] = {
            f"{metric}@{cutoff}": np.clip(
                level + own.normal(0.01 * (arm.kind == "generated"), 0.1, n_users), 0, 1
            )
            for cutoff in project.config(EvaluationConfig, "evaluation").cutoffs
            for metric in LIST_METRICS
        }
        ids = [f"{role}{at}" for at in range(n_users)]
        parts.append(
            pl.DataFrame({"split": [role] * n_users, C.USER: ids, "slice": slices, **values})
        )
    return pl.concat(parts)


def _by_popularity(train: pl.DataFrame) -> pl.DataFrame:
    items = ItemIndex(train[C.ITEM])
    random = rng(SEED, "sample")
    rows = train.unique([C.USER, C.ITEM])
    lengths = rows.group_by(C.USER).len().sort(C.USER)["len"].to_numpy().astype(np.int64)
    positions = draw_distinct(
        lengths, np.bincount(items.encode(rows[C.ITEM])).astype(float), random
    )
    details = RowDetails.of(train, items).draw(positions, lengths, random)
    return build_interactions("placebo", lengths, items.decode(positions), details)


def _write(folder: Path, made: Mapping[str, pl.DataFrame]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in made.items():
        table.write_parquet(folder / f"{name}.parquet")
    train = made["train"]
    size = Size(train[C.USER].n_unique(), train[C.ITEM].n_unique(), len(train))
    (folder / "size.json").write_text(json.dumps(asdict(size)))


def _size(folder: Path) -> Size:
    return Size(**json.loads((folder / "size.json").read_text()))


@contextmanager
def _measured() -> Iterator[dict[str, float]]:
    """CPU seconds of the block, and the MiB by which its peak lies above what was held before."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forgets earlier peaks
    held, began = _status("VmRSS"), time.process_time()
    costs: dict[str, float] = {}
    yield costs
    costs |= {"cpu_s": time.process_time() - began, "mib": _status("VmHWM") - held}


def _status(name: str) -> float:
    status = Path(f"/proc/{os.getpid()}/status").read_text(encoding="ascii")
    return int(status.partition(f"{name}:")[2].split()[0]) / 1024
