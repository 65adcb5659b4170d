"""Training curves in MLflow while a run is in progress; `tracking.log_run` completes them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # MLflow takes seconds to import, and most stages train nothing
    from mlflow.entities import Metric, Run


class LiveCurves:
    """The training curves of one task of a run.

    Points have the same name, value, step and time as those that `log_run` sends for the finished
    curve, and MLflow stores equal points once, so a row can be sent any number of times.

    Args:
        run_id: Airflow's run id.
        commit: the commit the run started from.
    """

    def __init__(self, run_id: str, commit: str) -> None:
        self._run_id, self._commit = run_id, commit
        self._opened: dict[tuple[str, str], tuple[Run, Run | None]] = {}

    def send(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Log rows of curves; parts that `log_run` has logged stay unchanged.

        Args:
            rows: mappings with "role", "name" and "row" ("step" and the measured values).

        Raises:
            TransientError: the store is busy or cannot be reached.
        """
        from augrec.registry import tracking
        from augrec.registry.connection import mlflow_errors

        curves: dict[tuple[str, str], list[Mapping[str, float]]] = {}
        for one in rows:
            curves.setdefault((one["role"], one["name"]), []).append(one["row"])
        with mlflow_errors("show a training curve"):
            for (role, name), curve in curves.items():
                if (role, name) not in self._opened:
                    self._opened[role, name] = tracking.open_part(
                        self._run_id, self._commit, role, name
                    )
                parent, child = self._opened[role, name]
                if child is not None:
                    tracking.log_batches(
                        child.info.run_id, _points(curve, parent.info.start_time), {}
                    )

    def end(self, *, failed: bool) -> None:
        """Set the status of the runs at the end of the task.

        Raises:
            TransientError: the store is busy or cannot be reached.
        """
        if not self._opened:
            return
        from augrec.registry.connection import client, mlflow_errors

        with mlflow_errors("end a training curve"):
            for parent, child in self._opened.values():
                if child is not None:
                    client().set_terminated(child.info.run_id, "FAILED" if failed else "FINISHED")
                    if failed:
                        client().set_terminated(parent.info.run_id, "FAILED")


def _points(curve: Iterable[Mapping[str, float]], time_ms: int) -> list[Metric]:
    from mlflow.entities import Metric

    from augrec.registry import mlflow_values

    return [
        Metric(mlflow_values.metric_name(f"curve/{name}"), float(value), time_ms, int(row["step"]))
        for row in curve
        for name, value in row.items()
        if name != "step" and isinstance(value, int | float) and math.isfinite(value)
    ]
