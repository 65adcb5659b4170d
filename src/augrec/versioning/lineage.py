"""The lineage of synthetic datasets, read from the commits of the runs: which generator, data and
run made each one, and which models used it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from augrec.core.policies import steps_of
from augrec.core.settings import Settings
from augrec.versioning import git
from augrec.versioning.publish import TAG_PREFIX, tags

_SYNTHETIC = "data/synthetic/"


@dataclass(frozen=True)
class SyntheticDataset:
    """One synthetic dataset, identified by its content.

    Attributes:
        digest: DVC's hash of the sample.
        generator: the generator's name.
        generator_digest: hash of the trained generator.
        training_digest: hash of the generator's training set.
        raw_digest: hash of the raw data from which the training set was made.
        first_run: the run that made it.
        runs: all runs that contain it.
        models: "recommender-policy" of the models trained on it.
    """

    digest: str
    generator: str
    generator_digest: str
    training_digest: str
    raw_digest: str
    first_run: str
    runs: list[str]
    models: list[str]


def synthetic_datasets(settings: Settings) -> list[SyntheticDataset]:
    """Every synthetic dataset of every published run, oldest first."""
    found: dict[str, SyntheticDataset] = {}
    for tag in tags(settings):
        run = tag.removeprefix(TAG_PREFIX)
        lock = yaml.safe_load(git.git(settings.home, "show", f"{tag}:dvc.lock"))["stages"]
        params = yaml.safe_load(git.git(settings.home, "show", f"{tag}:params.yaml"))
        for stage, entry in lock.items():
            if stage.startswith("synthesize@"):
                _add(found, stage.partition("@")[2], entry, lock, params, run)
    return list(found.values())


def _add(
    found: dict[str, SyntheticDataset],
    generator: str,
    entry: Mapping[str, Any],
    lock: Mapping[str, Any],
    params: Mapping[str, Any],
    run: str,
) -> None:
    digest = _hash(entry["outs"], f"{_SYNTHETIC}{generator}")
    models = _models_using(generator, lock, params)
    if earlier := found.get(digest):
        earlier.runs.append(run)
        earlier.models.extend(model for model in models if model not in earlier.models)
        return
    found[digest] = SyntheticDataset(
        digest=digest,
        generator=generator,
        generator_digest=_hash(entry["deps"], f"models/generators/{generator}"),
        training_digest=_hash(entry["deps"], "data/training_set"),
        raw_digest=_hash(lock["validate"]["deps"], "data/raw"),
        first_run=run,
        runs=[run],
        models=models,
    )


def _models_using(generator: str, lock: Mapping[str, Any], params: Mapping[str, Any]) -> list[str]:
    policies = {
        policy
        for policy, written in params["policies"].items()
        if any(_uses(options, generator) for step in steps_of(written) for options in step.values())
    }
    trained = (stage.partition("@")[2] for stage in lock if stage.startswith("train@"))
    return sorted(member for member in trained if member.partition("-")[2] in policies)


def _uses(options: Any, generator: str) -> bool:
    """Whether an operation of a policy uses the generator's sample, or chooses among samples that
    include it."""
    if not isinstance(options, dict):
        return False
    return options.get("sample") == generator or generator in (options.get("samples") or ())


def _hash(entries: list[Mapping[str, Any]], path: str) -> str:
    return next((entry["md5"] for entry in entries if entry["path"] == path), "")
