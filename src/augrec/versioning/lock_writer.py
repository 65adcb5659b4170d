"""dvc.lock, changed by the YAML library's C code and written whole or not at all.

DVC keeps a file's comments, for which it parses and writes it in Python. dvc.lock has none, and
with thousands of lines that took a second of every stage.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dvc.dvcfile
from dvc.utils.serialize import modify_yaml
from ruamel.yaml import YAML

from augrec.core.files import whole_file


def install() -> None:
    """Let DVC in this process change dvc.lock so, and other files as it always does."""
    dvc.dvcfile.modify_yaml = _modify


def entries(lock: Path) -> dict[str, Any]:
    """The entries of a dvc.lock, stage -> what it read and made; empty where there is none."""
    return dict(_read(lock).get("stages", {}))


def arrange(lock: Path, names: list[str]) -> None:
    """Put the entries of a dvc.lock into an order, whatever the one in which their stages ended."""
    with changed(lock) as data:
        data["stages"] = {name: data["stages"][name] for name in names if name in data["stages"]}


@contextmanager
def _modify(path: str, fs: Any = None) -> Iterator[dict[str, Any]]:
    if Path(path).name != "dvc.lock":
        with modify_yaml(path, fs=fs) as data:
            yield data
        return
    with changed(Path(path)) as data:
        yield data


@contextmanager
def changed(lock: Path) -> Iterator[dict[str, Any]]:
    """The content of a dvc.lock, written when the block ends; hold DVC's lock meanwhile."""
    data = _read(lock)
    yield data
    yaml: Any = YAML(typ="safe")  # as DVC reads it
    yaml.default_flow_style, yaml.sort_base_mapping_type_on_output = False, False
    yaml.Representer.add_representer(OrderedDict, yaml.Representer.represent_dict)
    with whole_file(lock) as draft:
        yaml.dump(data, draft)


def _read(lock: Path) -> dict[str, Any]:
    yaml: Any = YAML(typ="safe")
    return (yaml.load(lock.read_text(encoding="utf-8")) if lock.exists() else None) or {}
