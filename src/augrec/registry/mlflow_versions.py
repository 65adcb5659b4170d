"""MLflow's records of the registered model and its versions."""

from __future__ import annotations

from mlflow.entities.model_registry import ModelVersion, RegisteredModel
from mlflow.exceptions import MlflowException

from augrec.core.errors import InputError
from augrec.registry.connection import MODEL, absent, client


def registered_model() -> RegisteredModel | None:
    """The registered model; None before the first version."""
    try:
        return client().get_registered_model(MODEL)
    except MlflowException as error:
        if absent(error):
            return None
        raise


def aliases() -> dict[str, str]:
    """{alias: version}."""
    model = registered_model()
    return {} if model is None else {name: str(version) for name, version in model.aliases.items()}


def by_alias(alias: str) -> ModelVersion | None:
    """The version with an alias, or None."""
    try:
        return client().get_model_version_by_alias(MODEL, alias)
    except MlflowException as error:
        if absent(error):
            return None
        raise


def by_number(version: str | int) -> ModelVersion:
    """A version by its number.

    Raises:
        InputError: there is no such version.
    """
    try:
        return client().get_model_version(MODEL, str(version))
    except MlflowException as error:
        if not absent(error):
            raise
        raise InputError(
            f"there is no version {version}",
            where=f"registry, {MODEL}",
            fix="`augrec models` lists the versions",
        ) from error


def exists(version: str | int) -> bool:
    """Whether there is such a version; one that was deleted is none."""
    try:
        by_number(version)
    except InputError:
        return False
    return True


def named(name: str | int) -> ModelVersion:
    """A version by its number or alias.

    Raises:
        InputError: there is no such version or alias.
    """
    if str(name).isdigit():
        return by_number(name)
    found = by_alias(str(name))
    if found is None:
        raise InputError(
            f"no version has the alias {name!r}",
            where=f"registry, {MODEL}",
            fix="promote one first",
        )
    return found


def all_versions() -> list[ModelVersion]:
    """Every version, newest first; `aliases` are empty, because MLflow's search does not return
    them."""
    found: list[ModelVersion] = []
    token = None
    while True:
        page = client().search_model_versions(f"name = '{MODEL}'", page_token=token)
        found.extend(page)
        token = page.token
        if not token:
            return sorted(found, key=lambda version: -int(version.version))


def ensure_registered_model() -> None:
    """Create the registered model unless it exists."""
    try:
        client().create_registered_model(
            MODEL, description="Recommenders that won their run, and the champion."
        )
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
