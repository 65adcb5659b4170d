"""Leave out the generators and recommenders that the data do not suit, and decide what is "auto" of
the others: data/config and data/prepared -> data/selection.

It runs before anything is trained, so that a catalogue too large for one component costs a run
neither the hours before it would be found out nor what the others can do.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from augrec.core.data_shape import DataShape
from augrec.core.errors import PermanentError, RefusedError
from augrec.core.files import read_json, whole_directory, write_json
from augrec.data.split import VALID
from augrec.data.training_data import TrainingData
from augrec.generators import base as generators
from augrec.recommenders import base as recommenders
from augrec.stages._inputs import CONFIG, read_table
from augrec.stages._left_out import SELECTION, LeftOut
from augrec.stages.runner import run

_PREPARED = Path("data/prepared")
_FIND: Final[Mapping[str, Any]] = {
    "generators": generators.find,
    "recommenders": recommenders.find,
}
_log = logging.getLogger(__name__)


def main() -> None:
    """Write data/selection/<room>/<name>.json: why the component is left out, if it is, and what
    its rules made of settings that are "auto".

    Raises:
        RefusedError: no recommender is left.
    """
    shape = TrainingData(
        read_table(_PREPARED / "train.parquet", "prepare"),
        users=read_table(_PREPARED / "users.parquet", "prepare"),
        items=read_table(_PREPARED / "items.parquet", "prepare"),
        cases=read_table(_PREPARED / f"cases_{VALID}.parquet", "prepare"),
    ).shape
    _log.info(
        "%s training users, %s items, %s interactions",
        *(f"{n:,}" for n in (shape.n_users, shape.n_items, shape.n_interactions)),
    )
    judged = {room: _judge(room, shape) for room in _FIND}
    for members in judged.values():
        for name, (misfit, settings) in members.items():
            if misfit is not None:
                _log.warning("%s", misfit)
            elif settings:
                _log.info("%s: %s", name, ", ".join(f"{k} {v}" for k, v in settings.items()))
    _refuse_an_empty_run({name: one for name, (one, _) in judged["recommenders"].items()})
    with whole_directory(SELECTION) as draft:
        for room, members in judged.items():
            for name, (misfit, settings) in members.items():
                left_out = None if misfit is None else asdict(misfit)
                file = draft / room / f"{name}.json"
                write_json(file, {"left_out": left_out, "settings": settings})


def _judge(room: str, shape: DataShape) -> dict[str, tuple[LeftOut | None, dict[str, Any]]]:
    """Each component that the stage `configure` wrote: why it is left out, if it is, and its
    settings that depend on the data."""
    files = sorted((CONFIG / room).glob("*.json"))
    return {file.stem: _decide(room, file.stem, read_json(file)["config"], shape) for file in files}


def _decide(
    room: str, name: str, config: Mapping[str, Any], shape: DataShape
) -> tuple[LeftOut | None, dict[str, Any]]:
    component = _FIND[room](name)(config)
    settings = component.settle(shape)
    try:
        component.check_fits(shape)
    except PermanentError as error:
        return LeftOut(room, name, error.what, error.fix), settings
    return None, settings


def _refuse_an_empty_run(members: Mapping[str, LeftOut | None]) -> None:
    if not all(members.values()):
        return
    each = [one for one in members.values() if one is not None]
    raise RefusedError(
        "none of the run's recommenders can learn from this data: "
        + "; ".join(f"{one.name}: {one.reason}" for one in each),
        where="params.yaml, run.recommenders",
        fix="set it to auto, or name others such as popularity; or "
        + "; ".join(f"for {one.name}: {one.fix}" for one in each),
    )


if __name__ == "__main__":
    run(main)
