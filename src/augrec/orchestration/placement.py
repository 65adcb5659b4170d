"""Where a task runs: executor, queue and pool of each kind of work, as the profile sets them.

| kind of work | tasks |
|---|---|
| project | what needs the project's own folder: raw data, tags, reports |
| cheap | stages that take seconds to minutes |
| training | training of recommenders |
| gpu | training of generators |

AUGREC_EXECUTOR_GPU, AUGREC_QUEUE_GPU and AUGREC_POOL_GPU place the last kind, and so on. What is
not set is as Airflow has it by default.
"""

from __future__ import annotations

import os
from typing import Final

from augrec.core.errors import ConfigError

WORK: Final = ("project", "cheap", "training", "gpu")
"""The kinds of work."""


def placed(work: str) -> dict[str, str]:
    """The arguments `executor`, `queue` and `pool` of a task of some kind, as far as they are set.

    Raises:
        ConfigError: there is no such kind.
    """
    if work not in WORK:
        raise ConfigError(
            f"there is no work of the kind {work!r}",
            where="meta in dvc.yaml",
            fix=f"write one of {', '.join(WORK)}",
        )
    named = {
        argument: os.environ.get(f"AUGREC_{argument.upper()}_{work.upper()}")
        for argument in ("executor", "queue", "pool")
    }
    return {argument: value for argument, value in named.items() if value}
