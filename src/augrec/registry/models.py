"""Versions of the recommender in the model registry."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from mlflow.entities.model_registry import ModelVersion

from augrec.core.errors import InputError, RefusedError
from augrec.core.files import read_json
from augrec.recommenders.base import Recommender
from augrec.registry import (
    bundle,
    experiment_page,
    mlflow_values,
    mlflow_versions,
    run_files,
    tracking,
)
from augrec.registry.connection import MODEL, client, exclusive, mlflow_errors

CHAMPION: Final = "champion"
CHALLENGER: Final = "challenger"
"""The version that `augrec serve` tests against the champion; see
`augrec.registry.promotion.challenge`."""
PREVIOUS: Final = "previous_champion"
METRICS: Final = "metrics.json"
"""Artefact of the MLflow run of a version's model: all that was measured."""
_DATA: Final = "dvc."


@dataclass(frozen=True)
class Version:
    """One registered model.

    Attributes:
        version: its number, as text: "7".
        aliases: "champion", "challenger", "previous_champion" or none.
        recommender, policy: the recommender and the policy of its training set.
        verdict: of the gate.
        digest: of the measured model's files.
        serving_digest: of the files of the model that serves: the same, or those of the winner
            trained once more on all interactions.
        commit, run_id: the run that trained it; Airflow's run id.
        feature_service: the Feast feature service of its training data.
        dvc: {path: DVC hash} of the data it was trained on.
        headlines: its most important numbers, see `tracking.headlines`.
        mlflow_run: id of its model's run in MLflow.
        created: UTC.
        tags: all other tags.
    """

    version: str
    aliases: tuple[str, ...]
    recommender: str
    policy: str
    verdict: str
    digest: str
    serving_digest: str
    commit: str
    run_id: str
    feature_service: str
    dvc: dict[str, str]
    headlines: dict[str, float]
    mlflow_run: str
    created: datetime
    tags: dict[str, str]


@mlflow_errors("register the model")
def register(
    workspace: Path,
    run_id: str,
    commit: str,
    decision: Mapping[str, Any],
    *,
    feature_service: str = "",
    links: Mapping[str, str] | None = None,
) -> Version:
    """Register the winner of a decision, with the model that was trained once more on all
    interactions, if the run has one, and its groups. Idempotent: the same files give the same
    version, also from another run.

    Args:
        workspace: where the run's files are.
        run_id: Airflow's run id; the run must have been logged.
        commit: of the run, from which `augrec reproduce` rebuilds the version.
        decision: decision.json.
        feature_service: the Feast feature service of its training data.
        links: tags with addresses, see `tracking.LINKS`.

    Raises:
        InputError: the run was not logged, or the winner's model is not in the workspace.
        RefusedError: gate.max_membership_auc is broken.
    """
    _within_limit(decision)
    winner = decision["winner"]
    model = workspace / winner["model"]
    if not model.is_dir():
        raise InputError(
            "the winner's model is missing", where=str(model), fix="run the train stage again"
        )
    refit = run_files.refit(workspace)
    digests = {"digest": bundle.digest(model)}
    if refit:
        digests["refit_digest"] = bundle.digest(refit)
    with (
        exclusive("registry"),
        tempfile.TemporaryDirectory(prefix="augrec-register-") as temporary,
    ):
        groups = run_files.write_groups(workspace, decision, Path(temporary) / "groups")
        if groups:
            digests["groups_digest"] = bundle.digest(groups)
        same = [
            known
            for known in mlflow_versions.all_versions()
            if all(
                known.tags.get(name) == digests.get(name)
                for name in bundle.DIGESTS
                if name != "items_digest"
            )
        ]
        for known in same:
            if bundle.sound(known.version):
                return find(known.version)
        child = tracking.find_child(
            run_id, "recommender", f"{winner['recommender']}/{winner['policy']}"
        )
        tags = _tags(workspace, run_id, commit, decision, feature_service) | digests
        tags |= links or {}
        folder = Path(temporary) / bundle.FOLDER
        facts = {
            key: tags[key]
            for key in ("recommender", "policy", "run_id", "commit", "feature_service")
        }
        items = run_files.read_items(workspace)
        tags |= bundle.build(model, folder, facts, items, refit, groups)
        client().log_artifacts(child.info.run_id, str(folder), bundle.FOLDER)
        source = f"{child.info.artifact_uri}/{bundle.FOLDER}"
        for known in same:
            if known.source == source:  # its damaged bundle has just been replaced
                client().set_model_version_tag(
                    MODEL, known.version, "items_digest", tags["items_digest"]
                )
                return find(known.version)
        mlflow_versions.ensure_registered_model()
        client().log_dict(child.info.run_id, _measured(decision), METRICS)
        made = client().create_model_version(
            MODEL,
            source,
            child.info.run_id,
            tags=tags,
            description=tracking.described(decision, tags),
        )
    return find(made.version)


