"""Saves a recommender as an MLflow bundle without pickle, and loads it again.

A bundle is a pyfunc model "from code": a script, the model's directory (JSON, safetensors,
Parquet), items.parquet with the items' titles, categories and prices, a folder of groups where the
run has tables of people who decide together, bundle.json, and the part of augrec that it runs on.
`mlflow.pyfunc.load_model` runs the script. augrec itself never does: `load` and `fetch` only read
model, items and groups, after checking them against their registered digests.

Where the winner was trained once more on all interactions, the bundle holds that model, which
serves, and the one that was measured, which later runs compare themselves with and continue: it has
not seen what they judge by.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import polars as pl
from mlflow.entities.model_registry import ModelVersion
from mlflow.models.signature import ModelSignature
from mlflow.pyfunc import save_model
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.types.schema import Array, ColSpec, DataType, ParamSchema, ParamSpec, Schema

import augrec
from augrec.core import settings
from augrec.core.errors import InputError, RefusedError
from augrec.core.files import digest, read_json, whole_directory, write_json, write_parquet
from augrec.data import stored_groups
from augrec.data.columns import ITEMS
from augrec.data.columns import Columns as C
from augrec.data.stored_groups import StoredGroups
from augrec.recommenders import base
from augrec.recommenders.base import Recommender
from augrec.registry import mlflow_versions
from augrec.registry.connection import mlflow_errors

FOLDER: Final = "bundle"
_MODEL, _ITEMS, _FACTS = "artifacts/model", "artifacts/items.parquet", "artifacts/bundle.json"
_REFIT, _GROUPS = "artifacts/refit", "artifacts/groups"
DIGESTS: Final = ("digest", "refit_digest", "items_digest", "groups_digest")
"""Of the measured model, of the one trained on all interactions, if there is one, of the items, and
of groups, if there are any; in bundle.json and the version's tags."""
_SHOWN = (C.ITEM, C.TITLE, C.CATEGORIES, C.PRICE)
_STATE_KINDS = {".json", ".safetensors", ".parquet", ".csv"}
_BUNDLE_KINDS = _STATE_KINDS | {".yaml", ".yml", ".txt", ".py", ".typed"}
_CORE = ("__init__.py", "py.typed", "core", "data", "nn", "recommenders")
_REQUIRED = (
    "mlflow",
    "numpy",
    "pandas",
    "polars",
    "pydantic",
    "pyyaml",
    "safetensors",
    "scipy",
    "torch",
)

SIGNATURE: Final = ModelSignature(
    inputs=Schema([ColSpec(Array(DataType.string), "history")]),
    outputs=Schema(
        [ColSpec(Array(DataType.string), "items"), ColSpec(Array(DataType.double), "scores")]
    ),
    params=ParamSchema(
        [ParamSpec("k", DataType.long, 10), ParamSpec("exclude_seen", DataType.boolean, True)]
    ),
)
"""One row a user: the items of the history, oldest first, in; items and scores, best first, out."""


def build(
    model: Path,
    target: Path,
    facts: Mapping[str, Any],
    items: pl.DataFrame | None = None,
    refit: Path | None = None,
    groups: Path | None = None,
) -> dict[str, str]:
    """Write the bundle of a saved recommender.

    Args:
        model: the directory of the recommender that was measured.
        target: the bundle's directory, which must not exist.
        facts: entries of bundle.json in addition to the digests.
        items: the items table of the run (see `augrec.data.columns.ITEMS`), for titles, categories
            and prices.
        refit: the directory of the same recommender, trained on all interactions, to serve; None:
            the measured one serves.
        groups: a folder that `augrec.data.stored_groups.write` made; None: there are no groups.

    Returns:
        The bundle's `DIGESTS`.

    Raises:
        InputError: the directory holds no recommender.
        RefusedError: it holds files of a type that no model has.
    """
    models = {"model": model} | ({"refit": refit} if refit else {})
    for folder in models.values():
        _refuse_foreign(folder, _STATE_KINDS)
    recommender = base.load(refit or model)
    catalogue = recommender.items.ids.tolist()
    with tempfile.TemporaryDirectory(prefix="augrec-bundle-") as temporary:
        stage = Path(temporary)
        for name, folder in models.items():
            shutil.copytree(folder, stage / name)
        write_parquet(stage / "items.parquet", _described(catalogue, items))
        digests = {
            "digest": digest(stage / "model"),
            "items_digest": _hash(stage / "items.parquet"),
        }
        if refit:
            digests["refit_digest"] = digest(stage / "refit")
        if groups:
            shutil.copytree(groups, stage / "groups")
            digests["groups_digest"] = digest(stage / "groups")
        golden = golden_answers(recommender)
        write_json(stage / "bundle.json", {"format": 1, **facts, **digests, "golden": golden})
        _copy_core(stage / "core")
        save_model(
            path=str(target),
            python_model=str(Path(__file__).with_name("pyfunc_model.py")),
            artifacts={
                name: str(stage / file)
                for name, file in _ARTIFACTS.items()
                if (stage / file).exists()
            },
            signature=SIGNATURE,
            input_example=(
                pd.DataFrame({"history": [catalogue[:2]]}),
                {"k": 10, "exclude_seen": True},
            ),
            pip_requirements=requirements(),
        )
    for cache in target.rglob("__pycache__"):
        shutil.rmtree(cache)
    return digests


