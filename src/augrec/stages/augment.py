"""Build a policy's training set: data/training_set, data/synthetic and perhaps the champion ->
data/augmented/<policy>.

A sample is blocked whose audit, in reports/audit, failed or is missing. A policy whose rows are to
be shared is then refused, a search leaves the sample out, and every other policy is built and
records it: its arms are measured, and the gate refuses them.

With `run.repetitions` above 1, a policy with random draws has its rows redrawn, in
repetitions/<number>.parquet.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from augrec.augmentation.base import Policy, PolicyInputs, Steps
from augrec.augmentation.search import Search, find_search
from augrec.core.config import parse, read_params, section
from augrec.core.errors import ConfigError, InputError, RefusedError
from augrec.core.files import digest, whole_directory, write_json, write_parquet
from augrec.core.policies import steps_of
from augrec.core.seeds import derive
from augrec.data.columns import Columns as C
from augrec.data.ranking import familiar_items
from augrec.data.split import VALID
from augrec.evaluation.candidate_selection import not_passed
from augrec.stages import _left_out, _repetitions, _tastes
from augrec.stages._configs import AugmentationConfig
from augrec.stages._inputs import (
    AUDITS,
    TRAINING_SET,
    Audits,
    read_audits,
    read_table,
    read_training_interactions,
    with_features,
)
from augrec.stages._samples import SYNTHETIC, Samples
from augrec.stages.runner import run

if TYPE_CHECKING:
    from augrec.tuning.mixing import MixSearchResult

CHAMPION = Path("models/champion")
"""The model that `run.champion` in params.yaml names; `retrain` writes both, and DVC tracks the
folder."""
_LESS: Final = "Train the generator again with fewer steps, or with privacy."
_MORE: Final = "Train the generator again with more steps, or take another one."

log = logging.getLogger(__name__)


def main(name: str) -> None:
    """Build the training set of the policy called `name`: rows, policy.json and, after a search,
    trials.csv.

    Raises:
        RefusedError: its rows are to be shared, and a sample it names did not pass the audit.
    """
    params = read_params()
    config = parse(AugmentationConfig, section(params, "augmentation"), "augmentation")
    policies, taking_part = section(params, "policies"), section(params, "run")
    if name not in policies:
        raise ConfigError(
            f"there is no policy called {name!r}",
            where="params.yaml, policies",
            fix=f"use one of: {', '.join(policies)}",
        )
    real, seed = read_training_interactions(), derive(params["seed"], "augment")
    tastes = _tastes.read()

    def inputs() -> tuple[PolicyInputs, Samples]:
        samples = Samples(taking_part.get("generators") or [], name)
        made = PolicyInputs(real, samples, config.max_ratio, samples.sample_table, tastes=tastes)
        return made, samples

    written = steps_of(policies[name])
    configured = Policy(name, written, seed=seed)
    if (left_out := _without_sample(configured)) is not None:
        _left_out.write(left_out, Path("data/augmented") / name)
        return
    blocked = _blocked(configured, taking_part.get("generators") or [])
    steps, found_mix = _search(configured, written, inputs()[0], blocked)
    policy, (used, samples) = Policy(name, steps, seed=seed), inputs()
    champion = taking_part.get("champion") if policy.continues_champion else None
    training = policy.apply(used)
    facts = {
        "policy": name,
        "kind": policy.kind,
        "steps": list(steps),
        **_count(training, real),
        "samples": sorted(samples.used),
        "blocked": [sample for sample in blocked if sample in samples.used],
        "start": "champion" if policy.continues_champion else None,
        "older": policy.older,
        "champion": champion,
        "search": found_mix.facts if found_mix else None,
    }
    with whole_directory(Path("data/augmented") / name) as draft:
        write_parquet(draft / "interactions.parquet", training)
        for number in range(1, _repetitions.count(params)):
            redrawn_seed = _repetitions.seed_of(params["seed"], number, "augment")
            redrawn = Policy(name, steps, seed=redrawn_seed).apply(used)
            if redrawn.equals(training):
                break  # the policy draws nothing
            write_parquet(_repetitions.rows_file(draft, number), redrawn)
        write_json(draft / "policy.json", facts)
        if found_mix:
            found_mix.trials.write_csv(draft / "trials.csv")
        if champion is not None:
            _copy_champion(champion, draft / "champion")
    if facts["blocked"]:
        log.warning(
            "%s: the gate will refuse it, audit not passed: %s", name, ", ".join(facts["blocked"])
        )
    log.info(
        "%s (%s): %s real and %s added users, %s rows",
        name,
        policy.kind,
        *(f"{facts[key]:,}" for key in ("n_real_users", "n_added_users", "n_rows")),
    )


def _without_sample(policy: Policy) -> _left_out.LeftOut | None:
    """Why a policy is left out: it needs the sample of a generator that is. A search does without
    it."""
    for operation in policy.operations:
        for generator in () if isinstance(operation, Search) else operation.generators:
            if (absent := _left_out.read(SYNTHETIC / generator)) is not None:
                reason = f"it uses {generator}, which is left out"
                return _left_out.LeftOut("policies", policy.name, reason, absent.fix)
    return None


def _blocked(policy: Policy, generators: Sequence[str]) -> list[str]:
    """Of the samples that a policy names, those of the run's generators that did not pass their
    audits."""
    named = [name for name in policy.generators if name in generators]
    audits = read_audits(named)
    blocked = not_passed(named, audits)
    if blocked and policy.is_synthetic_only:
        raise _refusal(policy.name, blocked, audits)
    return blocked


def _refusal(policy: str, failed: Sequence[str], audits: Audits) -> RefusedError:
    """The error for a policy whose rows are meant to be shared: which samples failed their audits,
    on what, and what to do."""
    advice = {text for name in failed if (text := audits.get(name, {}).get("advice"))}
    todo = sorted(advice) or [_MORE if _learnt_nothing(audits, failed) else _LESS]
    return RefusedError(
        f"the rows of {policy} are meant to be shared, and these samples did not pass the audit: "
        + "; ".join(f"{name} ({_failed_limits(audits.get(name))})" for name in failed),
        where=", ".join(str(AUDITS / name / "index.html") for name in failed),
        fix=" ".join([*todo, f"Or take {policy} out of run.policies."]),
    )


def _learnt_nothing(audits: Audits, failed: Sequence[str]) -> bool:
    """Whether samples failed for being no more than popularity, and for nothing else."""
    broken = {limit for name in failed for limit in audits.get(name, {}).get("failed_limits", [])}
    return broken == {"min_beyond_popularity"}


def _failed_limits(audit: Mapping[str, Any] | None) -> str:
    """Each broken limit with the measured value."""
    if audit is None:
        return "missing: run the stage audit"
    measures = {
        key: value
        for part in audit.values()
        if isinstance(part, Mapping)
        for key, value in part.items()
    }
    parts = []
    for limit in audit["failed_limits"]:
        kind, _, measure = limit.partition("_")
        value = measures.get(measure)
        found = "could not be measured" if value is None else f"{value:.3g}"
        bound = f"at {'least' if kind == 'min' else 'most'} {audit['limits'][limit]:g}"
        unsure = ", too few users to decide" if limit in audit["undecided_limits"] else ""
        parts.append(f"{measure} {found}, {bound}{unsure}")
    return "; ".join(parts)


def _count(training: pl.DataFrame, real: pl.DataFrame) -> dict[str, Any]:
    """What a training set holds, for policy.json."""
    users = set(training[C.USER].unique())
    real_users = users.intersection(real[C.USER].unique())
    origins = training[C.ORIGIN].value_counts().sort(C.ORIGIN)
    return {
        "n_real_users": len(real_users),
        "n_added_users": len(users) - len(real_users),
        "n_rows": len(training),
        "origins": dict(origins.iter_rows()),
    }


def _search(
    policy: Policy, steps: Steps, inputs: PolicyInputs, blocked: Sequence[str]
) -> tuple[Steps, MixSearchResult | None]:
    """A policy's steps with the search replaced by its result; unchanged without a search."""
    found = find_search(policy)
    if found is None:
        return steps, None
    place, candidates = found
    from augrec.tuning.mixing import MixSearchData, search_mix  # imports Optuna

    data = MixSearchData(
        cases=read_table(TRAINING_SET / f"cases_{VALID}.parquet", "training_set"),
        items=read_table(Path("data/prepared/items.parquet"), "prepare"),
        users=read_table(TRAINING_SET / "users.parquet", "training_set"),
        with_features=with_features,
        familiar=familiar_items(Path("data/prepared")),
    )

    def around(mixed: Steps) -> Steps:
        return [*steps[:place], *mixed, *steps[place + 1 :]]

    def build(mixed: Steps) -> pl.DataFrame:
        return Policy(policy.name, around(mixed), seed=policy.seed).apply(inputs)

    left_out = [name for name in blocked if name in candidates.generators]
    found_mix = search_mix(policy.name, candidates, build, data, seed=policy.seed, blocked=left_out)
    return around(found_mix.steps), found_mix


def _copy_champion(champion: Mapping[str, str], target: Path) -> None:
    """Copy the model that `run.champion` names, by version and digest, next to the rows it is to be
    trained on."""
    if not CHAMPION.is_dir() or digest(CHAMPION) != champion["digest"]:
        raise InputError(
            f"this is not version {champion['version']}, which run.champion in params.yaml names",
            where=str(CHAMPION),
            fix="`dvc pull models/champion.dvc` brings it; or set run.champion to null: training "
            "in full",
        )
    shutil.copytree(CHAMPION, target)


if __name__ == "__main__":
    run(main)
