"""The recommenders that operations of a policy train on the real rows, to expand or to attack."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from augrec.augmentation.base import PolicyInputs
from augrec.core.errors import ConfigError
from augrec.core.seeds import derive
from augrec.data.training_data import TrainingData
from augrec.recommenders import base as recommenders
from augrec.recommenders.base import Recommender


def trained(
    described: Mapping[str, Mapping[str, Any] | None],
    inputs: PolicyInputs,
    *,
    seed: int,
    where: str,
) -> Recommender:
    """A recommender trained on the real rows; the same one is trained once for all candidates of a
    search.

    Args:
        described: one name and its config, as params.yaml has it.
        inputs: of the policy.
        seed: of the operation.
        where: the operation's name, for messages.

    Raises:
        ConfigError: `described` names none, or several.
    """
    if len(described) != 1:
        raise ConfigError(
            f"{where} takes one recommender",
            where=f"params.yaml, {where}.recommender",
            fix="write it as {multvae: {}}",
        )
    [(name, options)] = described.items()
    key = json.dumps([name, options, seed], sort_keys=True)
    if key not in inputs.trained:
        model = recommenders.find(name)(options, seed=derive(seed, name))
        inputs.trained[key] = model.fit(TrainingData(inputs.real))
    return inputs.trained[key]
