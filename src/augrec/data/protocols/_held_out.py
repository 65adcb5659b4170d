"""Choose held-out users, and number the rows of each user."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
import polars as pl

from augrec.core.errors import RefusedError
from augrec.data.columns import Columns as C
from augrec.data.protocols.base import ROLE


def by_digest(names: pl.Series, seed: int, purpose: str) -> pl.Series:
    """The names in a pseudo-random order. The relative order of two names does not depend on the
    other names, nor on the order of the input."""
    key = hashlib.blake2b(f"{seed} {purpose}".encode(), digest_size=16).digest()
    digests = [hashlib.blake2b(name.encode(), digest_size=8, key=key).hexdigest() for name in names]
    return pl.DataFrame({"name": names, "digest": digests}).sort("digest", "name")["name"]


def choose_users(users: pl.Series, share: float, n_users: int, seed: int, role: str) -> pl.Series:
    """At most `share` × `n_users` of `users`, in the order of `by_digest`.

    Raises:
        RefusedError: that is no user.
    """
    most = int(share * n_users)
    if users.is_empty() or most == 0:
        raise RefusedError(
            f"no user can be held out for {role}: {len(users):,} of {n_users:,} users are "
            f"candidates, at most {most:,} may be held out",
            where=f"prepare.split.max_{role}_users in params.yaml",
            fix="use data with more users (at least ten) or a longer period, or raise that share",
        )
    return by_digest(users, seed, role).head(most)


def roles(users: Mapping[str, pl.Series]) -> pl.DataFrame:
    """Convert role -> users to a table: user_id, role; sorted by user."""
    return pl.DataFrame(
        {
            C.USER: [user for part in users.values() for user in part],
            ROLE: [role for role, part in users.items() for _ in range(len(part))],
        },
        schema={C.USER: pl.String, ROLE: pl.String},
    ).sort(C.USER)


def without(table: pl.DataFrame, held_out: pl.DataFrame) -> pl.DataFrame:
    """The rows of all users who are not held out."""
    return table.join(held_out, on=C.USER, how="anti", maintain_order="left")


def positions(table: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """(position, length) for each row of a table sorted by user, int64 (n,) each: its position
    among the rows of its user, and the number of these rows."""
    run = table[C.USER].rle_id().to_numpy()
    lengths = np.bincount(run) if len(run) else np.zeros(0, np.int64)
    starts = np.cumsum(lengths) - lengths
    return np.arange(len(run)) - starts[run], lengths[run]
