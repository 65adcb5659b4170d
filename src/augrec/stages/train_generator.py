"""Train a generator on the training users: data/training_set -> models/generators/<generator>.

A training that is refused, because it diverged or taught nothing, leaves the generator out of the
run: its folder then says why, beside the curve.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from augrec.core.config import parse, read_params, section
from augrec.core.errors import RefusedError
from augrec.core.files import whole_directory, write_curve, write_json
from augrec.core.seeds import derive
from augrec.data.columns import Columns as C
from augrec.data.training_data import Hardware, TrainingData
from augrec.generators import base as generators
from augrec.generators._training.hardware import is_main_process
from augrec.stages import _left_out
from augrec.stages._inputs import (
    TASTE_GROUPS,
    TRAINING_SET,
    read_resolved,
    read_table,
    read_training_interactions,
)
from augrec.stages.runner import run, tell_curve

CHECKPOINTS = Path("models/.checkpoints/generators")
"""Where an interrupted training goes on from: no output of the stage, unseen by git and DVC."""
CURVE = "curve.csv"
log = logging.getLogger(__name__)


def main(name: str) -> None:
    """Train the generator called `name` on real rows, and store its training curve with it, and in
    training.json the settings that were "auto"."""
    target = Path("models/generators") / name
    left_out, settings = _left_out.selected("generators", name)
    if _left_out.passed_on(left_out, target):
        return
    params = read_params()
    config = read_resolved("generators", name)["config"] | settings
    generator = generators.find(name)(config, seed=derive(params["seed"], "train_generator", name))
    curve: list[dict[str, float]] = []

    def show(row: Mapping[str, float]) -> None:
        if is_main_process():
            curve[:] = [one for one in curve if one["step"] < row["step"]] + [dict(row)]
            tell_curve("generator", name, row)

    interactions = read_training_interactions()
    users_path = TRAINING_SET / "users.parquet"
    users = read_table(users_path, "training_set") if users_path.exists() else None
    users = _with_groups(users)
    items = read_table(Path("data/prepared/items.parquet"), "prepare")
    data = TrainingData(
        interactions,
        users=users,
        items=items,
        log=show,
        checkpoints=CHECKPOINTS / name,
        hardware=parse(Hardware, section(params, "hardware"), "hardware"),
    )
    try:
        generator.fit(data)
    except RefusedError as error:
        if is_main_process():
            _left_out.write(_left_out.LeftOut("generators", name, error.what, error.fix), target)
            write_curve(target / CURVE, curve)
        return
    if not is_main_process():
        return  # the main process publishes what all have learnt
    with whole_directory(target) as draft:
        generator.save(draft)
        write_curve(draft / CURVE, curve)
        write_json(draft / "training.json", {"generator": name, "settings": settings})
    shutil.rmtree(CHECKPOINTS / name, ignore_errors=True)


def _with_groups(users: pl.DataFrame | None) -> pl.DataFrame | None:
    """With each training user's taste group as one more attribute, where that is wanted."""
    path = TASTE_GROUPS / "attributes.parquet"
    groups = read_table(path, "taste_groups") if path.exists() else None
    if groups is None or groups.is_empty():
        return users
    if users is None:
        return groups
    return users.join(groups, on=C.USER, how="left", maintain_order="left")


if __name__ == "__main__":
    run(main)
