"""What a sample is audited against: the users its generator was trained on, and users it must not
have seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import polars as pl
import scipy.sparse as sp

from augrec.data.columns import Columns as C
from augrec.data.histories import ItemIndex
from augrec.data.similarity import profiles
from augrec.data.split import ROLE, TEST, VALID


@dataclass(frozen=True)
class AuditInputs:
    """What a sample is audited against.

    Validation users are the non-members of the membership attack and the cases of the utility: no
    model was trained on them, and they may be used before the test. **Test users** are used for one
    question only, whether the generator saw them (`augrec.audit.leak`). That can refuse a sample
    and nothing else: it ranks nothing, tunes nothing and selects nothing, and a sample made of
    training rows alone holds no information about them but by chance.

    Attributes:
        training: canonical interactions of the users the generator was trained on.
        interactions: canonical interactions of all users.
        held_out: user_id and role, "valid" or "test".
        valid_from, test_from: the cuts of the split, UTC; None where the protocol has no one cut in
            time for all users.
        items: the items table, for category shares and for recommenders that read it; optional.
        users: attributes of real users, user_id and a column each; optional.
        sample_users: those of the synthetic users as labels (`Generator.attributes`), where the
            sample carries any; optional.
        cases: validation cases (`augrec.data.cases.CASES`), for the utility; optional.
        extensions: rows that the generator added to real histories, with direction and place;
            optional.
        sample_facts: sample.json: the generator, the ε and δ of a differentially private one, which
            items are new.
    """

    training: pl.DataFrame
    interactions: pl.DataFrame
    held_out: pl.DataFrame
    valid_from: datetime | None
    test_from: datetime | None
    items: pl.DataFrame | None = None
    users: pl.DataFrame | None = None
    sample_users: pl.DataFrame | None = None
    cases: pl.DataFrame | None = None
    extensions: pl.DataFrame | None = None
    sample_facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ProfileSets:
    """Profiles 0/1 (n, n_items) of the same items: the training users, held-out users, and the
    sample."""

    members: sp.csr_matrix
    non_members: sp.csr_matrix
    synthetic: sp.csr_matrix


def non_member_rows(inputs: AuditInputs, items: ItemIndex, least: int) -> tuple[pl.DataFrame, str]:
    """Rows of held-out validation users with known items, and over which time they are taken.

    The profiles of members hold what they did before validation begins, so those of non-members do
    too ("before_validation"): the same period, the same trends. Where too few have such a history,
    what they did in the validation period counts as well ("before_test"); trends may then
    distinguish them from members, which `control_auc` shows and the limit corrects for. Without
    cuts the profiles of members hold everything they did, and so do those of non-members
    ("everything").
    """
    valid = inputs.held_out.filter(pl.col(ROLE) == VALID)
    rows = _known(inputs.interactions.join(valid, on=C.USER, how="semi"), items)
    if inputs.valid_from is None or inputs.test_from is None:
        return rows, "everything"
    before = rows.filter(pl.col(C.TIMESTAMP) < inputs.valid_from)
    if before[C.USER].n_unique() >= least:
        return before, "before_validation"
    return rows.filter(pl.col(C.TIMESTAMP) < inputs.test_from), "before_test"


def held_out_profiles(inputs: AuditInputs, items: ItemIndex) -> dict[str, sp.csr_matrix]:
    """Profiles of held-out users: "valid, whole", "test, whole", and where time is cut "…, earlier"
    and "…, later".

    A generator that saw them may have seen all of their history or a part, and a copy of the part
    is no copy of the whole.
    """
    found = {}
    for role in (VALID, TEST):
        users = inputs.held_out.filter(pl.col(ROLE) == role)
        rows = _known(inputs.interactions.join(users, on=C.USER, how="semi"), items)
        found[f"{role}, whole"] = profiles(rows, items)
        if inputs.valid_from is not None:
            early = pl.col(C.TIMESTAMP) < inputs.valid_from
            found[f"{role}, earlier"] = profiles(rows.filter(early), items)
            found[f"{role}, later"] = profiles(rows.filter(~early), items)
    return found


def _known(rows: pl.DataFrame, items: ItemIndex) -> pl.DataFrame:
    known = pl.DataFrame({C.ITEM: items.ids.tolist()}, schema={C.ITEM: pl.String})
    return rows.join(known, on=C.ITEM, how="semi", maintain_order="left")
