"""What the pages of the documentation say is so: links, commands, options, settings, Python."""

from __future__ import annotations

import doctest
import io
import json
import re
import shlex
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

import pages
from augrec.augmentation.base import Policy
from augrec.cli.app import cli
from augrec.cli.runs import FIELDS
from augrec.core.config import BaseConfig, parse
from augrec.core.policies import steps_of
from augrec.data.config import ImportConfig, PrepareConfig
from augrec.evaluation.config import GateConfig
from augrec.generators import base as generators
from augrec.orchestration.import_data import SourceConfig
from augrec.recommenders import base as recommenders
from augrec.recommenders._taste.tastes import TastesConfig
from augrec.serving.config import ServingConfig
from augrec.stages.synthesize import SynthesisConfig
from augrec.validation.config import ValidationConfig
from pages import HOME, PAGES, Block

PARAMS = yaml.safe_load((HOME / "params.yaml").read_text(encoding="utf-8"))
FOLDERS = ("benchmarks/", "dags/", "docs/", "feature_repo/", "infra/", "src/", "tests/")


def by_page(page: Path) -> str:
    return str(page.relative_to(HOME))


def test_the_readme_is_short() -> None:
    assert len((HOME / "README.md").read_text(encoding="utf-8").split()) <= 1000


def test_every_page_of_docs_is_reached_from_the_readme() -> None:
    linked = {(HOME / target.partition("#")[0]).resolve() for target in pages.links(PAGES[0])}
    assert set((HOME / "docs").glob("*.md")) <= linked


@pytest.mark.parametrize("page", PAGES, ids=by_page)
def test_links_lead_to_files_and_headings_that_exist(page: Path) -> None:
    broken = []
    for target in pages.links(page):
        if target.startswith(("http:", "https:")):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in pages.anchors(file)):
            broken.append(target)
    assert not broken


@pytest.mark.parametrize("page", PAGES, ids=by_page)
def test_files_that_are_named_exist(page: Path) -> None:
    named = [code for code in pages.inline_code(page) if code.startswith(FOLDERS)]
    files = {code.partition("::")[0] for code in named if not re.search(r"[<{*$ ]|NAME", code)}
    printed = {
        one.note.removeprefix("file: ") for one in pages.blocks() if one.note.startswith("file: ")
    }
    assert not {one for one in files - printed if not (HOME / one).exists()}


def shell_lines() -> list[tuple[str, str]]:
    """(page, line) of each command: of sh blocks, of lines "$ …" in text, and of inline code."""
    found = []
    for block in pages.blocks():
        lines = block.text.replace("\\\n", " ").splitlines()
        if block.language == "text":
            lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        elif block.language != "sh":
            continue
        found += [(by_page(block.page), line) for line in lines]
    for page in PAGES:
        found += [(by_page(page), code) for code in pages.inline_code(page)]
    return [(page, line.partition("  #")[0].strip()) for page, line in found]


def commands(*words: str) -> list[Any]:
    """The arguments of every printed call of a program, as a test's parameters."""
    found = {}
    for page, line in shell_lines():
        try:
            parts = shlex.split(line)
        except ValueError:
            continue
        while parts and re.fullmatch(r"[A-Z_]+=.*", parts[0]):
            parts = parts[1:]
        if parts and parts[0].removeprefix(".venv/bin/") == words[0]:
            parts[0] = words[0]
            if tuple(parts[: len(words)]) == words:
                found[tuple(parts[len(words) :])] = page
    return [pytest.param(list(args), id=" ".join(args)) for args in found]


@pytest.mark.parametrize("args", commands("augrec"))
def test_augrec_has_the_commands_and_options_that_are_printed(args: list[str]) -> None:
    command, rest = typer.main.get_command(cli), [one for one in args if one != "--help"]
    while rest and rest[0] in getattr(command, "commands", {}):
        command = command.commands[rest.pop(0)]
    if hasattr(command, "commands"):
        assert set(rest) <= {option for param in command.params for option in param.opts}
    else:
        command.make_context("augrec", list(rest))  # raises where it has no such option
    for option, value in pairwise(rest):
        if option == "-p" and value != "colour=red":
            assert value.partition("=")[0] in FIELDS


