"""What generators and recommenders share: a typed config, a seed, and storage without pickle.

One component is one file: `augrec/recommenders/ease.py` holds the recommender called "ease". `find`
imports it by that name, so adding a component means adding a file and its name to `run` in
params.yaml.
"""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from augrec.core.config import AUTO, BaseConfig, closest, parse
from augrec.core.data_shape import DataShape
from augrec.core.errors import ConfigError, InputError
from augrec.core.files import read_json, whole_directory, write_json

if TYPE_CHECKING:  # Airflow's tasks ask for names alone, and each pays its imports
    import numpy as np

FORMAT = 1
SHARED = frozenset({"base", "neural", "toolkit"})
"""Public modules of a package of components that define none: the contract, and what authors of
components import."""
_METADATA, _ARRAYS = "component.json", "arrays.safetensors"


class Configured:
    """A thing that one file defines, with a typed config and a seed. A subclass sets `Config`.

    Args:
        config: the typed config, a mapping to build it from, or nothing for the defaults.
        seed: where every random draw of this component comes from.
    """

    Config: ClassVar[type[BaseConfig]] = BaseConfig

    def __init__(
        self, config: BaseConfig | Mapping[str, Any] | None = None, *, seed: int = 0
    ) -> None:
        if isinstance(config, BaseConfig):
            self.config: Any = config
        else:
            self.config = parse(self.Config, config, self.section())
        self.seed = seed

    @classmethod
    def name(cls) -> str:
        """The component's name: that of its file."""
        return cls.__module__.rpartition(".")[2]

    @classmethod
    def section(cls) -> str:
        """Where params.yaml holds its config, e.g. "recommenders.ease"."""
        room, _, name = cls.__module__.rpartition(".")
        return f"{room.rpartition('.')[2].strip('_')}.{name}"


class Component(Configured, ABC):
    """A configured thing that learns: its state can be saved and loaded.

    A subclass implements `_state` and `_restore`. The state maps names to NumPy arrays; arrays of
    strings are kept as Parquet, all others as safetensors.
    """

    rules: ClassVar[Mapping[str, Callable[[DataShape, Any], Any]]] = {}
    """{config key: its value where the config says "auto", from the shape of the data and the rest
    of the config}. Each is applied after those before it."""

    def is_settled(self) -> bool:
        """Whether nothing of the config is "auto"."""
        return all(getattr(self.config, key) != AUTO for key in self.rules)

    def settle(self, shape: DataShape) -> dict[str, Any]:
        """Replace each "auto" of the config by what its rule says; gives these keys and values.

        A run does it once, on its real data, so that a recommender takes the same settings under
        every policy.
        """
        found: dict[str, Any] = {}
        for key, rule in self.rules.items():
            if getattr(self.config, key) == AUTO:
                found[key] = rule(shape, self.config)
                self.config = self.config.model_copy(update={key: found[key]})
        return found

    def check_fits(self, shape: DataShape) -> None:
        """Refuse data that it cannot learn from as it is configured: too large for it or for the
        memory there is, or without a column that it needs.

        Raises:
            PermanentError: naming the limit, and what to do. A run leaves the component out.
        """

    @abstractmethod
    def _state(self) -> dict[str, np.ndarray]: ...

    @abstractmethod
    def _restore(self, state: dict[str, np.ndarray]) -> None: ...

    def save(self, path: Path) -> None:
        """Write the fitted component to the directory `path`: JSON, safetensors and Parquet, whole
        or not at all."""
        import numpy as np
        import polars as pl
        from safetensors.numpy import save_file

        state = self._state()
        texts = {key: array for key, array in state.items() if array.dtype.kind in "UO"}
        arrays = {
            key: np.ascontiguousarray(array) for key, array in state.items() if key not in texts
        }
        with whole_directory(path) as draft:
            write_json(
                draft / _METADATA,
                {
                    "format": FORMAT,
                    "name": self.name(),
                    "seed": self.seed,
                    "config": self.config.model_dump(mode="json"),
                    "texts": sorted(texts),
                },
            )
            save_file(arrays, draft / _ARRAYS)
            # safetensors makes the file private; other accounts must be able to read models
            (draft / _ARRAYS).chmod(0o644)
            for key, array in texts.items():
                pl.DataFrame(
                    {key: array.astype(str).tolist()}, schema={key: pl.String}
                ).write_parquet(draft / f"{key}.parquet")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read back what `save` wrote.

        Raises:
            InputError: the directory does not hold a component of this class.
        """
        import polars as pl
        from safetensors.numpy import load_file

        try:
            metadata = read_json(path / _METADATA)
        except (OSError, ValueError) as error:
            raise InputError(
                f"there is no readable {cls.name()} here",
                where=str(path),
                fix="train it again, or check the path",
            ) from error
        if metadata["name"] != cls.name() or metadata["format"] != FORMAT:
            raise InputError(
                f"expected a {cls.name()} of format {FORMAT}, found a {metadata['name']} of format "
                f"{metadata['format']}",
                where=str(path),
                fix="load it with augrec.core.component.load, or train it again with this version",
            )
        # a component that an earlier version stored keeps its values under the keys' new names
        renamed = cls.Config.renamed
        config = {renamed.get(key, key): value for key, value in metadata["config"].items()}
        component = cls(config, seed=metadata["seed"])
        state = dict(load_file(path / _ARRAYS))
        for key in metadata["texts"]:
            state[key] = pl.read_parquet(path / f"{key}.parquet")[key].to_numpy().astype(str)
        component._restore(state)
        return component


T = TypeVar("T", bound=Configured)
C = TypeVar("C", bound=Component)


def available(package: str) -> list[str]:
    """Names of the components in a package such as "augrec.recommenders": every public module but
    those of `SHARED`; nothing is imported."""
    modules = pkgutil.iter_modules(importlib.import_module(package).__path__)
    return sorted(m.name for m in modules if m.name not in SHARED and not m.name.startswith("_"))


def find(package: str, name: str, kind: type[T]) -> type[T]:
    """The component class called `name` in `package`.

    Raises:
        ConfigError: there is none; the message lists those there are.
    """
    if name not in available(package):
        raise ConfigError(
            f"there is no {kind.__name__.lower()} called {name!r}",
            where="params.yaml",
            fix=closest(name, available(package)),
        )
    module = importlib.import_module(f"{package}.{name}")
    classes = [
        thing
        for thing in vars(module).values()
        if isinstance(thing, type)
        and issubclass(thing, kind)
        and thing.__module__ == module.__name__
    ]
    if len(classes) != 1:
        raise ConfigError(
            f"{module.__name__} must define exactly one {kind.__name__}, it defines {len(classes)}",
            where=str(module.__file__),
            fix="keep one component in each file",
        )
    return classes[0]


def load(package: str, path: Path, kind: type[C]) -> C:
    """Load a saved component whose class is not known beforehand."""
    if not (path / _METADATA).exists():
        raise InputError(
            f"there is no {kind.__name__.lower()} here", where=str(path), fix="train it first"
        )
    return find(package, read_json(path / _METADATA)["name"], kind).load(path)
