"""Did the generator see users it must not have seen?

No generator may see held-out users, those of validation and those of test. A sample that is made of
training rows and seeds alone holds no information about them, so:

* no more of its profiles may *single out* a held-out user than training users do, who are
  independent of the held-out users too;
* the attack that takes held-out users for members must not succeed: it would have to find them
  nearer to the sample than the users the generator was trained on.

Both are measured for validation and for test users, with everything they did and with what they did
before and after the cut alone, since a leak may hold a part. What neither can detect is a generator
that saw held-out users but memorised none of them: its sample is no nearer to them than to any
user. That generators never read their rows is ensured by the stages, and rows later than the
training or with items unknown to it would show it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.sparse as sp

from augrec.audit.attacks import Attacker
from augrec.audit.config import AuditConfig
from augrec.audit.inputs import ProfileSets
from augrec.audit.nearest import distance_ratios, singled_out, some_rows
from augrec.audit.privacy import with_ends
from augrec.core.seeds import rng

_MIN_HELD_OUT = 10


def leak(
    sets: ProfileSets,
    held_out: Mapping[str, sp.csr_matrix],
    attacker: Attacker,
    config: AuditConfig,
    seed: int,
) -> dict[str, Any]:
    """Measures, with their intervals, each the worst over the groups of held-out users; None where
    there are none.

    leak_singled_out_share: of synthetic profiles with at least `min_profile` items, those that
    single a held-out user out more than 99 % of training users do; 0.01 by chance. leak_auc: area
    of the attack that takes held-out users for members and members for non-members, with its
    interval and bias, as for `attack_auc`; below 0.5 for a sound sample. leak_worst: the group of
    held-out users of leak_auc. n_strangers: the number of held-out users.

    Args:
        sets: profiles of training users, non-members and the sample.
        held_out: see `augrec.audit.inputs.held_out_profiles`.
        attacker: holds the sample.
        config, seed: settings, and the seed of what is drawn.
    """
    groups = {name: table for name, table in held_out.items() if table.shape[0] >= _MIN_HELD_OUT}
    shares = [found for table in groups.values() if (found := _share(sets, table, config, seed))]
    attacks = {name: attacker.attack_held_out(table) for name, table in groups.items()}
    attacked = [(name, found) for name, found in attacks.items() if found]
    name, worst = max(
        attacked, key=lambda pair: pair[1].interval[0] - pair[1].bias, default=("", None)
    )
    return {
        "n_strangers": sum(
            table.shape[0] for group, table in held_out.items() if group.endswith("whole")
        ),
        **with_ends(
            "leak_singled_out_share", max(shares, key=lambda found: found[1], default=None)
        ),
        **with_ends("leak_auc", (worst.best.auc, *worst.interval) if worst else None),
        "leak_auc_bias": worst.bias if worst else None,
        "leak_worst": name,
    }


def _share(
    sets: ProfileSets, held_out: sp.csr_matrix, config: AuditConfig, seed: int
) -> tuple[float, float, float] | None:
    random = rng(seed, "strangers")
    long = [
        table[np.diff(table.indptr) >= config.min_profile]
        for table in (sets.synthetic, sets.members, held_out)
    ]
    if long[2].shape[0] < _MIN_HELD_OUT:
        return None
    asked = [table[some_rows(table.shape[0], config.max_users, random)] for table in long[:2]]
    synthetic, baseline = (
        (distance_ratios(table, long[2]), np.diff(table.indptr)) for table in asked
    )
    return singled_out(
        synthetic,
        baseline,
        config.singled_out_quantile,
        samples=config.bootstrap_samples,
        confidence=config.confidence,
        random=random,
    )
