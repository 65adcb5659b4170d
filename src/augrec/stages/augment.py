"""Build a policy's training set: data/training_set, data/synthetic and perhaps the champion -> data/augmented/<policy>."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path

import polars as pl
from pydantic import Field

from augrec.augmentation.base import Ingredients, Policy
from augrec.data.columns import Columns as C
from augrec.data.config import Section, parse
from augrec.errors import ConfigError, InputError
from augrec.files import digest, whole_directory, write_json, write_parquet
from augrec.seeds import derive
from augrec.stages._training_set import read_table, read_training_interactions
from augrec.stages.runner import read_params, run

CHAMPION = Path("models/champion")
"""The model that `run.champion` in params.yaml names; `retrain` writes both, and DVC tracks the folder."""

log = logging.getLogger(__name__)


class AugmentationConfig(Section):
    """The section `augmentation` of params.yaml."""

    max_ratio: float = Field(2.0, ge=0.0)
    """No policy may add more users than this for each real one."""


class Samples:
    """Reads the samples that operations ask for, and remembers which.

    Args:
        generators: those that take part in the run.
        policy: for messages.
    """

    def __init__(self, generators: list[str], policy: str) -> None:
        self.generators, self.policy = generators, policy
        self.used: dict[str, pl.DataFrame] = {}

    def __call__(self, generator: str) -> pl.DataFrame:
        """The sample of a generator.

        Raises:
            ConfigError: the generator takes no part in this run, so its sample may be old or absent.
            InputError: the sample is missing or not whole.
        """
        if generator not in self.generators:
            raise ConfigError(
                f"the policy {self.policy} uses the generator {generator!r}, which takes no part in this run",
                where="params.yaml, run.generators",
                fix=f"add {generator} to run.generators, or take {self.policy} out of run.policies",
            )
        if generator not in self.used:
            path = Path("data/synthetic") / generator / "interactions.parquet"
            self.used[generator] = read_table(path, "synthesize")
        return self.used[generator]


def main(name: str) -> None:
    """Build the training set of the policy called `name`."""
    params = read_params()
    config = parse(AugmentationConfig, params.get("augmentation") or {}, "augmentation")
    policies = params.get("policies") or {}
    if name not in policies:
        raise ConfigError(
            f"there is no policy called {name!r}",
            where="params.yaml, policies",
            fix=f"use one of: {', '.join(policies)}",
        )
    policy = Policy(name, policies[name] or [], seed=derive(params["seed"], "augment"))
    real = read_training_interactions()
    taking_part = params.get("run") or {}
    champion = taking_part.get("champion") if policy.continues_champion else None
    samples = Samples(taking_part.get("generators") or [], name)
    training = policy.apply(Ingredients(real, samples, config.max_ratio))
    n_real = real[C.USER].n_unique()
    facts = {
        "policy": name,
        "kind": policy.kind,
        "n_real_users": n_real,
        "n_added_users": training[C.USER].n_unique() - n_real,
        "n_rows": len(training),
        "samples": sorted(samples.used),
        "start": "champion" if policy.continues_champion else None,
        "champion": champion,
    }
    with whole_directory(Path("data/augmented") / name) as draft:
        write_parquet(draft / "interactions.parquet", training)
        write_json(draft / "policy.json", facts)
        if champion is not None:
            _copy_champion(champion, draft / "champion")
    log.info("%s: %d real users and %d more, %d rows", name, n_real, facts["n_added_users"], len(training))


def _copy_champion(champion: Mapping[str, str], target: Path) -> None:
    """Put the model that `run.champion` names, by version and digest, beside the rows it is to be trained on."""
    if not CHAMPION.is_dir() or digest(CHAMPION) != champion["digest"]:
        raise InputError(
            f"this is not version {champion['version']}, which run.champion in params.yaml names",
            where=str(CHAMPION),
            fix="`dvc pull models/champion.dvc` brings it; or set run.champion to null: training in full",
        )
    shutil.copytree(CHAMPION, target)


if __name__ == "__main__":
    run(main)
