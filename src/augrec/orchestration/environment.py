"""The environment of the platform's processes: the profiles in infra/, and secrets that are
generated once on this machine."""

from __future__ import annotations

import base64
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Final

from augrec.core.errors import ConfigError
from augrec.core.files import read_json
from augrec.core.settings import Settings

USER = "admin"
EMBEDDED: Final = "embedded"
"""The profile that every other one begins with."""


def environment(settings: Settings) -> dict[str, str]:
    """Variables for Airflow and MLflow: those of infra/embedded.env, of the profile that
    AUGREC_PROFILE names, and of the caller's environment, each before what stands to its left.

    Raises:
        ConfigError: there is no such profile, or it needs a variable that is not set.
    """
    places = {
        "AUGREC_HOME": str(settings.home),
        "AUGREC_VAR": str(settings.var),
        "AUGREC_HOST": settings.host,
        "AUGREC_AIRFLOW_PORT": str(settings.airflow_port),
        "AUGREC_MLFLOW_PORT": str(settings.mlflow_port),
        "AUGREC_SERVING_PORT": str(settings.serving_port),
    }
    stores = {
        "MLFLOW_TRACKING_URI": settings.mlflow_uri,
        "AUGREC_ONLINE_STORE": settings.online_store,
    }
    known = {**stores, **os.environ, **places}
    profile: dict[str, str] = {}
    for name in dict.fromkeys((EMBEDDED, os.environ.get("AUGREC_PROFILE", EMBEDDED))):
        profile |= _read_profile(settings.home / "infra" / f"{name}.env", known)
    return {**stores, **profile, **_secrets(settings), **os.environ, **places}


def take_profile(settings: Settings) -> None:
    """Let this process see the profile that AUGREC_PROFILE names, as the platform's do."""
    if "AUGREC_PROFILE" in os.environ:
        os.environ.update(environment(settings))


def password(settings: Settings) -> str:
    """The password of Airflow's user "admin", generated at the first call and kept in a file that
    only its owner can read."""
    path = password_file(settings)
    if not path.exists():
        _write_private(path, {USER: secrets.token_urlsafe(12)})
    return read_json(path)[USER]


def password_file(settings: Settings) -> Path:
    """The file with the password of `password`."""
    return settings.var / "airflow" / "passwords.json"


def _read_profile(path: Path, known: Mapping[str, str]) -> dict[str, str]:
    if not path.exists():
        names = ", ".join(sorted(other.stem for other in path.parent.glob("*.env")))
        raise ConfigError(
            f"there is no profile {path.stem}",
            where="AUGREC_PROFILE",
            fix=f"write one of {names}",
        )
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.partition("=")
            try:
                found[name] = Template(value).substitute(known)
            except KeyError as error:
                raise ConfigError(
                    f"the profile {path.stem} needs {error.args[0]}, which is not set",
                    where=f"{name} in {path}",
                    fix="set it in the environment; the top of that file explains it",
                ) from error
    return found


def _secrets(settings: Settings) -> dict[str, str]:
    path = settings.var / "airflow" / "secrets.json"
    if not path.exists():
        names = ("AIRFLOW__API_AUTH__JWT_SECRET", "AIRFLOW__API__SECRET_KEY")
        fernet = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
        _write_private(
            path,
            {
                **{name: secrets.token_urlsafe(32) for name in names},
                "AIRFLOW__CORE__FERNET_KEY": fernet,
            },
        )
    return read_json(path)


def _write_private(path: Path, value: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)  # private before it contains a secret
    draft.write_text(json.dumps(value), encoding="utf-8")
    draft.replace(path)
