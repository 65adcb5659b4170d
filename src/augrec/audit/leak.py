"""Did the generator see people it must not have seen?

Held-out users, those of validation and those of test, are strangers to every generator. A sample
that is made of training rows and seeds alone knows nothing of them, so:

* no more of its profiles may *single out* a stranger than training users do, who do not know the
    strangers either;
* the attack that takes strangers for members must not succeed: it would have to find them nearer to
    the sample than the
  people it was learned from.

Both are asked of validation and of test users, of everything they did and of what they did earlier
and later than the cut alone, since a leak may hold a part. What neither
can see is a generator that saw strangers and remembers nobody: its sample is no nearer to them than
to anybody. That it never reads their rows is held by the stages, and rows later than the training
or with items unknown to it betray it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.sparse as sp

from augrec.audit.attacks import Attacker
from augrec.audit.config import AuditConfig
from augrec.audit.inputs import People
from augrec.audit.nearest import distance_ratios, singled_out, some_rows
from augrec.audit.privacy import with_ends
from augrec.core.seeds import rng

_MIN_STRANGERS = 10


def leak(
    people: People,
    strangers: Mapping[str, sp.csr_matrix],
    attacker: Attacker,
    config: AuditConfig,
    seed: int,
) -> dict[str, Any]:
    """Measures, with their intervals, each the worst over the groups of strangers; None where there
    are none.

    leak_singled_out_share: of synthetic profiles with at least `min_profile` items, those that
    single a stranger out more than 99 % of training users do; 0.01 is what chance gives. leak_auc:
    area of the attack that takes strangers for members and members for others, with its interval
    and bias, as for `attack_auc`; below 0.5 for a sound sample. leak_worst: the group of strangers
    of leak_auc. n_strangers: how many there are.

    Args:
        people: see `People`.
        strangers: profiles of held-out users, see `augrec.audit.inputs.strangers`.
        attacker: holds the sample.
        config, seed: knobs, and the seed of what is drawn.
    """
    groups = {name: table for name, table in strangers.items() if table.shape[0] >= _MIN_STRANGERS}
    shares = [found for table in groups.values() if (found := _share(people, table, config, seed))]
    attacks = {name: attacker.find_strangers(table) for name, table in groups.items()}
    attacked = [(name, found) for name, found in attacks.items() if found]
    name, worst = max(
        attacked, key=lambda pair: pair[1].interval[0] - pair[1].bias, default=("", None)
    )
    return {
        "n_strangers": sum(
            table.shape[0] for group, table in strangers.items() if group.endswith("whole")
        ),
        **with_ends(
            "leak_singled_out_share", max(shares, key=lambda found: found[1], default=None)
        ),
        **with_ends("leak_auc", (worst.best.auc, *worst.interval) if worst else None),
        "leak_auc_bias": worst.bias if worst else None,
        "leak_worst": name,
    }


def _share(
    people: People, strangers: sp.csr_matrix, config: AuditConfig, seed: int
) -> tuple[float, float, float] | None:
    random = rng(seed, "strangers")
    long = [
        table[np.diff(table.indptr) >= config.min_profile]
        for table in (people.synthetic, people.members, strangers)
    ]
    if long[2].shape[0] < _MIN_STRANGERS:
        return None
    asked = [table[some_rows(table.shape[0], config.max_users, random)] for table in long[:2]]
    synthetic, usual = ((distance_ratios(table, long[2]), np.diff(table.indptr)) for table in asked)
    return singled_out(
        synthetic,
        usual,
        config.singled_out_quantile,
        samples=config.bootstrap_samples,
        confidence=config.confidence,
        random=random,
    )
