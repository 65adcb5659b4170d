"""A run's results in MLflow: one parent run, a child run for each generator and for each
recommender under each policy, and below a recommender a run for each trial of its search."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag

from augrec.core.errors import ConfigError, InputError
from augrec.core.files import read_json
from augrec.registry import experiment_page, mlflow_values, run_files
from augrec.registry.connection import client, exclusive, experiment, mlflow_errors

RUN_ID: Final = "augrec.run_id"
REPLACED: Final = "augrec.replaced_run_id"
EVIDENCE: Final = "augrec.evidence"
ROLE: Final = "augrec.role"
NAME: Final = "augrec.name"
LINKS: Final = {"augrec.report": "Report", "augrec.airflow": "Run in Airflow"}
"""Tags that hold addresses: of a run's report and of the run in Airflow."""
OUTCOME: Final = "augrec.outcome"
"""Tag of a run and of a version: why the version may serve, or why not."""
LIVE: Final = "augrec.live"
"""Tag of a part whose curve is being logged live, until `log_run`."""
_PARENT: Final = "mlflow.parentRunId"
_SHOWN_FILES = ("reports/report.html", "reports/decision.json", "dvc.lock")
_SHOWN_FOLDERS = {"reports/validation": "validation", "reports/splits": "splits"}
_STATUS = {"pruned": "KILLED", "stopped": "KILLED", "failed": "FAILED"}
"""{state of a trial: MLflow status}."""

T = TypeVar("T")


@mlflow_errors("log the run")
def log_run(
    workspace: Path, run_id: str, *, commit: str, tags: Mapping[str, str] | None = None
) -> str:
    """Log all results of a finished run.

    Idempotent by run id: a second call changes nothing, a run that a killed task logged in part is
    completed, and a run that was computed again with other results replaces the first, which stays
    in MLflow with the tag `REPLACED`.

    Args:
        workspace: where the run's files are.
        run_id: Airflow's run id.
        commit: the run's commit.
        tags: further tags, e.g. who triggered the run.

    Returns:
        The id of the parent run in MLflow.

    Raises:
        InputError: the workspace has no params.yaml or dvc.lock.
        TransientError: the store is busy or cannot be reached.
    """
    mark = run_files.fingerprint(workspace, commit)
    hashes = run_files.dvc_hashes(workspace)
    with exclusive("tracking"):
        parent = find_parent(run_id)
        if parent is not None and parent.data.tags.get(EVIDENCE, mark) != mark:
            _set_aside(parent, run_id)
            parent = None
        run_tags = _parent_tags(run_id, commit, tags or {}) | {EVIDENCE: mark}
        if parent is None:
            parent = _start_parent(run_id, run_tags)
        elif EVIDENCE not in parent.data.tags:  # started by `open_part`, before the run's commit
            client().log_batch(parent.info.run_id, tags=[RunTag(*tag) for tag in run_tags.items()])
        if parent.info.status != "FINISHED":
            for part in run_files.parts(workspace):
                _log_part(parent, part, hashes, commit)
            _log_parent(parent, workspace, hashes)
            client().set_terminated(parent.info.run_id, "FINISHED")
    return str(parent.info.run_id)


def open_part(run_id: str, commit: str, role: str, name: str) -> tuple[Run, Run | None]:
    """Start or resume the parent run and the child run of one part, while the run is in progress.

    Args:
        run_id: Airflow's run id.
        commit: the commit the run started from.
        role, name: see `run_files.Part`.

    Returns:
        Parent and child; no child if the run has been logged.
    """
    with exclusive("tracking"):
        parent = find_parent(run_id)
        if parent is None:
            parent = _start_parent(run_id, _parent_tags(run_id, commit, {}))
        if EVIDENCE in parent.data.tags:
            return parent, None
        child = _find_part(parent, role, name) or _start_part(
            parent, role, name, commit, {LIVE: "true"}
        )
        for run in (parent, child):
            if run.info.status != "RUNNING":  # an attempt that failed
                client().update_run(run.info.run_id, status="RUNNING")
    return parent, child


def find_parent(run_id: str) -> Run | None:
    """The parent run of a run id, or None."""
    return _one(f"tags.`{RUN_ID}` = '{_plain(run_id)}' and tags.`{ROLE}` = 'run'")


