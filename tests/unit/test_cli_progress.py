"""How a run's tasks are shown while it goes on."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from augrec.cli.progress import Progress
from augrec.orchestration.client import TaskState


@pytest.fixture
def progress() -> Progress:
    return Progress(Path(__file__).parents[2] / "dvc.yaml")


def state(task: str, kind: str, member: str = "", index: int = -1) -> TaskState:
    return TaskState(task, member, kind, index, 1)


def line(progress: Progress, task: str) -> str:
    console = Console(width=100, file=StringIO(), record=True)
    console.print(progress.table())
    [found] = [row for row in console.export_text().splitlines() if row.split()[1:2] == [task]]
    return found.strip()


def test_tasks_stand_in_the_order_of_the_pipeline(progress: Progress) -> None:
    console = Console(width=100, file=StringIO(), record=True)
    console.print(progress.table())
    names = [row.split()[1] for row in console.export_text().splitlines() if row.split()]
    assert names[:6] == [
        "snapshot",
        "configure",
        "validate",
        "prepare",
        "select",
        "features",
    ]
    assert names[-6:] == ["decide", "refit", "publish", "register", "approve", "promote"]


@pytest.mark.parametrize(
    ("kind", "mark", "word"),
    [
        ("waiting", "·", ""),
        ("running", "▶", ""),
        ("success", "✓", ""),
        ("failed", "✗", "failed"),
        ("upstream_failed", "✗", "an earlier task failed"),
        ("up_for_retry", "↻", "will be retried"),
        ("awaiting_input", "?", "Required Actions"),
        ("skipped", "–", "not needed"),
    ],
)
def test_each_state_has_its_mark_and_words(
    progress: Progress, kind: str, mark: str, word: str
) -> None:
    progress.update([state("approve", kind)])
    shown = line(progress, "approve")
    assert shown.startswith(mark) and word in shown


def test_a_mapped_task_counts_its_members_and_names_those_running(progress: Progress) -> None:
    progress.update(
        [
            state("train", "success", "ease-none", 0),
            state("train", "running", "ease-truncation", 1),
            state("train", "waiting", "", 2),
        ]
    )
    shown = line(progress, "train")
    assert (
        shown.startswith("▶")
        and "1/3" in shown
        and "ease-truncation" in shown
        and "ease-none" not in shown
    )


def test_one_failed_member_marks_the_whole_task(progress: Progress) -> None:
    progress.update([state("train", "success", "a", 0), state("train", "failed", "b", 1)])
    assert line(progress, "train").startswith("✗") and "1/2" in line(progress, "train")


def test_where_output_cannot_be_redrawn_each_task_is_printed_once_when_it_ends(
    progress: Progress,
) -> None:
    progress.update([state("snapshot", "success"), state("validate", "running")])
    assert [str(text).split()[:2] for text in progress.finished_since_last_call()] == [
        ["✓", "snapshot"]
    ]
    assert progress.finished_since_last_call() == []
    progress.update([state("snapshot", "success"), state("validate", "failed")])
    assert [str(text).split()[:2] for text in progress.finished_since_last_call()] == [
        ["✗", "validate"]
    ]
