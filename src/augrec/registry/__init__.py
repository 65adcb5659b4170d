"""MLflow: log, register, promote, roll back, reproduce. The only package that imports it."""

from __future__ import annotations

import logging
import os

# MLflow reads these when it is imported, so they are set before any module of this package is.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
os.environ["MLFLOW_UV_AUTO_DETECT"] = "false"  # a bundle states its requirements itself
os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
# its own limits, two minutes and seven attempts, would hold up whoever asks a dead server
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "15")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
for noisy in ("alembic", "mlflow.store.db.utils", "mlflow.store.model_registry", "mlflow.pyfunc"):
    logging.getLogger(noisy).setLevel(logging.WARNING)
