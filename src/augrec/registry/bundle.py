"""A recommender as a pickle-free MLflow bundle, and its way back.

A bundle is a pyfunc model "from code": a script, the model's directory (JSON, safetensors,
Parquet), items.parquet with the items' titles, categories and prices, bundle.json, and the part of
augrec it runs on. Whoever loads it with `mlflow.pyfunc.load_model` runs the script; augrec itself
never does: `load` and `fetch` read model and items alone, after checking them against the digests
they were registered under.
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
from augrec.data.columns import ITEMS
from augrec.data.columns import Columns as C
from augrec.recommenders import base
from augrec.recommenders.base import Recommender
from augrec.registry import lookup
from augrec.registry.connection import mlflow_errors

FOLDER: Final = "bundle"
_MODEL, _ITEMS, _FACTS = "artifacts/model", "artifacts/items.parquet", "artifacts/bundle.json"
_SHOWN = (C.ITEM, C.TITLE, C.CATEGORIES, C.PRICE)
_STATE_KINDS = {".json", ".safetensors", ".parquet", ".csv"}
_BUNDLE_KINDS = _STATE_KINDS | {".yaml", ".yml", ".txt", ".py", ".typed"}
_CORE = (
    "__init__.py",
    "py.typed",
    "errors.py",
    "files.py",
    "seeds.py",
    "component.py",
    "data",
    "recommenders",
)
_REQUIRED = ("mlflow", "numpy", "pandas", "polars", "scipy", "torch", "safetensors", "pydantic")

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
    model: Path, target: Path, facts: Mapping[str, Any], items: pl.DataFrame | None = None
) -> str:
    """Write the bundle of a saved recommender.

    Args:
        model: the recommender's directory.
        target: the bundle's directory, not there yet.
        facts: what bundle.json shall say besides the digests.
        items: the items table of the run (see `augrec.data.columns.ITEMS`); its titles, categories
            and prices go along.

    Returns:
        The digest of the bundle's items.parquet.

    Raises:
        InputError: the directory holds no recommender.
        RefusedError: it holds files of a kind that a model does not consist of.
    """
    _refuse_foreign(model, _STATE_KINDS)
    recommender = base.load(model)
    catalogue = recommender.items.ids.tolist()
    with tempfile.TemporaryDirectory(prefix="augrec-bundle-") as temporary:
        stage = Path(temporary)
        shutil.copytree(model, stage / "model")
        write_parquet(stage / "items.parquet", _described(catalogue, items))
        digests = {
            "digest": digest(stage / "model"),
            "items_digest": _hash(stage / "items.parquet"),
        }
        golden = golden_answers(recommender)
        write_json(stage / "bundle.json", {"format": 1, **facts, **digests, "golden": golden})
        _copy_core(stage / "core")
        save_model(
            path=str(target),
            python_model=str(Path(__file__).with_name("pyfunc_model.py")),
            artifacts={name: str(stage / file) for name, file in _ARTIFACTS.items()},
            signature=SIGNATURE,
            input_example=(
                pd.DataFrame({"history": [catalogue[:2]]}),
                {"k": 10, "exclude_seen": True},
            ),
            pip_requirements=requirements(),
        )
    for cache in target.rglob("__pycache__"):
        shutil.rmtree(cache)
    return digests["items_digest"]


_ARTIFACTS = {"model": "model", "items": "items.parquet", "bundle": "bundle.json", "core": "core"}


def golden_answers(recommender: Recommender) -> list[dict[str, Any]]:
    """What a recommender answers to a newcomer and to histories of its most popular items; it must
    always answer so.

    Whoever loads the bundle to serve asks the same again: what was shipped is what serves.
    """
    popular = recommender.items.decode(
        np.argsort(-recommender.popularity, kind="stable")[:5]
    ).tolist()
    asked = [[], popular[:1], popular]
    items, scores = recommender.recommend(pl.Series(asked, dtype=pl.List(pl.String)), 10)
    return [
        {
            "history": history,
            "items": row[row != ""].tolist(),
            "scores": known[row != ""].astype(float).tolist(),
        }
        for history, row, known in zip(asked, items, scores, strict=True)
    ]


def requirements() -> list[str]:
    """What a bundle needs to run, at the versions installed here ("2.13.0", without a local
    "+cpu")."""
    return [f"{name}=={importlib.metadata.version(name).partition('+')[0]}" for name in _REQUIRED]


@mlflow_errors("load the model")
def load(version: str | int) -> Recommender:
    """The recommender of a registered version.

    Args:
        version: its number, or an alias such as "champion".

    Raises:
        InputError: there is no such version.
        RefusedError: its bundle is not what was registered: changed, incomplete, or with foreign
            files.
    """
    with _verified(lookup.named(version)) as copy:
        return base.load(copy / _MODEL)


@mlflow_errors("read the model's items")
def items(version: str | int) -> pl.DataFrame:
    """What the items of a registered version are called: item_id, title, categories, price; sorted
    by item_id.

    Every item of the model's catalogue has a row, as has every item the run knew; null where
    nothing was known.

    Raises:
        InputError, RefusedError: as `load`.
    """
    with _verified(lookup.named(version)) as copy:
        return _read_items(copy)


@mlflow_errors("fetch the model")
def fetch(version: str | int, folder: Path) -> None:
    """Put a checked copy of a registered version in `folder`, whole or not at all: what `open_copy`
    reads.

    Raises:
        InputError, RefusedError: as `load`.
    """
    with _verified(lookup.named(version)) as copy, whole_directory(folder) as draft:
        shutil.copytree(copy / _MODEL, draft / _MODEL)
        write_parquet(draft / _ITEMS, _read_items(copy))
        digests = {"digest": digest(draft / _MODEL), "items_digest": _hash(draft / _ITEMS)}
        write_json(draft / _FACTS, {**read_json(copy / _FACTS), **digests})


def open_copy(folder: Path) -> tuple[Recommender, pl.DataFrame, dict[str, Any]]:
    """The recommender, the items (as `items`) and the facts of a copy that `fetch` made; the
    registry is not asked.

    Raises:
        InputError: there is no copy.
        RefusedError: it was changed since.
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


