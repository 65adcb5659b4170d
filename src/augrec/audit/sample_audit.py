"""Audit a synthetic sample: measure it, check the limits, and keep the distributions that the page
draws."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import scipy.sparse as sp

from augrec.audit.attacks import Attacker
from augrec.audit.beyond_popularity import beyond_popularity
from augrec.audit.config import AuditConfig
from augrec.audit.disclosure import attribute_disclosure
from augrec.audit.diversity import diversity, manifold
from augrec.audit.extensions import extension_fidelity
from augrec.audit.fidelity import cluster_fidelity, fidelity
from augrec.audit.inputs import AuditInputs, ProfileSets, held_out_profiles, non_member_rows
from augrec.audit.leak import leak
from augrec.audit.limit_checks import NO_HELD_OUT_USERS, check_limits
from augrec.audit.new_items import new_item_fidelity
from augrec.audit.privacy import privacy
from augrec.audit.rows import row_fidelity
from augrec.audit.space import Space, effective_number, k_means
from augrec.audit.two_sample import two_sample_test
from augrec.audit.utility import utility
from augrec.core.errors import InputError
from augrec.core.seeds import derive, rng
from augrec.data.columns import INTERACTIONS, REAL, require
from augrec.data.columns import Columns as C
from augrec.data.histories import Histories, ItemIndex

_MAX_RANKS = 2000
_LENGTH_BINS = 30
_MAX_DOTS = 500
_USERS_PER_CLUSTER = 10


def audit_sample(
    sample: pl.DataFrame, inputs: AuditInputs, config: AuditConfig, *, generator: str, seed: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Audit a sample. Time is linear in the interactions: comparisons of users take at most
    `max_users` of a kind.

    Args:
        sample: canonical interactions drawn from the generator.
        inputs: what to compare with.
        config: settings and limits.
        generator: its name.
        seed: of subsamples and bootstraps.

    Returns:
        The verdict (audit.json: generator, passed, failed_limits, undecided_limits, undecided
        (whether those pass), advice (what to do where no sample can pass, else None), limits, and
        the measures: fidelity, diversity, privacy, leak, utility, extensions and new_items where
        there are some; sample, if sample.json states its privacy) and the distributions
        (distributions.json): `popularity` {real, synthetic}: shares of interactions by rank;
        `lengths`, `neighbours`, `gaps`, `value_bins`: histograms with their edges; `roc`; `events`,
        `categories`, `values`, `clusters`: names and shares; `map`: coordinates of some real and
        synthetic users on the two widest dimensions.

    Raises:
        InputError: the sample is empty, not canonical, or holds items that no training user
            touched.
        ConfigError: a limit names no measure.
    """
    require(sample, INTERACTIONS, where=f"the sample of {generator}")
    items = ItemIndex(inputs.training[C.ITEM])
    drawn_rows, sample = sample, _with_known_items(sample, items, inputs, generator)
    others, footing = non_member_rows(inputs, items, config.min_non_members)
    tables = [
        Histories.from_interactions(rows, items) for rows in (inputs.training, others, sample)
    ]
    sets = ProfileSets(*(_zero_one(table.matrix()) for table in tables))
    rows, row_shapes = row_fidelity(inputs.training, sample, inputs.items)
    alike, varied, drawn_space = _in_space(sets, config, seed)
    attacker = Attacker(sets, config, derive(seed, "attacks"))
    guarded, drawn = privacy(sets, attacker, config, derive(seed, "privacy"))
    random = rng(seed, "diversity")
    known = _attributes(inputs, [table.users for table in tables])
    measures: dict[str, dict[str, Any]] = {
        "fidelity": {
            **fidelity(sets.members, sets.synthetic, config.top_items),
            **beyond_popularity(
                sets.members,
                sets.synthetic,
                top_items=config.top_items,
                max_users=config.max_users,
                confidence=config.confidence,
                seed=derive(seed, "beyond popularity"),
            ),
            **rows,
            **alike,
            "untouched_share": 1.0 - len(sample) / len(drawn_rows),
        },
        "diversity": {
            **diversity(
                sets.members,
                sets.synthetic,
                max_users=config.max_users,
                min_profile=config.min_profile,
                random=random,
            ),
            **varied,
        },
        "privacy": {
            **guarded,
            **(
                attribute_disclosure(sets, known, config, derive(seed, "attributes"))
                if known
                else {}
            ),
            "footing": footing,
        },
        "leak": leak(
            sets, held_out_profiles(inputs, items), attacker, config, derive(seed, "leak")
        ),
        "utility": utility(
            sample,
            inputs,
            config.utility,
            {"confidence": config.confidence, "samples": config.bootstrap_samples},
            derive(seed, "utility"),
        ),
        **_beside(drawn_rows, inputs, config),
    }
    distributions = {**_shapes(sets), **drawn, **row_shapes, **drawn_space}
    return _verdict(measures, inputs, config, generator), distributions


def _beside(
    sample: pl.DataFrame, inputs: AuditInputs, config: AuditConfig
) -> dict[str, dict[str, float | None]]:
    """Measures on what only some generators make: rows for real users, and rows with new items."""
    found = {}
    if inputs.extensions is not None and len(inputs.extensions):
        found["extensions"] = extension_fidelity(
            inputs.extensions, inputs.training, config.top_items
        )
    if inputs.items is not None and (new := inputs.sample_facts.get("new_items")):
        found["new_items"] = new_item_fidelity(sample, inputs.training, new, inputs.items)
    return found


