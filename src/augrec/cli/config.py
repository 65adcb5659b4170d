"""`augrec config`: what can be set, what it means, and what this project sets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.table import Table
from rich.text import Text

from augrec.cli.terminal import console
from augrec.core import settings as settings_

if TYPE_CHECKING:
    from augrec.core.config import BaseConfig
    from augrec.core.describe import Key

ROOMS: Final = {
    "generators": "augrec.generators",
    "recommenders": "augrec.recommenders",
    "augmentation": "augrec.augmentation",
    "selectors": "augrec.augmentation._selectors",
    "protocols": "augrec.data.protocols",
}
"""Section -> the package whose modules are its components."""
TITLES: Final = {
    "generators": "Generators, for run.generators",
    "recommenders": "Recommenders, for run.recommenders",
    "augmentation": "Operations, the steps of a policy",
    "selectors": "Selectors, for `choose` and `weigh` of the operation mix",
    "protocols": "Protocols, for prepare.split.protocol",
}


@dataclass(frozen=True)
class _Entry:
    """Something with keys: a component or a section of params.yaml.

    Attributes:
        name: dotted, e.g. "recommenders.ease" or "prepare".
        config: its class.
        given: what params.yaml sets of it; None: it is configured elsewhere, as an operation is in
            each policy.
    """

    name: str
    config: type[BaseConfig]
    given: Mapping[str, Any] | None


def config(
    name: Annotated[
        str, typer.Argument(help="A component, such as ease, or a section, such as gate.")
    ] = "",
    changed: Annotated[
        bool, typer.Option("--changed", help="Only what this project sets differently.")
    ] = False,
) -> None:
    """Print every key of a component or section: value, default, range and meaning.

    Without a name it lists the components and sections there are.

      $ augrec config ease
      $ augrec config recommenders.cfgan
      $ augrec config prepare.split
      $ augrec config --changed
    """
    from augrec.core.config import read_params

    params = read_params(settings_.load().home)
    if changed:
        console.print(_changed(params, name))
    elif name:
        for number, entry in enumerate(_found(params, name)):
            if number:
                console.print()
            console.print(_keys(entry, name))
            _tuning(params, entry)
    else:
        _list(params)


def _list(params: Mapping[str, Any]) -> None:
    from augrec.core.component import available
    from augrec.core.describe import summary_of

    run = _chosen(params)
    for room, package in ROOMS.items():
        table = _table(TITLES[room])
        for name in available(package):
            part = name in run.get(room, [])
            table.add_row(Text(name, "bold" if part else ""), Text(summary_of(package, name)))
        console.print(table)
        console.print()
    table = _table("Sections of params.yaml")
    for name, kind in _sections().items():
        words = (kind.__doc__ or "").partition("\n\n")[0]
        table.add_row(name, Text(" ".join(words.split())))
    console.print(table)
    console.print("Bold: takes part in a run. `augrec config NAME` prints its keys.", style="dim")


def _chosen(params: Mapping[str, Any]) -> dict[str, list[str]]:
    """What takes part in a run, by room; a room that is `auto` is absent while there is no data."""
    from augrec.core.config import AUTO, section
    from augrec.core.errors import InputError
    from augrec.stages.auto import choose
    from augrec.stages.planning import overridden

    try:
        choice = choose(params, settings_.load().home / "data" / "raw")
        params = overridden(params, choice.values)
    except InputError:
        console.print("auto under `run` is chosen once there is data.", style="dim")
    run = section(params, "run")
    return {room: run[room] for room in ROOMS if run.get(room) and run[room] != AUTO}


def _table(title: str) -> Table:
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=None,
        pad_edge=False,
        show_header=False,
    )
    table.add_column(no_wrap=True, min_width=18)
    table.add_column(overflow="fold")
    return table


def _found(params: Mapping[str, Any], name: str) -> list[_Entry]:
    """The components and sections of a name; several where a name is used in more than one room.

    Raises:
        ConfigError: there is none.
    """
    from augrec.core.component import available
    from augrec.core.config import closest, section
    from augrec.core.errors import ConfigError

    names = {f"{room}.{one}": one for room, package in ROOMS.items() for one in available(package)}
    sections = _sections()
    found = [_component(params, dotted) for dotted, one in names.items() if name in (dotted, one)]
    found += [
        _Entry(dotted, kind, section(params, dotted))
        for dotted, kind in sections.items()
        if dotted == name or dotted.startswith(f"{name}.") or name.startswith(f"{dotted}.")
    ]
    if not found:
        raise ConfigError(
            f"there is no component or section called {name!r}",
            where="augrec config",
            fix=closest(name, [*dict.fromkeys(names.values()), *sections]),
        )
    return found


def _component(params: Mapping[str, Any], dotted: str) -> _Entry:
    from augrec.core import component
    from augrec.core.component import Configured
    from augrec.core.config import section
    from augrec.data.config import SplitConfig

    room, _, name = dotted.partition(".")
    if room == "protocols":
        return _Entry(dotted, SplitConfig, section(params, "prepare.split"))
    kind = component.find(ROOMS[room], name, Configured)
    given = section(params, dotted) if room in ("generators", "recommenders") else None
    return _Entry(dotted, kind.Config, given)


def _sections() -> dict[str, type[BaseConfig]]:
    from augrec.data.config import ImportConfig
    from augrec.orchestration.import_data import SourceConfig
    from augrec.serving.config import ServingConfig
    from augrec.stages._sections import SECTIONS

    return {
        **SECTIONS,
        "data.source": SourceConfig,
        "data.import": ImportConfig,
        "serving": ServingConfig,
    }


def _keys(entry: _Entry, asked: str) -> Table:
    """A row for each key: its value here, and its meaning."""
    from augrec.core.describe import REQUIRED

    table = Table(
        title=entry.name, title_justify="left", title_style="bold", box=None, pad_edge=False
    )
    table.add_column("key", no_wrap=True)
    table.add_column("value" if entry.given is not None else "default", overflow="fold", ratio=1)
    table.add_column("meaning", overflow="fold", ratio=3)
    values = _flat(entry.given or {})
    for key in _shown(entry, asked):
        default = "required" if key.default is REQUIRED else _text(key.default)
        value = Text(default)
        if key.name in values and _text(values[key.name]) != default:
            value = Text(_text(values[key.name]), "bold")
            if key.default is not REQUIRED:
                value.append(f"\ndefault {default}", "not bold dim")
        meaning = Text(key.meaning)
        meaning.append(("\n" if key.meaning else "") + key.takes, "dim")
        table.add_row(key.name, value, meaning)
    return table


def _shown(entry: _Entry, asked: str) -> Iterator[Key]:
    """The keys that were asked for: all, those of a protocol, or those below a dotted name."""
    from augrec.core.component import available
    from augrec.core.describe import keys_of

    room, _, name = entry.name.partition(".")
    below = asked.removeprefix(f"{entry.name}.") if asked.startswith(f"{entry.name}.") else ""
    for key in keys_of(entry.config):
        if below and key.name != below and not key.name.startswith(f"{below}."):
            continue
        concerns = key.meaning.partition(":")[0].split(", ")
        others = room == "protocols" and set(concerns) <= set(available(ROOMS["protocols"]))
        if not (others and name not in concerns):
            yield key


def _tuning(params: Mapping[str, Any], entry: _Entry) -> None:
    """What is searched of a recommender, and tried without a search."""
    if not entry.name.startswith("recommenders."):
        return
    from augrec.core.config import parse, section
    from augrec.recommenders.base import find
    from augrec.tuning.config import TuningConfig, grid_of, presets_of, space_of

    own = find(entry.name.partition(".")[2])(section(params, entry.name))
    tuning = parse(TuningConfig, section(params, "tuning"), "tuning")
    space = space_of(tuning, type(own))
    table = _table("What is searched")
    for key, dimension in space.items():
        table.add_row(key, Text(dimension.words))
    for key, dimension in grid_of(tuning, own).items():
        table.add_row(key, Text(f"without a search one of {dimension.words}"))
    for preset, values in presets_of(tuning, type(own), space).items():
        table.add_row(f"preset {preset}", Text(_text(values)))
    if table.row_count:
        console.print()
        console.print(table)


def _changed(params: Mapping[str, Any], name: str) -> Table:
    """A row for each key whose value is not its default."""
    from augrec.core.config import section

    components = [
        _component(params, f"{room}.{one}")
        for room in ("generators", "recommenders")
        for one in section(params, room)
    ]
    sections = [
        _Entry(dotted, kind, section(params, dotted)) for dotted, kind in _sections().items()
    ]
    entries = _found(params, name) if name else components + sections
    table = Table(box=None, pad_edge=False)
    for column in ("key", "here", "default"):
        table.add_column(column, overflow="fold")
    for key, value, default in _differences(entries):
        table.add_row(key, Text(_text(value), "bold"), _text(default))
    table.caption = "Policies, and keys that have no default, are left out."
    table.caption_justify = "left"
    return table


def _differences(entries: Iterable[_Entry]) -> Iterator[tuple[str, Any, Any]]:
    from augrec.core.config import parse
    from augrec.core.describe import REQUIRED, keys_of

    for entry in entries:
        if not entry.given:
            continue
        values = _flat(parse(entry.config, entry.given, entry.name).model_dump(mode="json"))
        for key in keys_of(entry.config):
            value = values.get(key.name, key.default)
            if key.default is not REQUIRED and _text(value) != _text(key.default):
                yield f"{entry.name}.{key.name}", value, key.default


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings by dotted keys, the mappings themselves too."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found[f"{prefix}{key}"] = value
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{key}.")
    return found


def _text(value: Any) -> str:
    """A value as params.yaml writes it."""
    import json

    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:g}"
    return json.dumps(value, ensure_ascii=False, default=str)
