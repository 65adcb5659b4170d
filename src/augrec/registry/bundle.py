"""A recommender as a pickle-free MLflow bundle, and its way back.

A bundle is a pyfunc model "from code": a script, the model's directory (JSON, safetensors, Parquet), bundle.json, and
the part of augrec it runs on. Whoever loads it with `mlflow.pyfunc.load_model` runs the script; augrec itself never
does: `load` reads the model's directory alone, after checking it against the digest it was registered under.
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

import pandas as pd
from mlflow.entities.model_registry import ModelVersion
from mlflow.models.signature import ModelSignature
from mlflow.pyfunc import save_model
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.types.schema import Array, ColSpec, DataType, ParamSchema, ParamSpec, Schema

import augrec
from augrec import settings
from augrec.errors import InputError, RefusedError
from augrec.files import read_json, write_json
from augrec.recommenders import base
from augrec.recommenders.base import Recommender
from augrec.registry import lookup
from augrec.registry.connection import mlflow_errors

FOLDER: Final = "bundle"
_MODEL, _FACTS = "artifacts/model", "artifacts/bundle.json"
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
    outputs=Schema([ColSpec(Array(DataType.string), "items"), ColSpec(Array(DataType.double), "scores")]),
    params=ParamSchema(
        [ParamSpec("k", DataType.long, 10), ParamSpec("exclude_seen", DataType.boolean, True)]
    ),
)
"""One row a user: the items of the history, oldest first, in; items and scores, best first, out."""


def digest(model: Path) -> str:
    """SHA-256 over the names and bytes of all files of a model's directory: the identity of a model."""
    hasher = hashlib.sha256()
    for path in sorted(path for path in model.rglob("*") if path.is_file()):
        name, content = path.relative_to(model).as_posix().encode(), path.read_bytes()
        hasher.update(len(name).to_bytes(8, "big") + name + len(content).to_bytes(8, "big") + content)
    return hasher.hexdigest()


def build(model: Path, target: Path, facts: Mapping[str, Any]) -> None:
    """Write the bundle of a saved recommender.

    Args:
        model: the recommender's directory.
        target: the bundle's directory, not there yet.
        facts: what bundle.json shall say besides the digest.

    Raises:
        InputError: the directory holds no recommender.
        RefusedError: it holds files of a kind that a model does not consist of.
    """
    _refuse_foreign(model, _STATE_KINDS)
    example = base.load(model).items.ids[:2].tolist()
    with tempfile.TemporaryDirectory(prefix="augrec-bundle-") as temporary:
        stage = Path(temporary)
        shutil.copytree(model, stage / "model")
        write_json(stage / "bundle.json", {"format": 1, **facts, "digest": digest(stage / "model")})
        _copy_core(stage / "core")
        save_model(
            path=str(target),
            python_model=str(Path(__file__).with_name("pyfunc_model.py")),
            artifacts={name: str(stage / file) for name, file in _ARTIFACTS.items()},
            signature=SIGNATURE,
            input_example=(pd.DataFrame({"history": [example]}), {"k": 10, "exclude_seen": True}),
            pip_requirements=requirements(),
        )
    for cache in target.rglob("__pycache__"):
        shutil.rmtree(cache)


_ARTIFACTS = {"model": "model", "bundle": "bundle.json", "core": "core"}


def requirements() -> list[str]:
    """What a bundle needs to run, at the versions installed here ("2.13.0", without a local "+cpu")."""
    return [f"{name}=={importlib.metadata.version(name).partition('+')[0]}" for name in _REQUIRED]


@mlflow_errors("load the model")
def load(version: str | int) -> Recommender:
    """The recommender of a registered version.

    Args:
        version: its number, or an alias such as "champion".

    Raises:
        InputError: there is no such version.
        RefusedError: its bundle is not what was registered: changed, incomplete, or with foreign files.
    """
    with _verified(lookup.named(version)) as model:
        return base.load(model)


def sound(version: str | int) -> bool:
    """Whether a version's bundle still is what was registered."""
    try:
        with _verified(lookup.named(version)):
            return True
    except RefusedError:
        return False


@contextmanager
def _verified(version: ModelVersion) -> Iterator[Path]:
    """The model's directory in a private copy of the bundle, so that what was checked is what is loaded."""
    where, fix = f"version {version.version}, {version.source}", "register the model again from its run"
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
        found = digest(copy / _MODEL)
        if not found == version.tags.get("digest") == _stated(copy / _FACTS):
            raise RefusedError(f"the bundle was changed after it was registered (its digest is now {found[:12]}…)",
                               where=where, fix=fix)  # fmt: skip
        yield copy / _MODEL


def _stated(facts: Path) -> str | None:
    try:
        return read_json(facts).get("digest")
    except (ValueError, AttributeError):
        return None


def _refuse_foreign(folder: Path, kinds: set[str]) -> None:
    if not folder.is_dir():
        raise InputError("there is no model here", where=str(folder), fix="train it first")
    foreign = [
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_symlink() or (path.is_file() and path.suffix not in kinds and path.name != "MLmodel")
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
                source / name, target / "augrec" / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            shutil.copy2(source / name, target / "augrec" / name)
