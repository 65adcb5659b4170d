"""Airflow loads the plugin of augrec: once, and without an import error that every user would see.

Building the editable install leaves `src/augrec.egg-info`, a second description of the package with
the same entry point. `make install` removes it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

LIST_PLUGINS = """
import json
from airflow import plugins_manager as manager
manager.ensure_plugins_loaded()
loaded = [one["name"] for one in manager.get_plugin_info()]
print(json.dumps({"loaded": loaded, "errors": manager.get_import_errors()}))
"""


def test_airflow_loads_the_plugin_once_and_reports_no_import_error(tmp_path):
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path}/airflow.db",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
    }
    done = subprocess.run(
        [sys.executable, "-c", LIST_PLUGINS],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["errors"] == {}, "is there a src/augrec.egg-info? `make install` removes it"
    assert found["loaded"].count("augrec") == 1
