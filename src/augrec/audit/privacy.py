"""Does the sample give away who the generator learned from?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from augrec.audit.config import AuditConfig
from augrec.audit.membership import Attack, attack, length_weights
from augrec.audit.nearest import fingerprints, nearest, some_rows
from augrec.generators._popularity import draw_distinct
from augrec.seeds import rng

_EDGES = np.linspace(0.0, 1.0, 41)


@dataclass(frozen=True)
class People:
    """Profiles 0/1 (n, n_items) of the same items: the training users, held-out users, and the sample."""

    members: sp.csr_matrix
    others: sp.csr_matrix
    synthetic: sp.csr_matrix


def privacy(people: People, config: AuditConfig, seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Measures and the distributions behind them.

    copy_share: of synthetic profiles with at least `min_profile` items, those equal to a training user's;
    copy_share_held_out: the same for held-out users, which is what chance gives. near_copy_share: those at least
    `near_copy` similar. attack_auc: of the stronger of the two attacks of `augrec.audit.membership`, with its interval
    and its true-positive rate at 1 % false positives; control_auc: the stronger attack on users drawn by popularity
    alone, who know nobody, so that it is 0.5 if the footing is equal. nearest_training, nearest_held_out: mean
    similarity of synthetic users to the nearest of equally many training and held-out users (the distance-to-closest-
    record diagnostic; no evidence by itself, arXiv 2505.01524). What cannot be measured is None.
    """
    measures, copies = _copies(people, config, seed)
    attacked, roc = _attacks(people, config, seed)
    distances, drawn = _distances(people, config, seed)
    return {**measures, **copies, **attacked, **distances}, {"roc": roc, "neighbours": drawn}


def _copies(people: People, config: AuditConfig, seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    long = [
        table[np.diff(table.indptr) >= config.min_profile]
        for table in (people.synthetic, people.members, people.others)
    ]
    keys = [fingerprints(table) for table in long]
    exact = {
        "copy_share": float(np.isin(keys[0], keys[1]).mean()) if len(keys[0]) else None,
        "copy_share_held_out": float(np.isin(keys[2], keys[1]).mean()) if len(keys[2]) else None,
    }
    rows = some_rows(long[0].shape[0], config.max_users, rng(seed, "copies"))
    likeness, _ = nearest(long[0][rows], people.members)
    return exact, {"near_copy_share": float((likeness >= config.near_copy).mean()) if len(rows) else None}


def _attacks(people: People, config: AuditConfig, seed: int) -> tuple[dict[str, Any], dict[str, Any] | None]:
    names = ("plain", "calibrated")
    empty = dict.fromkeys(
        ["attack_auc", "attack_auc_low", "attack_auc_high", "attack_tpr_at_1_percent_fpr", "control_auc"]
        + [f"attack_auc_{name}" for name in names]
    )
    counts = {"n_members": people.members.shape[0], "n_non_members": people.others.shape[0]}
    if people.others.shape[0] < 2 or people.synthetic.shape[0] == 0:
        return {**counts, **empty}, None
    found = _try_attacks(people, people.synthetic, config, seed)
    if found is None:
        return {**counts, **empty}, None
    control = _try_attacks(people, _nobody(people, seed), config, seed)
    best = max(found.values(), key=lambda result: result.auc)
    measures = {
        "attack_auc": best.auc,
        "attack_auc_low": best.low,
        "attack_auc_high": best.high,
        "attack_tpr_at_1_percent_fpr": best.tpr_at_1_percent_fpr,
        "control_auc": max(result.auc for result in control.values()) if control else None,
        **{f"attack_auc_{name}": found[name].auc for name in names},
    }
    roc = {
        "false_positive_rate": best.false_positive_rate.tolist(),
        "true_positive_rate": best.true_positive_rate.tolist(),
    }
    return {**counts, **measures}, roc


def _try_attacks(
    people: People, sample: sp.csr_matrix, config: AuditConfig, seed: int
) -> dict[str, Attack] | None:
    """Both attacks on `sample`; None where members and others have no profile length in common."""
    random = rng(seed, "attacked")
    rows = some_rows(people.members.shape[0], config.max_users, random)
    members = people.members[rows]
    others = people.others[some_rows(people.others.shape[0], config.max_users, random)]
    weights = length_weights(np.diff(members.indptr), np.diff(others.indptr))
    if not weights[0].any():
        return None
    plain = [nearest(part, sample, config.neighbours)[0] for part in (members, others)]
    usual = [
        nearest(part, people.members, config.neighbours, own=own)[0]
        for part, own in ((members, rows), (others, None))
    ]
    knobs: dict[str, Any] = {
        "samples": config.bootstrap_samples,
        "confidence": config.confidence,
        "seed": seed,
    }
    return {
        "plain": attack(plain[0], plain[1], *weights, **knobs),
        "calibrated": attack(plain[0] - usual[0], plain[1] - usual[1], *weights, **knobs),
    }


def _nobody(people: People, seed: int) -> sp.csr_matrix:
    """As many users of the same lengths as the sample's, who take items by popularity alone."""
    popularity = np.asarray(people.members.sum(axis=0)).ravel().astype(np.float64)
    lengths = np.minimum(np.diff(people.synthetic.indptr), (popularity > 0).sum())
    positions = draw_distinct(lengths, popularity, rng(seed, "control"))
    rows = np.repeat(np.arange(len(lengths)), lengths)
    return sp.csr_matrix((np.ones(len(rows), np.float32), (rows, positions)), shape=people.synthetic.shape)


def _distances(
    people: People, config: AuditConfig, seed: int
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    random = rng(seed, "distances")
    weights = length_weights(np.diff(people.members.indptr), np.diff(people.others.indptr))
    n = min(int((weights[0] > 0).sum()), int((weights[1] > 0).sum()), config.max_users)
    if n == 0 or people.synthetic.shape[0] == 0:
        return dict.fromkeys(["nearest_training", "nearest_held_out"]), None
    queries = people.synthetic[some_rows(people.synthetic.shape[0], config.max_users, random)]
    likeness = [
        nearest(queries, table[np.sort(random.choice(table.shape[0], n, replace=False, p=part))])[0]
        for table, part in zip((people.members, people.others), weights, strict=True)
    ]
    measures = {"nearest_training": float(likeness[0].mean()), "nearest_held_out": float(likeness[1].mean())}
    histograms = [np.histogram(part, _EDGES)[0].tolist() for part in likeness]
    return measures, {"edges": _EDGES.tolist(), "training": histograms[0], "held_out": histograms[1]}