@mlflow_errors("list the versions")
def versions() -> list[Version]:
    """All registered versions, newest first."""
    named = mlflow_versions.aliases()  # a search does not return them
    return [
        replace(
            _version(found),
            aliases=tuple(sorted(n for n, v in named.items() if v == str(found.version))),
        )
        for found in mlflow_versions.all_versions()
    ]


@mlflow_errors("look up the champion")
def champion() -> Version | None:
    """The champion; None before the first promotion."""
    found = mlflow_versions.by_alias(CHAMPION)
    return None if found is None else _version(found)


@mlflow_errors("look up the previous champion")
def previous_champion() -> Version | None:
    """The version that `rollback` returns to, or None."""
    found = mlflow_versions.by_alias(PREVIOUS)
    return None if found is None else _version(found)


@mlflow_errors("look up a version by its alias")
def named(alias: str) -> Version | None:
    """The version with an alias, or None."""
    found = mlflow_versions.by_alias(alias)
    return None if found is None else _version(found)


@mlflow_errors("look up the version")
def find(version: str | int) -> Version:
    """A version by its number.

    Raises:
        InputError: there is no such version.
    """
    return _version(mlflow_versions.by_number(version))


@mlflow_errors("read the version's metrics")
def metrics(version: Version) -> dict[str, Any]:
    """Everything that was measured of a version's model, metrics.json: {"valid": …, "test": …}.

    Raises:
        InputError: the file is missing.
    """
    with tempfile.TemporaryDirectory(prefix="augrec-metrics-") as folder:
        try:
            return read_json(Path(client().download_artifacts(version.mlflow_run, METRICS, folder)))
        except OSError as error:
            raise InputError(
                f"version {version.version} has no {METRICS}",
                where=f"MLflow run {version.mlflow_run}",
                fix="register it again: start a run with the same data and parameters",
            ) from error


def load(version: str | int = CHAMPION) -> Recommender:
    """The recommender of a version, by number or alias, after verifying its bundle.

    Raises:
        InputError: there is no such version.
        RefusedError: the bundle differs from the registered one.
    """
    return bundle.load(version)


def _measured(decision: Mapping[str, Any]) -> dict[str, Any]:
    arm = tracking.winning_arm(decision)
    return {split: arm[split] for split in ("valid", "test")}


def _within_limit(decision: Mapping[str, Any]) -> None:
    limit = decision.get("gate", {}).get("max_membership_auc")
    if limit is None:
        return
    arm = tracking.winning_arm(decision)
    found, name = arm.get("membership"), f"{arm['recommender']} with {arm['policy']}"
    if found is None:
        raise RefusedError(
            f"the membership attack on {name} could not be measured, and there is a limit",
            where="params.yaml, gate.max_membership_auc",
            fix="hold out more validation users (prepare.split), or set the limit to null",
        )
    shown = found["low"] - max(found["control"] - 0.5, 0.0)
    if shown > limit:
        raise RefusedError(
            f"the scores of {name} tell its training users from others: area {found['auc']:.3f}, "
            f"at least {shown:.3f} after its control, limit {limit}",
            where="params.yaml, gate.max_membership_auc",
            fix="regularise it more, take another recommender, or raise the limit",
        )


def _membership(arm: Mapping[str, Any]) -> dict[str, str]:
    found = arm.get("membership")
    return {} if found is None else {"membership_auc": f"{found['auc']:.4f}"}


def _tags(
    workspace: Path, run_id: str, commit: str, decision: Mapping[str, Any], feature_service: str
) -> dict[str, str]:
    winner, arm = decision["winner"], tracking.winning_arm(decision)
    hashes = run_files.dvc_hashes(workspace)
    used = (
        "data/raw",
        "data/prepared",
        "data/training_set",
        f"data/augmented/{winner['policy']}",
        winner["model"],
        "models/refit",
    )
    return {
        "recommender": winner["recommender"],
        "policy": winner["policy"],
        "verdict": decision["verdict"],
        "commit": commit,
        "run_id": run_id,
        "feature_service": feature_service,
        **_membership(arm),
        **{f"{_DATA}{path}": hashes[path] for path in used if path in hashes},
        **{
            mlflow_values.metric_name(name): f"{value:.4f}"
            for name, value in tracking.headlines(arm).items()
        },
    }


def _version(found: ModelVersion) -> Version:
    tags = dict(found.tags)
    serving = tags.pop("refit_digest", "") or tags.get("digest", "")
    return Version(
        serving_digest=serving,
        version=str(found.version),
        aliases=tuple(sorted(found.aliases)),
        **{
            name: tags.pop(name, "")
            for name in (
                "recommender",
                "policy",
                "verdict",
                "digest",
                "commit",
                "run_id",
                "feature_service",
            )
        },
        dvc={key.removeprefix(_DATA): tags.pop(key) for key in [*tags] if key.startswith(_DATA)},
        headlines={
            name: float(tags.pop(key))
            for name in experiment_page.HEADLINES
            if (key := mlflow_values.metric_name(name)) in tags
        },
        mlflow_run=found.run_id or "",
        created=datetime.fromtimestamp(found.creation_timestamp / 1000, UTC),
        tags=tags,
    )