def find_child(run_id: str, role: str, name: str) -> Run:
    """The finished child run of one generator or recommender.

    Raises:
        InputError: the run was not logged, or has no such part.
    """
    parent = find_parent(run_id)
    child = None if parent is None else _find_part(parent, role, name)
    if child is None or child.info.status != "FINISHED":
        raise InputError(
            f"MLflow has no finished {role} {name!r} of this run",
            where=f"run {run_id}",
            fix="log the run before its winner is registered",
        )
    return child


def _find_part(parent: Run, role: str, name: str) -> Run | None:
    return _one(
        f"tags.`{_PARENT}` = '{parent.info.run_id}' and tags.`{ROLE}` = '{role}' and tags.`{NAME}` "
        f"= '{_plain(name)}'"
    )


def _one(query: str) -> Run | None:
    found = client().search_runs(
        [experiment()], query, max_results=1, order_by=["attributes.start_time ASC"]
    )
    return found[0] if found else None


def _parent_tags(run_id: str, commit: str, tags: Mapping[str, str]) -> dict[str, str]:
    given = {key: mlflow_values.redact(key, value) for key, value in tags.items()}
    own = {RUN_ID: run_id, ROLE: "run", "augrec.commit": commit, "mlflow.source.git.commit": commit}
    return given | own


def _start_parent(run_id: str, tags: Mapping[str, str]) -> Run:
    return client().create_run(experiment(), tags=dict(tags), run_name=run_id)


def _start_part(parent: Run, role: str, name: str, commit: str, tags: Mapping[str, str]) -> Run:
    own = {_PARENT: parent.info.run_id, ROLE: role, NAME: name, "mlflow.source.git.commit": commit}
    return client().create_run(experiment(), tags=own | dict(tags), run_name=name)


def _set_aside(parent: Run, run_id: str) -> None:
    """Remove the run id from a run but keep it: a registered version may refer to it."""
    client().set_tag(parent.info.run_id, REPLACED, run_id)
    client().delete_tag(parent.info.run_id, RUN_ID)


def _log_part(parent: Run, part: run_files.Part, hashes: Mapping[str, str], commit: str) -> None:
    child = _find_part(parent, part.role, part.name)
    if child is None:
        child = _start_part(parent, part.role, part.name, commit, {})
    if child.info.status == "FINISHED" and LIVE not in child.data.tags:
        return
    # MLflow stores points with equal name, value, step and time once. All have the parent's start
    # as their time, so that points which a killed task has sent already are not duplicated.
    time_ms = parent.info.start_time
    points = [Metric(name, value, time_ms, 0) for name, value in part.metrics.items()]
    points += [
        Metric(mlflow_values.metric_name(f"curve/{name}"), value, time_ms, step)
        for name in part.curve.columns
        if name != "step"
        for step, value in part.curve.select("step", name).drop_nulls().drop_nans().iter_rows()
    ]
    log_batches(child.info.run_id, points, part.parameters)
    _log_inputs(child.info.run_id, part.inputs, hashes)
    for path in part.files:
        client().log_artifact(child.info.run_id, str(path))
    _log_trials(child, part, time_ms)
    client().set_terminated(child.info.run_id, "FINISHED")
    if LIVE in child.data.tags:
        client().set_tag(child.info.run_id, "mlflow.source.git.commit", commit)
        client().delete_tag(child.info.run_id, LIVE)


def _log_trials(child: Run, part: run_files.Part, time_ms: int) -> None:
    """Log the trials of a search as child runs of the model's run; existing ones stay unchanged."""
    if not part.trials:
        return
    below = f"tags.`{_PARENT}` = '{child.info.run_id}' and tags.`{ROLE}` = 'trial'"
    known = {
        run.data.tags[NAME]: run
        for run in client().search_runs([experiment()], below, max_results=1000)
    }
    for trial in part.trials:
        name = f"{part.name} trial {trial.number}"
        run = known.get(name)
        if run is None:
            own = {
                _PARENT: child.info.run_id,
                ROLE: "trial",
                NAME: name,
                "augrec.state": trial.state,
            }
            run = client().create_run(experiment(), tags=own, run_name=f"trial {trial.number}")
        elif run.info.status != "RUNNING":
            continue
        points = [Metric(name, value, time_ms, 0) for name, value in trial.metrics.items()]
        parameters = [Param(key, value) for key, value in trial.parameters.items()]
        client().log_batch(run.info.run_id, metrics=points, params=parameters)
        client().set_terminated(run.info.run_id, _STATUS.get(trial.state, "FINISHED"))