_ARTIFACTS = {
    "model": "model",
    "refit": "refit",
    "groups": "groups",
    "items": "items.parquet",
    "bundle": "bundle.json",
    "core": "core",
}


def golden_answers(recommender: Recommender) -> list[dict[str, Any]]:
    """Recommendations for an empty history and for histories of the most popular items.

    The service asks for them again before the model may serve, and they must be the same.

    Returns:
        [{"history": item ids, "items": item ids, "scores": floats}, …].
    """
    popular = recommender.items.decode(
        np.argsort(-recommender.popularity, kind="stable")[:5]
    ).tolist()
    histories = [[], popular[:1], popular]
    items, scores = recommender.recommend(pl.Series(histories, dtype=pl.List(pl.String)), 10)
    return [
        {
            "history": history,
            "items": row[row != ""].tolist(),
            "scores": score[row != ""].astype(float).tolist(),
        }
        for history, row, score in zip(histories, items, scores, strict=True)
    ]


def requirements() -> list[str]:
    """Requirements of a bundle, at the installed versions, without a local part such as "+cpu"."""
    return [f"{name}=={importlib.metadata.version(name).partition('+')[0]}" for name in _REQUIRED]


@mlflow_errors("load the model")
def load(version: str | int) -> Recommender:
    """The recommender of a registered version, as it serves.

    Args:
        version: its number, or an alias such as "champion".

    Raises:
        InputError: there is no such version.
        RefusedError: its bundle differs from the registered one: changed, incomplete, or with
            additional files.
    """
    with _verified(mlflow_versions.named(version)) as copy:
        return base.load(_serving(copy))


@mlflow_errors("load the measured model")
def load_measured(version: str | int) -> Recommender:
    """The recommender of a registered version as it was measured: without what held-out users did,
    and the latest interactions.

    Raises:
        InputError, RefusedError: as `load`.
    """
    with _verified(mlflow_versions.named(version)) as copy:
        return base.load(copy / _MODEL)


@mlflow_errors("read the model's items")
def items(version: str | int) -> pl.DataFrame:
    """Metadata of a registered version's items: item_id, title, categories, price; sorted by
    item_id.

    Every item of the model's catalogue or of the run's items table has a row; null where the value
    is unknown.

    Raises:
        InputError, RefusedError: as `load`.
    """
    with _verified(mlflow_versions.named(version)) as copy:
        return _read_items(copy)


@mlflow_errors("fetch the model")
def fetch(version: str | int, folder: Path) -> None:
    """Write a verified copy of a registered version, as it serves, to `folder`, atomically, for
    `open_copy`.

    Raises:
        InputError, RefusedError: as `load`.
    """
    with _verified(mlflow_versions.named(version)) as copy, whole_directory(folder) as draft:
        shutil.copytree(_serving(copy), draft / _MODEL)
        if (copy / _GROUPS).is_dir():
            shutil.copytree(copy / _GROUPS, draft / _GROUPS)
        write_parquet(draft / _ITEMS, _read_items(copy))
        facts = {**read_json(copy / _FACTS), **_digests(draft)}
        facts.pop("refit_digest", None)
        write_json(draft / _FACTS, facts)


def open_copy(folder: Path) -> tuple[Recommender, pl.DataFrame, dict[str, Any]]:
    """The recommender, the items (as `items`) and bundle.json of a copy that `fetch` made, without
    the registry.

    Raises:
        InputError: there is no copy.
        RefusedError: the copy was changed.
    """
    if not (folder / _FACTS).is_file():
        raise InputError(
            "there is no copy of a model here", where=str(folder), fix="fetch the version again"
        )
    _refuse_foreign(folder, _BUNDLE_KINDS)
    facts = read_json(folder / _FACTS)
    whole = (folder / _MODEL).is_dir() and (folder / _ITEMS).is_file()
    if not whole or facts != facts | _digests(folder):
        raise RefusedError(
            "the copy was changed since it was fetched",
            where=str(folder),
            fix="delete it; it is fetched again from the registry",
        )
    return base.load(folder / _MODEL), _read_items(folder), facts