@mlflow_errors("export the model")
def export(version: str | int, target: Path) -> None:
    """Write the model's directory of a registered version, as `augrec.recommenders.base.load` reads
    it, whole or not at all.

    Raises:
        InputError: there is no such version.
        RefusedError: its bundle is not what was registered.
    """
    with _verified(lookup.named(version)) as copy, whole_directory(target) as draft:
        shutil.copytree(copy / _MODEL, draft, dirs_exist_ok=True)


def sound(version: str | int) -> bool:
    """Whether a version's bundle still is what was registered."""
    try:
        with _verified(lookup.named(version)):
            return True
    except RefusedError:
        return False


@contextmanager
def _verified(version: ModelVersion) -> Iterator[Path]:
    """A private copy of the bundle, so that what was checked is what is loaded."""
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
            raise RefusedError("the bundle is not there", where=where, fix=fix) from error
        if not (copy / _MODEL).is_dir() or not (copy / _FACTS).is_file():
            raise RefusedError("the bundle is not complete", where=where, fix=fix)
        _refuse_foreign(copy, _BUNDLE_KINDS)
        _refuse_foreign(copy / _MODEL, _STATE_KINDS)
        found, stated = _digests(copy), _stated(copy / _FACTS)
        names = ("digest", "items_digest")
        if not all(found.get(name) == version.tags.get(name) == stated.get(name) for name in names):
            raise RefusedError(
                "the bundle was changed after it was registered (its digest is now "
                f"{found['digest'][:12]}…)",
                where=where,
                fix=fix,
            )
        yield copy


def _digests(bundle: Path) -> dict[str, str]:
    """Of what is there: a bundle of before items travelled along has none."""
    found = {"digest": digest(bundle / _MODEL)}
    return found | ({"items_digest": _hash(bundle / _ITEMS)} if (bundle / _ITEMS).is_file() else {})


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _stated(facts: Path) -> Mapping[str, Any]:
    try:
        return dict(read_json(facts))
    except (ValueError, TypeError):
        return {}


def _described(catalogue: list[str], items: pl.DataFrame | None) -> pl.DataFrame:
    """Titles, categories and prices of every item that the model or the run knows."""
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
    return _described(base.load(bundle / _MODEL).items.ids.tolist(), None)


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
            f"files of a kind that no model of augrec consists of: {', '.join(sorted(foreign))}",
            where=str(folder),
            fix="somebody put them there: find out who, then register the model again from its run",
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
