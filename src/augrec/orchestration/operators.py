"""What the DAGs of augrec are made of: the stage operator, and errors that Airflow understands."""

from __future__ import annotations

import ctypes
import logging
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from augrec.core import settings as settings_
from augrec.core.errors import AugrecError, TransientError
from augrec.core.files import read_json
from augrec.orchestration.report_links import DataDocsLink, ReportLink

if TYPE_CHECKING:
    from airflow.sdk import Context

DECIDE = "decide"
"""The stage that ends with the verdict."""

log = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1  # of sys/prctl.h


@contextmanager
def failing_clearly() -> Iterator[None]:
    """Turn augrec's errors into Airflow's: a permanent error fails the task at once, a transient
    one is retried."""
    try:
        yield
    except TransientError as error:
        raise AirflowException(f"{error}\n  This may be temporary: Airflow retries.") from error
    except AugrecError as error:
        raise AirflowFailException(
            f"{error}\n  A retry cannot help, so this task is not retried."
        ) from error


class StageOperator(BaseOperator):
    """Runs one stage of dvc.yaml in the run's workspace, or restores it.

    Args:
        stage: the stage's name in dvc.yaml.
        member: the member of a matrix, e.g. "ease-none"; empty for a stage without a matrix.

    Returns "ran" or "restored".
    """

    template_fields = ("stage", "member")
    operator_extra_links = (DataDocsLink(), ReportLink())
    ui_color = "#e8f0ea"

    def __init__(self, *, stage: str, member: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stage = stage
        self.member = member

    def execute(self, context: Context) -> str:
        from augrec.orchestration import entries
        from augrec.registry.live_curves import LiveCurves
        from augrec.versioning import hosts, stages

        end_with_supervisor()
        name = f"{self.stage}@{self.member}" if self.member else self.stage
        with failing_clearly():
            here = settings_.load()
            run = hosts.join(here, context["dag_run"].run_id)
            outcome: str = "restored"
            if name not in run.restored:
                entries.bring_inputs(here, run, name, context)
                # a dry run writes nothing to MLflow
                curves = None if run.dry_run else LiveCurves(run.run_id, run.commit)
                outcome = stages.run_stage(run.path, name, curve_sink=curves)
            entries.hand_on(here, run, name, context)
        log.info("stage %s: %s", name, outcome)
        if self.stage == DECIDE:
            from augrec.orchestration import run_report

            run_report.decided(run)
            if outcome == "restored":  # where it runs, the stage says this itself
                for sentence in read_json(run.path / "reports" / "decision.json")["sentences"]:
                    log.info(sentence)
        return outcome


def end_with_supervisor() -> None:
    """Let Linux kill this task when the process that watches it is gone: nobody would hear its
    result, and Airflow will start another. The stage that it runs ends with it, see
    `augrec.stages.runner`."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
