"""The samples of a run's generators, as the operations of a policy ask for them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import polars as pl

from augrec.core.errors import ConfigError
from augrec.stages._inputs import read_table

SYNTHETIC: Final = Path("data/synthetic")


class Samples:
    """Reads the samples and further tables that operations ask for, and records their generators.

    Args:
        generators: those that take part in the run.
        policy: for messages.
    """

    def __init__(self, generators: list[str], policy: str) -> None:
        self.generators, self.policy = generators, policy
        self.used: set[str] = set()
        self._read: dict[Path, pl.DataFrame] = {}

    def __call__(self, generator: str) -> pl.DataFrame:
        """The sample of a generator.

        Raises:
            ConfigError: the generator takes no part in this run, so its sample may be old or
                absent.
            InputError: the sample is missing or not whole.
        """
        return self._table(generator, "interactions")

    def sample_table(self, generator: str, name: str) -> pl.DataFrame | None:
        """Another table of the generator's, such as "realness"; None where it makes none."""
        if not (SYNTHETIC / generator / f"{name}.parquet").exists():
            return None
        return self._table(generator, name)

    def _table(self, generator: str, name: str) -> pl.DataFrame:
        if generator not in self.generators:
            raise ConfigError(
                f"the policy {self.policy} uses the generator {generator!r}, which takes no part "
                "in this run",
                where="params.yaml, run.generators",
                fix=f"add {generator} to run.generators, or take {self.policy} out of run.policies",
            )
        self.used.add(generator)
        path = SYNTHETIC / generator / f"{name}.parquet"
        if path not in self._read:
            self._read[path] = read_table(path, "synthesize")
        return self._read[path]
