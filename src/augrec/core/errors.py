"""Every error augrec raises on purpose.

::

    AugrecError
    ├── PermanentError       trying again cannot help; a task fails at once
    │   ├── InputError       a file, table or row is not what it must be
    │   ├── ConfigError      params.yaml, the trigger form or the environment is wrong
    │   └── RefusedError     a limit, an audit or the gate said no; the champion does not change
    └── TransientError       the same call may succeed in a minute; Airflow retries it
        └── UnreachableError a server does not answer, or a database is locked
"""

from __future__ import annotations

import json

PERMANENT_EXIT = 2
TRANSIENT_EXIT = 75  # EX_TEMPFAIL of sysexits.h


class AugrecError(Exception):
    """Says what is wrong, where, and what to do about it.

    Args:
        what: one sentence: what is wrong.
        where: the file, column, task or parameter it was found in.
        fix: what the reader can do now.
    """

    exit_code = PERMANENT_EXIT

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        self.what, self.where, self.fix = what, where, fix
        super().__init__(what, where, fix)

    def __str__(self) -> str:
        lines = [self.what]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.fix:
            lines.append(f"  fix:   {self.fix}")
        return "\n".join(lines)

    def to_json(self) -> str:
        """The error as one JSON object, for a parent process to read back with `from_json`."""
        return json.dumps(
            {"kind": type(self).__name__, "what": self.what, "where": self.where, "fix": self.fix}
        )


class PermanentError(AugrecError):
    """Trying again cannot help."""


class InputError(PermanentError):
    """A file, table or row is not what it must be."""


class ConfigError(PermanentError):
    """params.yaml, the trigger form or the environment asks for something impossible."""


class RefusedError(PermanentError):
    """A limit, an audit or the gate said no."""


class TransientError(AugrecError):
    """The same call may succeed later."""

    exit_code = TRANSIENT_EXIT


class UnreachableError(TransientError):
    """A server does not answer, or a database is locked."""


def from_json(text: str) -> AugrecError:
    """Rebuild an error that `AugrecError.to_json` wrote."""
    fields = json.loads(text)
    kinds = {
        kind.__name__: kind
        for kind in (
            PermanentError,
            InputError,
            ConfigError,
            RefusedError,
            TransientError,
            UnreachableError,
        )
    }
    kind = kinds.get(fields["kind"], PermanentError)
    return kind(fields["what"], where=fields["where"], fix=fields["fix"])