@pytest.mark.parametrize("args", commands("make"))
def test_make_has_the_targets_that_are_printed(args: list[str]) -> None:
    targets = re.findall(r"^(\w+):", (HOME / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(args) <= set(targets)


@pytest.mark.parametrize("args", [*commands("python", "-m"), *commands("dvc", "repro")])
def test_modules_and_stages_that_are_printed_exist(args: list[str]) -> None:
    if not args or args[0] == "pytest":
        return
    module = args[0].replace(".", "/")
    stages = yaml.safe_load((HOME / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    assert (
        (HOME / f"{module}.py").exists()
        or (HOME / "src" / f"{module}.py").exists()
        or args[0].partition("@")[0] in stages
    )


@pytest.mark.parametrize("page", PAGES, ids=by_page)
def test_tests_that_are_named_exist(page: Path) -> None:
    named = [code.split("::") for code in pages.inline_code(page) if "::test_" in code]
    missing = [
        test
        for file, test in named
        if f"def {test}(" not in (HOME / file).read_text(encoding="utf-8")
    ]
    assert missing == []


@pytest.mark.parametrize("args", commands("python", "-m", "pytest"))
def test_test_files_that_are_printed_exist(args: list[str]) -> None:
    assert all((HOME / one).exists() for one in args if one.endswith(".py"))


@pytest.mark.parametrize("block", pages.blocks("json"), ids=str)
def test_json_that_is_printed_is_json(block: Block) -> None:
    assert json.loads(block.text)


CONFIGS: Mapping[str, type[BaseConfig]] = {
    "data.import": ImportConfig,
    "data.source": SourceConfig,
    "gate": GateConfig,
    "prepare": PrepareConfig,
    "serving": ServingConfig,
    "synthesis": SynthesisConfig,
    "taste_groups": TastesConfig,
    "validation": ValidationConfig,
}
"""Sections of params.yaml and their typed configs."""


@pytest.mark.parametrize("block", pages.blocks("yaml"), ids=str)
def test_settings_that_are_printed_are_accepted(block: Block) -> None:
    for section, values in yaml.safe_load(block.text).items():
        if section in ("generators", "recommenders"):
            kinds = generators if section == "generators" else recommenders
            for name, config in values.items():
                kinds.find(name)(config)
        elif section == "policies":
            for name, written in values.items():
                Policy(name, steps_of(written), seed=0)
        elif section == "run":
            assert values.keys() <= PARAMS["run"].keys()
            printed = {Path(one.note).stem for one in pages.blocks() if "file: " in one.note}
            known = {*recommenders_available(), *printed}
            assert set(values.get("recommenders", [])) <= known
        elif section == "data":
            for part, inner in values.items():
                accepted(f"data.{part}", PARAMS["data"].get(part), inner)
        else:
            accepted(section, PARAMS.get(section), values)


def recommenders_available() -> list[str]:
    from augrec.core import component

    return component.available("augrec.recommenders")


def accepted(section: str, whole: Mapping[str, Any] | None, values: Mapping[str, Any]) -> None:
    """The section of params.yaml with these values in it is valid."""
    parse(CONFIGS[section], {**(whole or {}), **values}, section)


@pytest.mark.parametrize("block", pages.blocks("python"), ids=str)
def test_python_that_is_printed_runs(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if block.note.startswith("not run: "):
        pytest.skip(block.note)
    if block.note.startswith("file: "):
        pytest.skip("a whole file: tests/integration/test_recipes.py runs it in a project")
    monkeypatch.chdir(tmp_path)
    session = doctest.DocTestParser().get_doctest(block.text, {}, str(block), None, 0)
    assert session.examples, "write it as a session, >>> and its output, or say why it is not run"
    report = io.StringIO()
    doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(session, out=report.write)
    assert not report.getvalue()
