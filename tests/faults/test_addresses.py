"""What would make the platform reachable from other machines."""

from __future__ import annotations

from pathlib import Path

import pytest

from augrec.core import settings
from augrec.core.errors import ConfigError
from augrec.orchestration import platform


@pytest.fixture
def open_to_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> settings.Settings:
    """An installation whose servers are to listen on an address of a network."""
    monkeypatch.setenv("AUGREC_HOME", str(tmp_path))
    monkeypatch.setenv("AUGREC_HOST", "192.0.2.1")
    for name in ("AUGREC_BEHIND_AUTHENTICATION", "AUGREC_API_KEYS", "AUGREC_API_KEYS_FILE"):
        monkeypatch.delenv(name, raising=False)
    return settings.load()


def test_without_a_proxy_or_keys_nothing_listens_beyond_this_machine(
    open_to_all: settings.Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="Airflow and MLflow reachable") as raised:
        platform.up(open_to_all, say=print)
    assert "proxy" in raised.value.fix
    monkeypatch.setenv("AUGREC_BEHIND_AUTHENTICATION", "1")
    with pytest.raises(ConfigError, match="anyone call the service") as raised:
        platform.up(open_to_all, say=print)
    assert "augrec serve --new-key" in raised.value.fix
    assert not open_to_all.var.exists()
