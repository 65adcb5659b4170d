"""Training curves in a real MLflow store while a run goes on, and when it is logged at its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from registry_workspace import make_workspace

from augrec.core.files import write_json
from augrec.registry import tracking
from augrec.registry.connection import client, experiment
from augrec.registry.live_curves import LiveCurves

pytestmark = pytest.mark.usefixtures("own_registry")
START, END = "aa" * 20, "bb" * 20


ROWS = [{"step": 50 * at, "critic": 1 / 3 / at, "recall@5": 0.1 * at} for at in (1, 2, 3)]


def told(rows: list[dict[str, float]], name: str = "gan") -> list[dict[str, Any]]:
    return [{"role": "generator", "name": name, "row": row} for row in rows]


def children() -> dict[str, Any]:
    found = client().search_runs([experiment()], f"tags.`{tracking.ROLE}` != 'run'")
    return {run.data.tags[tracking.NAME]: run for run in found}


def points(name: str, metric: str = "curve/critic") -> list[tuple[int, float]]:
    run = children()[name].info.run_id
    return sorted((point.step, point.value) for point in client().get_metric_history(run, metric))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_workspace(tmp_path_factory.mktemp("run") / "one", seed=1)
    generator = folder / "models/generators/gan"
    write_json(generator / "component.json", {"config": {}, "seed": 1})
    pl.DataFrame(ROWS).write_csv(generator / "curve.csv")
    return folder


def test_a_curve_can_be_seen_before_the_run_has_come_to_its_end():
    curves = LiveCurves("run one", START)
    curves.send(told(ROWS[:1]))
    assert points("gan") == [(50, 1 / 3)]
    curves.send(told(ROWS[1:]))
    assert points("gan", "curve/recall_at_5") == [(50, 0.1), (100, 0.2), (150, pytest.approx(0.3))]
    parent = tracking.find_parent("run one")
    assert children()["gan"].data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert (parent.info.status, children()["gan"].info.status) == ("RUNNING", "RUNNING")


def test_logging_the_run_completes_the_curve_and_doubles_nothing(workspace):
    live = LiveCurves("run one", START)
    live.send(told(ROWS[:2]))
    live.send(told(ROWS[:2]))  # a stage that goes on from a checkpoint tells its rows again
    live.end(failed=False)
    parent = tracking.find_parent("run one").info.run_id
    assert tracking.log_run(workspace, "run one", commit=END) == parent
    assert tracking.log_run(workspace, "run one", commit=END) == parent
    assert points("gan") == [(row["step"], row["critic"]) for row in ROWS]
    assert {"gan", "popularity/none", "popularity/truncation"} == set(children())
    for run in (client().get_run(parent), children()["gan"]):
        assert run.info.status == "FINISHED"
        assert run.data.tags["mlflow.source.git.commit"] == END, (
            "the run's own commit was made last"
        )
    assert tracking.LIVE not in children()["gan"].data.tags


def test_a_logged_run_stays_as_it_is(workspace):
    tracking.log_run(workspace, "run one", commit=END)
    LiveCurves("run one", START).send(told([{"step": 999, "critic": 9.0}]))
    assert points("gan") == [(row["step"], row["critic"]) for row in ROWS]


def test_a_task_that_failed_says_so_and_its_next_attempt_goes_on_in_the_same_run():
    first = LiveCurves("run one", START)
    first.send(told(ROWS[:1]))
    first.end(failed=True)
    assert tracking.find_parent("run one").info.status == children()["gan"].info.status == "FAILED"
    LiveCurves("run one", START).send(told(ROWS))
    assert tracking.find_parent("run one").info.status == children()["gan"].info.status == "RUNNING"
    assert len(points("gan")) == 3


def test_two_tasks_of_a_run_share_its_parent():
    for name in ("gan", "vae"):
        LiveCurves("run one", START).send(told(ROWS, name))
    assert len({run.data.tags["mlflow.parentRunId"] for run in children().values()}) == 1
    assert set(children()) == {"gan", "vae"}


def test_a_task_that_trained_nothing_leaves_nothing():
    LiveCurves("run one", START).end(failed=False)
    assert tracking.find_parent("run one") is None


def test_values_that_are_no_numbers_are_left_out():
    LiveCurves("run one", START).send(told([{"step": 1, "critic": float("nan"), "generator": 2.0}]))
    assert set(children()["gan"].data.metrics) == {"curve/generator"}
