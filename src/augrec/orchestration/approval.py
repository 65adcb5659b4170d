"""The task in which a person decides whether a new model may become champion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Param
from airflow.sdk.exceptions import AirflowSkipException

from augrec.orchestration.operators import failing_clearly

if TYPE_CHECKING:
    from airflow.sdk import Context

REASON = Param(
    None,
    type=["null", "string"],
    title="Reason",
    description_md="Recorded in the promotion log.",
)
"""The field next to *Approve* and *Reject*."""
NOBODY = "nobody (no answer in time)"
"""Who rejected, if the time to answer ran out."""


class Approval(ApprovalOperator):
    """Asks a person, if the run requires it or a group of users would lose, and the version may be
    promoted; skipped otherwise.

    A rejection skips what follows, and is recorded in the promotion log with who rejected and why.

    Args:
        registered: what `register` returned.
        approvers: ids of Airflow's users who may answer; empty: everybody who may edit the run.

    Returns {"by": who approved, "reason": what they wrote, or ""}.
    """

    template_fields = (*ApprovalOperator.template_fields, "registered")

    def __init__(self, *, registered: Any, approvers: Sequence[str], **kwargs: Any) -> None:
        super().__init__(
            defaults=[self.REJECT],
            assigned_users=[{"id": name, "name": name} for name in approvers] or None,
            **kwargs,
        )
        self.registered = registered

    def execute(self, context: Context) -> None:
        if not (context["params"]["require_approval"] or self.registered["ask"]):
            raise AirflowSkipException("approval is not required, see run.require_approval")
        if not self.registered["promotable"]:
            raise AirflowSkipException(self.registered["reason"])
        self.body = self.registered["markdown"]
        super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, str]:
        user = event["responded_by_user"]
        by = NOBODY if user is None else user["name"] or user["id"]
        reason = str((event["params_input"] or {}).get("reason") or "").strip()
        if self.REJECT in event["chosen_options"]:
            from augrec.core import settings
            from augrec.orchestration import tasks
            from augrec.registry import promotion

            with failing_clearly():
                promotion.reject(
                    self.registered["version"],
                    reason=reason or self.registered["reason"],
                    by=by,
                    run_id=context["dag_run"].run_id,
                )
                why = f": {reason}" if reason else ""
                tasks.show_outcome(
                    settings.load(), context["dag_run"].run_id, f"rejected by {by}{why}"
                )
        super().execute_complete(context, event)
        return {"by": by, "reason": reason}
