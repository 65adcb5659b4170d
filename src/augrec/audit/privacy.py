"""Does the sample disclose the users that the generator was trained on?"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from augrec.audit.attacks import Attacker, AttackResult
from augrec.audit.config import AuditConfig
from augrec.audit.disclosure import item_disclosure
from augrec.audit.inputs import ProfileSets
from augrec.audit.membership import length_weights
from augrec.audit.nearest import distance_ratios, fingerprints, nearest, singled_out, some_rows
from augrec.core.seeds import rng

_EDGES = np.linspace(0.0, 1.0, 41)


def privacy(
    sets: ProfileSets, attacker: Attacker, config: AuditConfig, seed: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Measures and the distributions behind them; what cannot be measured is None. `…_low` and
    `…_high` are intervals.

    copy_share: of synthetic profiles with at least `min_profile` items, those equal to a training
    user's; copy_share_held_out: the same for held-out users; copy_share_bias: the same among
    training users, the chance level where profiles are short, which is subtracted before the limit
    is checked. near_copy_share: those at least `near_copy` similar. singled_out_share: those that
    single one training user out (`augrec.audit.nearest`) more than 99 % of real users do with
    another real user; 0.01 by chance. Copies with some items changed do so as well.

    attack_auc: of the stronger of the two attacks of `augrec.audit.membership`, with its interval
    and its true-positive rate at 1 % false positives; control_auc: the same attack on users drawn
    by popularity alone, 0.5 if members and non-members are comparable; attack_auc_bias: how far it
    lies above 0.5, which is subtracted before the limit is checked. item_disclosure: see
    `augrec.audit.disclosure`. nearest_training, nearest_held_out: mean similarity of synthetic
    users to the nearest of equally many training and held-out users (the distance-to-closest-record
    diagnostic; not conclusive by itself, arXiv 2505.01524).
    """
    found = attacker.attack_members()
    distances, drawn = _distances(sets, config, seed)
    measures = {
        "n_members": sets.members.shape[0],
        "n_non_members": sets.non_members.shape[0],
        **_copies(sets, config, seed),
        **_attacked(found),
        **item_disclosure(sets, config, seed),
        **distances,
    }
    return measures, {"roc": None if found is None else found.roc(), "neighbours": drawn}


def _copies(sets: ProfileSets, config: AuditConfig, seed: int) -> dict[str, Any]:
    long = [_long(table, config) for table in (sets.synthetic, sets.members, sets.non_members)]
    keys = [fingerprints(table) for table in long]
    random = rng(seed, "copies")
    synthetic = long[0][some_rows(long[0].shape[0], config.max_users, random)]
    rows = some_rows(long[1].shape[0], config.max_users, random)
    real = long[1][rows]
    likeness, _ = nearest(synthetic, sets.members)
    found = singled_out(
        (distance_ratios(synthetic, long[1]), np.diff(synthetic.indptr)),
        (distance_ratios(real, long[1], own=rows), np.diff(real.indptr)),
        config.singled_out_quantile,
        samples=config.bootstrap_samples,
        confidence=config.confidence,
        random=random,
    )
    return {
        "copy_share": float(np.isin(keys[0], keys[1]).mean()) if len(keys[0]) else None,
        "copy_share_held_out": float(np.isin(keys[2], keys[1]).mean()) if len(keys[2]) else None,
        "copy_share_bias": _twins(keys[1]),
        "near_copy_share": float((likeness >= config.near_copy).mean()) if len(likeness) else None,
        **with_ends("singled_out_share", found),
    }


def _twins(keys: np.ndarray) -> float | None:
    """Share of users whose profile another user has too."""
    _, places, counts = np.unique(keys, return_inverse=True, return_counts=True)
    return float((counts[places] > 1).mean()) if len(keys) else None


def with_ends(name: str, found: tuple[float, float, float] | None) -> dict[str, float | None]:
    """A measure and the ends of its interval."""
    return dict(zip((name, f"{name}_low", f"{name}_high"), found or (None,) * 3, strict=True))


def _long(table: sp.csr_matrix, config: AuditConfig) -> sp.csr_matrix:
    return table[np.diff(table.indptr) >= config.min_profile]


def _attacked(found: AttackResult | None) -> dict[str, Any]:
    if found is None:
        names = (
            [
                "n_non_members_effective",
                "attack_auc",
                "attack_auc_low",
                "attack_auc_high",
                "attack_auc_bias",
            ]
            + ["attack_auc_plain", "attack_auc_calibrated", "control_auc"]
            + [f"attack_tpr_at_1_percent_fpr{end}" for end in ("", "_low", "_high")]
        )
        return dict.fromkeys(names)
    best = found.best
    return {
        "n_non_members_effective": found.n_effective,
        "attack_auc": best.auc,
        "attack_auc_low": found.interval[0],
        "attack_auc_high": found.interval[1],
        "attack_auc_bias": found.bias,
        "attack_auc_plain": found.by_name["plain"],
        "attack_auc_calibrated": found.by_name["calibrated"],
        "attack_tpr_at_1_percent_fpr": best.tpr_at_1_percent_fpr,
        "attack_tpr_at_1_percent_fpr_low": found.tpr_interval[0],
        "attack_tpr_at_1_percent_fpr_high": found.tpr_interval[1],
        "control_auc": found.control,
    }


def _distances(
    sets: ProfileSets, config: AuditConfig, seed: int
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    random = rng(seed, "distances")
    weights = length_weights(np.diff(sets.members.indptr), np.diff(sets.non_members.indptr))
    n = min(int((weights[0] > 0).sum()), int((weights[1] > 0).sum()), config.max_users)
    if n == 0 or sets.synthetic.shape[0] == 0:
        return dict.fromkeys(["nearest_training", "nearest_held_out"]), None
    queries = sets.synthetic[some_rows(sets.synthetic.shape[0], config.max_users, random)]
    likeness = [
        nearest(queries, table[np.sort(random.choice(table.shape[0], n, replace=False, p=part))])[0]
        for table, part in zip((sets.members, sets.non_members), weights, strict=True)
    ]
    measures = {
        "nearest_training": float(likeness[0].mean()),
        "nearest_held_out": float(likeness[1].mean()),
    }
    histograms = [np.histogram(part, _EDGES)[0].tolist() for part in likeness]
    return measures, {
        "edges": _EDGES.tolist(),
        "training": histograms[0],
        "held_out": histograms[1],
    }
