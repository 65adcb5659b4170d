"""A live table of a run: one line for each task, with the number of its members that are done."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from augrec.orchestration.client import TaskState

_MARK = {
    "success": ("✓", "green"),
    "failed": ("✗", "red"),
    "upstream_failed": ("✗", "red"),
    "running": ("▶", "yellow"),
    "up_for_retry": ("↻", "yellow"),
    "awaiting_input": ("?", "magenta"),
    "skipped": ("–", "dim"),
}
_WORDS = {
    "failed": "failed",
    "upstream_failed": "not started, because an earlier task failed",
    "up_for_retry": "will be retried",
    "awaiting_input": "waits for approval: open Required Actions in Airflow",
    "skipped": "not needed",
}
_ENDED = {"success", "failed", "skipped", "upstream_failed"}
_BEFORE, _AFTER = ["snapshot"], ["publish", "register", "approve", "promote"]


class Progress:
    """Collects task states and draws them.

    Args:
        dvc_yaml: defines which tasks are stages, and their order.
    """

    def __init__(self, dvc_yaml: Path) -> None:
        from augrec.orchestration.pipeline import read_pipeline

        self.stages = [spec.name for spec in read_pipeline(dvc_yaml)]
        after_features = self.stages.index("features") + 1 if "features" in self.stages else 0
        self._order = [
            *_BEFORE,
            *self.stages[:after_features],
            "materialize",
            *self.stages[after_features:],
            *_AFTER,
        ]
        self._states: dict[str, list[TaskState]] = {}
        self._started: dict[str, float] = {}
        self._ended: dict[str, float] = {}
        self._reported: set[str] = set()

    def update(self, states: list[TaskState]) -> None:
        """Replace the task states by those that Airflow reports now."""
        self._states = {}
        for state in states:
            self._states.setdefault(state.task, []).append(state)
        for task, members in self._states.items():
            kinds = {member.state for member in members}
            if kinds - {"waiting", "skipped", "None"}:
                self._started.setdefault(task, time.monotonic())
            if kinds <= _ENDED:
                self._ended.setdefault(task, time.monotonic())
            else:
                self._ended.pop(task, None)

    def table(self) -> Table:
        """The current state of all tasks."""
        table = Table(box=None, show_header=False, padding=(0, 1))
        for task in self._order:
            table.add_row(*self._row(task))
        return table

    def finished_since_last_call(self) -> list[Text]:
        """A line for each task that has ended since the last call, for output that cannot be
        redrawn."""
        lines = []
        for task in self._order:
            if task in self._ended and task not in self._reported:
                self._reported.add(task)
                mark, name, detail = self._row(task)
                name.pad_right(max(0, 16 - len(name)))
                lines.append(Text.assemble(mark, " ", name, " ", detail))
        return lines

    def _row(self, task: str) -> tuple[Text, Text, Text]:
        members = self._states.get(task, [])
        counts = Counter(member.state for member in members)
        worst = next(
            (
                kind
                for kind in (
                    "failed",
                    "upstream_failed",
                    "awaiting_input",
                    "up_for_retry",
                    "running",
                )
                if counts[kind]
            ),
            None,
        )
        if worst is None and members and counts["success"] + counts["skipped"] == len(members):
            worst = "success" if counts["success"] else "skipped"
        mark, style = _MARK.get(worst or "", ("·", "dim"))
        name = Text(task, style if style == "dim" else "")
        return Text(mark, style), name, self._detail(task, members, counts, worst)

    def _detail(
        self, task: str, members: list[TaskState], counts: Counter[str], kind: str | None
    ) -> Text:
        parts = []
        if len(members) > 1:
            parts.append(f"{counts['success']}/{len(members)}")
        if kind in _WORDS:
            parts.append(_WORDS[kind])
        if task in self._started and kind != "skipped":
            parts.append(f"{self._ended.get(task, time.monotonic()) - self._started[task]:.0f} s")
        running = [
            member.member for member in members if member.state == "running" and member.member
        ]
        return Text("  ".join([*parts, ", ".join(running)]).strip(), "dim")
