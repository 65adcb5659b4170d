"""What can be said of a config class to a reader: each key with its default, what it takes, and its
meaning."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
_BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
REQUIRED = object()
"""The default of a key that has none."""


@dataclass(frozen=True)
class Key:
    """A key of a config.

    Attributes:
        name: dotted where it lies in a config inside the config.
        default: as JSON has it; `REQUIRED`: there is none.
        takes: its type, range or choices, in words.
        meaning: the docstring below the field; empty where there is none.
    """

    name: str
    default: Any
    takes: str
    meaning: str


def keys_of(config: type[BaseModel], prefix: str = "") -> Iterator[Key]:
    """The keys of a config, in the order of the class; of a config inside it, its keys."""
    meanings = _meanings(config)
    for name, field in config.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from keys_of(inner, f"{prefix}{name}.")
        else:
            yield Key(f"{prefix}{name}", _default(field), _takes(field), meanings.get(name, ""))


def summary_of(package: str, name: str) -> str:
    """The first paragraph of a module's docstring, without importing it."""
    folder = Path(str(sys.modules[package].__file__)).parent
    text = ast.get_docstring(ast.parse((folder / f"{name}.py").read_text(encoding="utf-8")))
    return " ".join((text or "").partition("\n\n")[0].split())


def _default(field: FieldInfo) -> Any:
    if field.is_required():
        return REQUIRED
    return to_jsonable_python(field.get_default(call_default_factory=True))


def _takes(field: FieldInfo) -> str:
    main, either, rest = _kind(field.annotation).partition(" or null")
    return ", ".join((main, *_limits(field.metadata))) + either + rest


def _limits(metadata: Iterable[Any]) -> list[str]:
    return [
        f"{words} {getattr(one, bound):g}"
        for one in metadata
        for bound, words in _BOUNDS.items()
        if isinstance(getattr(one, bound, None), int | float)
    ]


def _kind(annotation: Any) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        metadata = [getattr(one, "metadata", [one]) for one in inner[1:]]
        return ", ".join((_kind(inner[0]), *_limits(chain.from_iterable(metadata))))
    if origin is Literal and len(inner) == 1:
        return str(inner[0])
    if origin is Literal:
        return f"one of {', '.join(map(str, inner))}"
    if origin in (Union, UnionType):
        kinds = dict.fromkeys(_kind(one) for one in inner if one is not NoneType)
        return " or ".join(kinds) + (" or null" if NoneType in inner else "")
    if (origin or annotation) in (list, tuple):
        return "a list"
    if (origin or annotation) is dict:
        return "keys and values"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"keys: {', '.join(annotation.model_fields)}"
    return _KINDS.get(annotation, "text")


@cache
def _meanings(config: type[BaseModel]) -> dict[str, str]:
    """The docstring below each field, those of base classes too."""
    found: dict[str, str] = {}
    for kind in reversed(config.__mro__):
        if not issubclass(kind, BaseModel) or kind is BaseModel:
            continue
        tree = ast.parse(Path(inspect.getfile(kind)).read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and node.name == kind.__name__:
                found |= dict(_documented(node))
    return found


def _documented(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for field, text in zip(node.body, node.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
            and isinstance(text.value.value, str)
        ):
            yield field.target.id, " ".join(text.value.value.split())
