"""Sentence embeddings by a package that happens to be installed; none is needed, nothing is
downloaded."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from augrec.core.errors import ConfigError

_FIX = "install the package in this environment, or set recommenders.content.embeddings to null"


def embed(package: str, model: str | None, texts: Sequence[str]) -> np.ndarray:
    """A vector for each text: centred on the mean of all, then of length 1; zeros for empty texts.

    Args:
        package: an importable module: one with a function `encode(texts) -> (n, d) numbers`, your
            own perhaps; one that holds a model, with a function `load_model()` that gives a thing
            that can `encode`; or one with the class `SentenceTransformer` (sentence-transformers)
            or `StaticModel` (model2vec).
        model: for these two, the folder that holds the model; a name to download by is refused.
        texts: n of them.

    Returns:
        float32 (n, d).

    Raises:
        ConfigError: the package is not installed or offers none of these, the model is no folder,
            or what comes back are not n vectors of numbers.
    """
    filled = [place for place, text in enumerate(texts) if text]
    vectors = _checked(
        _encoder(_module(package), model)([texts[place] for place in filled]), len(filled), package
    )
    vectors = vectors - vectors.mean(axis=0) if len(filled) > 1 else vectors
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    table = np.zeros((len(texts), vectors.shape[1]), np.float32)
    table[filled] = vectors / np.where(norms > 0, norms, 1)
    return table


def _module(package: str) -> ModuleType:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ConfigError(
            f"the package {package!r} for sentence embeddings cannot be imported: {error}",
            where="content, embeddings",
            fix=_FIX,
        ) from error


def _encoder(module: ModuleType, model: str | None) -> Callable[[list[str]], Any]:
    if callable(encode := getattr(module, "encode", None)):
        return encode
    if callable(load_model := getattr(module, "load_model", None)):
        return load_model().encode
    if hasattr(module, "SentenceTransformer"):
        folder = _folder(model)
        return module.SentenceTransformer(folder, device="cpu", local_files_only=True).encode
    if hasattr(module, "StaticModel"):
        folder = _folder(model)
        return module.StaticModel.from_pretrained(folder).encode
    raise ConfigError(
        f"the module {module.__name__!r} offers no encode, load_model, SentenceTransformer or "
        "StaticModel",
        where="content, embeddings",
        fix="name a module with a function encode(texts)",
    )


def _folder(model: str | None) -> str:
    if model is None or not Path(model).is_dir():
        raise ConfigError(
            f"the embedding model {model!r} is not a folder here",
            where="content, embedding_model",
            fix="get the model beforehand and name the folder it lies in; none is downloaded",
        )
    return model


def _checked(found: Any, n: int, package: str) -> np.ndarray:
    try:
        vectors = np.asarray(found, dtype=np.float64)
    except (TypeError, ValueError):
        vectors = np.zeros(0)
    if vectors.ndim != 2 or len(vectors) != n or not np.isfinite(vectors).all():
        raise ConfigError(
            f"{package!r} gave no {n} vectors of finite numbers for {n} texts",
            where="content, embeddings",
            fix="encode must return an array (texts, width)",
        )
    return vectors