def groups_of(folder: Path) -> StoredGroups:
    """The groups of a copy that `open_copy` has verified; nobody where it has none."""
    return stored_groups.read(folder / _GROUPS)


@mlflow_errors("export the model")
def export(version: str | int, target: Path) -> None:
    """Write the directory of a registered version's measured model, atomically, for
    `augrec.recommenders.base.load`.

    Raises:
        InputError: there is no such version.
        RefusedError: its bundle differs from the registered one.
    """
    with _verified(mlflow_versions.named(version)) as copy, whole_directory(target) as draft:
        shutil.copytree(copy / _MODEL, draft, dirs_exist_ok=True)


def sound(version: str | int) -> bool:
    """Whether a version's bundle is the same as when it was registered."""
    try:
        with _verified(mlflow_versions.named(version)):
            return True
    except RefusedError:
        return False


@contextmanager
def _verified(version: ModelVersion) -> Iterator[Path]:
    """A private copy of the bundle: nothing can change it between check and load."""
    where, fix = (
        f"version {version.version}, {version.source}",
        "register the model again from its run",
    )
    with tempfile.TemporaryDirectory(prefix="augrec-bundle-") as temporary:
        copy = Path(temporary)
        uri = settings.load().mlflow_uri
        try:
            get_artifact_repository(str(version.source), uri, uri).download_artifacts("", str(copy))
        except OSError as error:
            raise RefusedError("the bundle is missing", where=where, fix=fix) from error
        if not (copy / _MODEL).is_dir() or not (copy / _FACTS).is_file():
            raise RefusedError("the bundle is incomplete", where=where, fix=fix)
        _refuse_foreign(copy, _BUNDLE_KINDS)
        for folder in (_MODEL, _REFIT):
            if (copy / folder).is_dir():
                _refuse_foreign(copy / folder, _STATE_KINDS)
        found, stated = _digests(copy), _stated(copy / _FACTS)
        tags = version.tags
        if not all(found.get(name) == tags.get(name) == stated.get(name) for name in DIGESTS):
            raise RefusedError(
                "the bundle was changed after it was registered "
                f"(its digest is now {found['digest'][:12]}…)",
                where=where,
                fix=fix,
            )
        yield copy


def _digests(bundle: Path) -> dict[str, str]:
    """The digests of a bundle; bundles of early versions have no items."""
    found = {"digest": digest(bundle / _MODEL)}
    if (bundle / _REFIT).is_dir():
        found["refit_digest"] = digest(bundle / _REFIT)
    if (bundle / _ITEMS).is_file():
        found["items_digest"] = _hash(bundle / _ITEMS)
    if (bundle / _GROUPS).is_dir():
        found["groups_digest"] = digest(bundle / _GROUPS)
    return found


def _serving(bundle: Path) -> Path:
    return bundle / (_REFIT if (bundle / _REFIT).is_dir() else _MODEL)


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _stated(facts: Path) -> Mapping[str, Any]:
    try:
        return dict(read_json(facts))
    except (ValueError, TypeError):
        return {}


def _described(catalogue: list[str], items: pl.DataFrame | None) -> pl.DataFrame:
    """Titles, categories and prices of the items of the model and of the items table."""
    kinds = {name: ITEMS[name] for name in _SHOWN}
    known = (
        pl.DataFrame(schema=kinds)
        if items is None
        else items.select(_SHOWN).unique(C.ITEM, keep="first")
    )
    ids = pl.DataFrame({C.ITEM: catalogue}, schema={C.ITEM: pl.String})
    return known.join(ids, on=C.ITEM, how="full", coalesce=True).select(_SHOWN).sort(C.ITEM)


def _read_items(bundle: Path) -> pl.DataFrame:
    if (bundle / _ITEMS).is_file():
        return pl.read_parquet(bundle / _ITEMS)
    return _described(base.load(_serving(bundle)).items.ids.tolist(), None)


def _refuse_foreign(folder: Path, kinds: set[str]) -> None:
    if not folder.is_dir():
        raise InputError("there is no model here", where=str(folder), fix="train it first")
    foreign = [
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_symlink()
        or (path.is_file() and path.suffix not in kinds and path.name != "MLmodel")
    ]
    if foreign:
        raise RefusedError(
            f"the model has files of unexpected types: {', '.join(sorted(foreign))}",
            where=str(folder),
            fix="find out who added them, then register the model again from its run",
        )


def _copy_core(target: Path) -> None:
    source = Path(augrec.__file__).parent
    (target / "augrec").mkdir(parents=True)
    for name in _CORE:
        if (source / name).is_dir():
            shutil.copytree(
                source / name,
                target / "augrec" / name,
                ignore=shutil.ignore_patterns("__pycache__", ".*"),
            )
        else:
            shutil.copy2(source / name, target / "augrec" / name)