def _log_parent(parent: Run, workspace: Path, hashes: Mapping[str, str]) -> None:
    run = parent.info.run_id
    _log_inputs(run, {"data/raw": "source", "data/prepared": "split"}, hashes)
    for name in _SHOWN_FILES:
        if (workspace / name).exists():
            client().log_artifact(run, str(workspace / name))
    for name, shown_as in _SHOWN_FOLDERS.items():
        if (workspace / name).is_dir():
            client().log_artifacts(run, str(workspace / name), shown_as)
    points: list[Metric] = []
    if (workspace / "reports/decision.json").exists():
        decision = read_json(workspace / "reports/decision.json")
        winner = decision["winner"]
        points = [
            Metric(name, value, parent.info.start_time, 0)
            for name, value in _winner_metrics(decision).items()
        ]
        outcome = {
            "verdict": decision["verdict"],
            "winner": f"{winner['recommender']}/{winner['policy']}",
        }
        tags = [RunTag(f"augrec.{key}", value) for key, value in outcome.items()]
        client().log_batch(
            run,
            tags=[*tags, RunTag("mlflow.note.content", described(decision, parent.data.tags))],
        )
    log_batches(run, points, run_files.run_parameters(workspace))


def _winner_metrics(decision: Mapping[str, object]) -> dict[str, float]:
    arm = winning_arm(decision)
    return mlflow_values.metrics(
        {
            **headlines(arm),
            "winner": {split: run_files.shown(arm.get(split) or {}) for split in ("valid", "test")},
        }
    )


def described(decision: Mapping, tags: Mapping[str, str]) -> str:
    """The outcome, if the tags hold it, and the decision in words, in Markdown, with links to what
    the tags name: the run's report and the run in Airflow."""
    told = [tags.get(OUTCOME), *decision.get("sentences", [])]
    words = " ".join(filter(None, told))[:4000]
    links = [f"[{name}]({tags[key]})" for key, name in LINKS.items() if key in tags]
    return "\n\n".join(filter(None, (words, " · ".join(links))))


@mlflow_errors("show the report")
def show_report(run_id: str, page: str) -> None:
    """Replace the report.html of a logged run."""
    parent = find_parent(run_id)
    if parent is not None:
        client().log_text(parent.info.run_id, page, "report.html")


def headlines(arm: Mapping) -> dict[str, float]:
    """The numbers of an arm that are shown first, see `experiment_page.HEADLINES`."""
    measured = mlflow_values.flatten(
        {split: arm.get(split) or {} for split in ("valid", "test")}, separator="/"
    )
    found = {name: measured.get(place) for name, place in experiment_page.HEADLINES.items()}
    return {name: value for name, value in found.items() if value is not None}


def winning_arm(decision: Mapping) -> Mapping:
    """The winner's entry in the arms of decision.json."""
    winner = decision["winner"]
    for arm in decision["arms"]:
        if (arm["recommender"], arm["policy"]) == (winner["recommender"], winner["policy"]):
            return arm
    raise InputError(
        "the decision's winner is not among its arms",
        where="reports/decision.json",
        fix="run decide again",
    )


def log_batches(run: str, points: Sequence[Metric], parameters: Mapping[str, str]) -> None:
    """Log points and parameters in batches of the size that MLflow allows."""
    for batch in _batches([Param(key, value) for key, value in parameters.items()], 100):
        client().log_batch(run, params=batch)
    for chunk in _batches(points, 1000):
        client().log_batch(run, metrics=chunk)


def _log_inputs(run: str, paths: Mapping[str, str], hashes: Mapping[str, str]) -> None:
    inputs = []
    for path, context in paths.items():
        if path in hashes:
            source = json.dumps({"path": path, "md5": hashes[path]}, sort_keys=True)
            dataset = Dataset(name=path, digest=hashes[path], source_type="dvc", source=source)
            inputs.append(DatasetInput(dataset, [InputTag("mlflow.data.context", context)]))
    if inputs:
        client().log_inputs(run, inputs)


def _batches(things: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(things), size):
        yield things[start : start + size]


def _plain(text: str) -> str:
    """The text unchanged: MLflow's query language cannot escape quotes."""
    if any(mark in text for mark in "'\"`\\"):
        raise ConfigError(
            f"{text!r} cannot be looked up in MLflow",
            where="run id",
            fix="use an id without quotes",
        )
    return text
