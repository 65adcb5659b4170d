"""Shared by all tests: nothing phones home, nothing touches the project's own state."""

from __future__ import annotations

import os

os.environ.update(
    {
        "DVC_NO_ANALYTICS": "1",
        "GX_ANALYTICS_ENABLED": "false",
        "FEAST_USAGE": "False",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MPLBACKEND": "agg",
    }
)
for _name in (
    "AUGREC_HOME",
    "AUGREC_VAR",
    "AUGREC_HOST",
    "MLFLOW_TRACKING_URI",
    "AUGREC_ONLINE_STORE",
):
    os.environ.pop(_name, None)
