"""Put users of like taste into groups: data/prepared → data/taste_groups.

groups.json describes each. tastes/ is the model that says which group a history belongs to, and
where the next run's groups begin. memberships.parquet holds the groups of all users, by everything
there is, for the online store. attributes.parquet holds those of training users, by their training
rows, for generators; no rows unless `taste_groups.attribute`. Without groups
(`taste_groups.groups: 0`) there is no model and there are no memberships.
"""

from __future__ import annotations

import logging
from pathlib import Path

import polars as pl

from augrec.core.config import parse, read_params, section
from augrec.core.errors import InputError
from augrec.core.files import read_json, whole_directory, write_json, write_parquet
from augrec.core.seeds import derive
from augrec.data.columns import TIME
from augrec.data.columns import Columns as C
from augrec.data.histories import Histories
from augrec.data.training_data import TrainingData
from augrec.features.schema import EVENT_TIMESTAMP, TASTES, TYPES
from augrec.recommenders._taste.clusters import NO_GROUP
from augrec.recommenders._taste.tastes import TASTE_GROUP, Tastes, TastesConfig
from augrec.stages._inputs import TASTE_GROUPS, read_table
from augrec.stages.runner import run

PREPARED = Path("data/prepared")
PREVIOUS = Path("models/taste_groups")
"""The groups that `taste_groups.previous` in params.yaml names; a run writes both."""
GROUPS, MODEL, ATTRIBUTES = "groups.json", "tastes", "attributes.parquet"
_log = logging.getLogger(__name__)


def main() -> None:
    """Find the groups of the training users, with the names that the previous ones had."""
    params = read_params()
    config = parse(TastesConfig, section(params, "taste_groups"), "taste_groups")
    train = pl.read_parquet(PREPARED / "train.parquet")
    with whole_directory(TASTE_GROUPS) as folder:
        if not config.numbers:
            write_json(folder / GROUPS, [])
            write_parquet(folder / ATTRIBUTES, pl.DataFrame(schema={C.USER: pl.String}))
            _log.info("no groups are wanted")
            return
        items = pl.read_parquet(PREPARED / "items.parquet")
        cases = read_table(PREPARED / "cases_valid.parquet", "prepare")
        data = TrainingData(train, items=items, cases=cases)
        tastes = Tastes(config, seed=derive(params["seed"], "taste_groups"))
        tastes.fit(data, _previous(config))
        histories = data.histories
        tastes.save(folder / MODEL)
        write_json(folder / GROUPS, tastes.as_json())
        of_training = {C.USER: histories.users.tolist(), TASTE_GROUP: tastes.labels(histories)}
        attributes = pl.DataFrame(of_training, schema=dict.fromkeys(of_training, pl.String))
        write_parquet(folder / ATTRIBUTES, attributes if config.attribute else attributes.clear())
        order = read_json(PREPARED / "split.json")["rules"]["order"]
        everything = pl.read_parquet(PREPARED / "interactions.parquet")
        known = train if order == "none" else everything  # see the stage features
        write_parquet(folder / "memberships.parquet", memberships(tastes, known))
    for group in tastes.as_json():
        _log.info("group %d: %s, %d users", group["group"], group["name"], group["users"])


def memberships(tastes: Tastes, interactions: pl.DataFrame) -> pl.DataFrame:
    """The group of each user with a known item, by all interactions, as of just after the last.

    Returns:
        user_id, `augrec.features.schema.TASTES` and event_timestamp.
    """
    histories = Histories.from_interactions(interactions, tastes.items)
    places, away = tastes.places(histories)
    sizes = tastes.groups.sizes
    columns = (tastes.numbers[places], away, sizes[places], sizes[places] / sizes.sum())
    rows = pl.DataFrame(
        {C.USER: histories.users.tolist(), **dict(zip(TASTES, columns, strict=True))},
        schema={C.USER: pl.String, **{name: TYPES[kind] for name, kind in TASTES.items()}},
    )
    times = interactions[C.TIMESTAMP].to_physical().to_numpy()
    until = int(times.max()) + 1  # as the last snapshot of features
    moment = pl.lit(until).cast(TIME).alias(EVENT_TIMESTAMP)
    return rows.with_columns(moment).filter(pl.Series(places != NO_GROUP))


def _previous(config: TastesConfig) -> Tastes | None:
    """The groups to begin at; None where the run that they are of wanted none."""
    if config.previous is None:
        return None
    if not (PREVIOUS / GROUPS).exists():
        raise InputError(
            "the groups whose names are to stay are missing",
            where=f"{PREVIOUS}, named by taste_groups.previous in params.yaml",
            fix="`dvc pull models/taste_groups.dvc` brings them; or set taste_groups.previous to "
            "null: groups get new names",
        )
    return Tastes.load(PREVIOUS / MODEL) if (PREVIOUS / MODEL).is_dir() else None


if __name__ == "__main__":
    run(main)
