"""The profiles in infra/, and what the environment makes of them."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from augrec.core import settings
from augrec.core.errors import ConfigError
from augrec.orchestration.environment import environment, take_profile

INFRA = Path(__file__).parents[2] / "infra"
SERVERS = {
    "AUGREC_POSTGRES": "augrec:secret@db:5432",
    "AUGREC_REDIS": "redis://:secret@redis:6379",
    "AUGREC_S3": "s3://bucket/shop",
    "AUGREC_HOST": "10.0.0.5",
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in list(os.environ):
        if name.startswith(("AUGREC_", "AIRFLOW_", "MLFLOW_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AUGREC_HOME", str(tmp_path))
    shutil.copytree(INFRA, tmp_path / "infra", ignore=shutil.ignore_patterns("images"))
    return tmp_path


def test_one_host_needs_nothing_set(home: Path) -> None:
    found = environment(settings.load())
    assert found["AIRFLOW__CORE__EXECUTOR"] == "augrec.orchestration.executor.LocalExecutor"
    assert found["AUGREC_MLFLOW_DATABASE"] == found["MLFLOW_TRACKING_URI"]
    assert found["MLFLOW_TRACKING_URI"].startswith(f"sqlite:///{home}/var/mlflow/")
    assert "AUGREC_GIT_REMOTE" not in found and "AUGREC_WORKER" not in found


def test_celery_takes_its_servers_from_the_environment(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**SERVERS, "AUGREC_PROFILE": "celery"}.items():
        monkeypatch.setenv(name, value)
    found = environment(settings.load())
    database = "postgresql+psycopg://augrec:secret@db:5432"
    assert found["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] == f"{database}/airflow"
    assert found["MLFLOW_TRACKING_URI"] == "http://10.0.0.5:5000"
    assert found["AUGREC_MLFLOW_DATABASE"] == f"{database}/mlflow"
    assert found["AIRFLOW_HOME"] == f"{home}/var/airflow"  # of embedded.env, which is read first
    assert found["AUGREC_POOL_GPU"] == ""  # not that of embedded.env


def test_commands_see_the_stores_of_the_profile(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**SERVERS, "AUGREC_PROFILE": "celery"}.items():
        monkeypatch.setenv(name, value)
    before = set(os.environ)
    try:
        take_profile(settings.load())
        here = settings.load()
    finally:
        for name in os.environ.keys() - before:
            del os.environ[name]
    assert here.mlflow_uri == "http://10.0.0.5:5000"
    assert here.online_store == "redis://:secret@redis:6379/1"
    assert here.git_remote == "origin" and here.dvc_remote == "s3://bucket/shop/dvc"


def test_what_the_environment_sets_wins(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__PARALLELISM", "7")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    found = environment(settings.load())
    assert found["AIRFLOW__CORE__PARALLELISM"] == "7"
    assert found["MLFLOW_TRACKING_URI"] == "http://mlflow:5000"


def test_a_variable_that_is_missing_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUGREC_PROFILE", "celery")
    with pytest.raises(ConfigError, match="celery needs AUGREC_POSTGRES"):
        environment(settings.load())


def test_a_profile_that_does_not_exist_is_refused(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUGREC_PROFILE", "cellery")
    with pytest.raises(ConfigError, match="no profile cellery") as caught:
        environment(settings.load())
    assert "celery, edge, embedded" in str(caught.value)


def test_a_bound_of_the_cache_is_a_number(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUGREC_CACHE_GB", "1.5")
    assert settings.load().cache_bytes == 1_500_000_000
    monkeypatch.setenv("AUGREC_CACHE_GB", "much")
    with pytest.raises(ConfigError, match="'much', not a number of gigabytes"):
        settings.load()


@pytest.mark.parametrize("profile", sorted(INFRA.glob("*.env")), ids=lambda path: path.stem)
def test_no_secret_is_in_a_profile(profile: Path) -> None:
    for line in profile.read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition("=")
        secret = re.search("SECRET|PASSWORD|KEY|TOKEN", name) and not name.endswith("_FILE")
        if not line.startswith("#"):
            assert not secret or value.startswith("$"), line
            assert not re.search(r"://[^$/]*:[^$/]*@", value), line
