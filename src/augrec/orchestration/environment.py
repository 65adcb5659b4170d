"""The environment of the platform's processes: infra/embedded.env, and secrets that are generated
once on this machine."""

from __future__ import annotations

import base64
import json
import os
import secrets
from pathlib import Path
from string import Template

from augrec.core.files import read_json
from augrec.core.settings import Settings

USER = "admin"


def environment(settings: Settings) -> dict[str, str]:
    """Variables for Airflow and MLflow; those set in the caller's environment take precedence."""
    places = {
        "AUGREC_HOME": str(settings.home),
        "AUGREC_VAR": str(settings.var),
        "AUGREC_HOST": settings.host,
        "AUGREC_AIRFLOW_PORT": str(settings.airflow_port),
        "AUGREC_MLFLOW_PORT": str(settings.mlflow_port),
        "AUGREC_SERVING_PORT": str(settings.serving_port),
        "MLFLOW_TRACKING_URI": settings.mlflow_uri,
        "AUGREC_ONLINE_STORE": settings.online_store,
    }
    profile = {}
    for line in (settings.home / "infra" / "embedded.env").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.partition("=")
            profile[name] = Template(value).substitute(places)
    return {**profile, **_secrets(settings), **os.environ, **places}


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