def _verdict(
    measures: dict[str, dict[str, Any]], inputs: AuditInputs, config: AuditConfig, generator: str
) -> dict[str, Any]:
    """audit.json."""
    taken = {name: value for part in measures.values() for name, value in part.items()}
    found = check_limits(taken, config.limits)
    undecided = [name for name, what in found.items() if what == "undecided"]
    failed = [
        name
        for name, what in found.items()
        if what == "broken" or (what == "undecided" and config.undecided == "block")
    ]
    unmeasured = any(taken[name.partition("_")[2]] is None for name in failed)
    promised = inputs.sample_facts.get("privacy")
    return {
        "generator": generator,
        "passed": not failed,
        "failed_limits": failed,
        "undecided_limits": undecided,
        "undecided": config.undecided,
        "advice": NO_HELD_OUT_USERS if unmeasured and inputs.held_out.is_empty() else None,
        "limits": config.limits,
        **measures,
        **({"sample": {"privacy": promised}} if promised else {}),
    }


def _in_space(
    sets: ProfileSets, config: AuditConfig, seed: int
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Measures of fidelity and of diversity in the space of users, and what the page draws of
    it."""
    space = Space.of(
        sets.members,
        sets.synthetic,
        dimensions=config.dimensions,
        max_users=config.max_users,
        seed=derive(seed, "space"),
    )
    n = len(space.real)
    k = max(2, min(config.clusters, 2 * n // _USERS_PER_CLUSTER))
    labels = k_means(
        np.vstack([space.real, space.synthetic]), min(k, 2 * n), derive(seed, "clusters")
    )
    real, synthetic = labels[:n], labels[n:]
    alike = {
        **cluster_fidelity(real, synthetic, derive(seed, "clusters")),
        **two_sample_test(
            space,
            sets.members,
            sets.synthetic,
            folds=config.folds,
            confidence=config.confidence,
            seed=derive(seed, "two-sample"),
        ),
    }
    varied = {
        **manifold(space.real, space.synthetic, config.manifold_neighbours, rng(seed, "manifold")),
        "effective_modes": effective_number(synthetic),
        "effective_modes_real": effective_number(real),
    }
    order = np.argsort(-np.bincount(real, minlength=k), kind="stable")
    shares = [(np.bincount(part, minlength=k) / n)[order].tolist() for part in (real, synthetic)]
    dots = rng(seed, "dots").permutation(n)[:_MAX_DOTS]
    drawn = {
        "clusters": {
            "names": [str(at + 1) for at in range(k)],
            "real": shares[0],
            "synthetic": shares[1],
        },
        "map": {
            name: np.round(points[dots][:, :2], 4).tolist()
            for name, points in (("real", space.real), ("synthetic", space.synthetic))
        },
    }
    return alike, varied, drawn


def _zero_one(matrix: sp.csr_matrix) -> sp.csr_matrix:
    matrix.data[:] = 1.0
    return matrix


def _attributes(
    inputs: AuditInputs, ids: list[np.ndarray]
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame] | None:
    """Attributes of members, non-members and synthetic users, in the order of their profiles; None
    where the sample has none."""
    if inputs.users is None or inputs.sample_users is None:
        return None
    real, made = (
        table.unique(C.USER, keep="first") for table in (inputs.users, inputs.sample_users)
    )
    wanted = [pl.DataFrame({C.USER: part.tolist()}, schema={C.USER: pl.String}) for part in ids]
    members, others, synthetic = (
        part.join(table, on=C.USER, how="left", maintain_order="left")
        for part, table in zip(wanted, (real, real, made), strict=True)
    )
    return members, others, synthetic


def _with_known_items(
    sample: pl.DataFrame, items: ItemIndex, inputs: AuditInputs, generator: str
) -> pl.DataFrame:
    """The rows with items of the training users, which must be all rows.

    Except: a differentially private generator draws from the whole items table, since which items
    have interactions is private; and a generator for new items names them. Rows with such items of
    the items table, which have no interactions, are left out.
    """
    where = f"the sample of {generator}"
    if (sample[C.ORIGIN] == REAL).any():
        raise InputError(
            "some rows of the sample claim to be real", where=where, fix="draw the sample again"
        )
    known = pl.Series(items.encode(sample[C.ITEM]) >= 0, dtype=pl.Boolean)
    allowed = known
    if inputs.items is not None:
        listed = sample[C.ITEM].is_in(inputs.items[C.ITEM].implode())
        if "privacy" in inputs.sample_facts:
            allowed = known | listed
        elif new := inputs.sample_facts.get("new_items"):
            allowed = known | (listed & sample[C.ITEM].is_in(new))
    if unknown := int((~allowed).sum()):
        raise InputError(
            f"{unknown} rows hold items that no training user touched",
            where=where,
            fix="train the generator on this training set and draw again",
        )
    if not known.any():
        raise InputError("the sample is empty", where=where, fix="raise synthesis.ratio")
    return sample.filter(known)


def _shapes(sets: ProfileSets) -> dict[str, Any]:
    """Popularity by rank and the histogram of profile lengths."""
    tables = {"real": sets.members, "synthetic": sets.synthetic}
    shares = {
        name: np.sort(np.asarray(table.sum(axis=0)).ravel() / max(table.nnz, 1))[::-1][
            :_MAX_RANKS
        ].tolist()
        for name, table in tables.items()
    }
    lengths = {name: np.diff(table.indptr) for name, table in tables.items()}
    longest = max(part.max() for part in lengths.values())
    width = -(-longest // _LENGTH_BINS)
    edges = np.arange(1, longest + 1 + width, width)
    counts = {name: np.histogram(part, edges)[0].tolist() for name, part in lengths.items()}
    return {"popularity": shares, "lengths": {"edges": edges.tolist(), **counts}}
