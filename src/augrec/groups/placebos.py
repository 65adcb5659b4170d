"""Placebos for groups: members exchanged between groups, and groups of strangers. What wins with
them as well owes nothing to who is in a group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from augrec.core.errors import InputError
from augrec.core.seeds import rng

Groups = Mapping[str, Sequence[str]]
"""{group id: the ids of its members}."""


def shuffled(groups: Groups, seed: int) -> dict[str, list[str]]:
    """The same groups with members exchanged between groups of equal size; a group's own choices
    stay its own. A size that only one group has keeps its members. Nobody is in a group twice."""
    random = rng(seed, "shuffled members")
    found: dict[str, list[str]] = {}
    for size in sorted({len(members) for members in groups.values()}):
        same = [name for name in sorted(groups) if len(groups[name]) == size]
        members = [list(groups[name]) for name in same]
        for place in range(size):
            order = random.permutation(len(same))
            column = [members[row][place] for row in order]
            for row, user in enumerate(column):
                members[row][place] = user
        found |= dict(zip(same, members, strict=True))
    return {name: _distinct(found[name], groups, random) for name in groups}


def strangers(groups: Groups, users: Sequence[str], seed: int) -> dict[str, list[str]]:
    """Groups of the same sizes of users drawn at random.

    Raises:
        InputError: a group has more members than there are users.
    """
    random, everyone = rng(seed, "random groups"), sorted(set(users))
    if any(len(members) > len(everyone) for members in groups.values()):
        raise InputError(
            f"a group has more members than the {len(everyone)} users to draw from",
            where="groups",
            fix="give more users",
        )
    return {
        name: [everyone[row] for row in random.choice(len(everyone), len(members), replace=False)]
        for name, members in groups.items()
    }


def _distinct(members: list[str], groups: Groups, random: np.random.Generator) -> list[str]:
    """The members, with another user in place of one who came twice."""
    if len(set(members)) == len(members):
        return members
    others = sorted({user for one in groups.values() for user in one} - set(members))
    kept = list(dict.fromkeys(members))
    n = min(len(members) - len(kept), len(others))
    return kept + [others[row] for row in random.choice(len(others), n, replace=False)]
