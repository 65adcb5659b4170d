"""API keys: only their hashes are stored, and they are compared in constant time.

| variable | meaning |
|---|---|
| AUGREC_API_KEYS | SHA-256 hashes of the keys, hexadecimal, separated by commas |
| AUGREC_API_KEYS_FILE | a file with one hash per line; `#` starts a comment |

If there is any key, every call below /v1 needs one, in the header `x-api-key` or
`authorization: Bearer …`. `augrec serve --new-key` creates a key and prints its hash.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path

from augrec.core.errors import ConfigError

_HASH = re.compile(r"[0-9a-f]{64}")


class ApiKeys:
    """The valid keys; without any, every request is admitted."""

    def __init__(self, hashes: list[str]) -> None:
        self._hashes = [bytes.fromhex(one) for one in hashes]

    def __len__(self) -> int:
        return len(self._hashes)

    def admits(self, key: str | None) -> bool:
        """Whether a key is valid."""
        if not self._hashes:
            return True
        if not key:
            return False
        given = hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
        # always compares all, so that the time does not depend on the key
        return sum(hmac.compare_digest(given, known) for known in self._hashes) > 0


def read_keys(environment: Mapping[str, str] = os.environ) -> ApiKeys:
    """The keys in the environment.

    Raises:
        ConfigError: the file cannot be read, or an entry is not a hash (it could be a key, so the
            message does not contain it).
    """
    entries = environment.get("AUGREC_API_KEYS", "").split(",")
    where = "AUGREC_API_KEYS"
    if named := environment.get("AUGREC_API_KEYS_FILE"):
        where = f"{where}, {named}"
        try:
            lines = Path(named).read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise ConfigError(
                "the file of API keys cannot be read", where=named, fix="check AUGREC_API_KEYS_FILE"
            ) from error
        entries += [line.partition("#")[0] for line in lines]
    hashes = [entry.strip().lower() for entry in entries if entry.strip()]
    if wrong := [entry for entry in hashes if not _HASH.fullmatch(entry)]:
        raise ConfigError(
            f"{len(wrong)} of {len(hashes)} entries are not SHA-256 hashes",
            where=where,
            fix="`augrec serve --new-key` creates a key and prints its hash; put the hash here, "
            "give the key to the caller",
        )
    return ApiKeys(hashes)


def new_key() -> tuple[str, str]:
    """A new random key and its hash."""
    key = secrets.token_urlsafe(32)
    return key, hashlib.sha256(key.encode()).hexdigest()
