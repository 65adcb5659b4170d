"""The main job: from raw interactions to a champion in the registry.

The stage tasks are derived from dvc.yaml. The other tasks have side effects; each is keyed by the
run, so that running it twice changes nothing the second time.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, AssetOrTimeSchedule, TaskGroup, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException

from augrec.core.config import read_params
from augrec.orchestration import form, run_parameters
from augrec.orchestration.approval import REASON, Approval
from augrec.orchestration.operators import StageOperator, failing_clearly
from augrec.orchestration.pipeline import read_pipeline
from augrec.orchestration.placement import placed
from augrec.orchestration.schedule import DEFAULTS, RAW_DATA, every

HOME = Path(os.environ.get("AUGREC_HOME", Path(__file__).resolve().parents[1]))
PARAMS = read_params(HOME)
NO_FAILURES = "none_failed"  # a skipped upstream task, as in a dry run, stops nothing
GROUPS = {
    "plan": "Create the run's workspace, and list what each matrix stage runs over.",
    "data": "From raw tables to a training set with point-in-time features.",
    "generate": "Train the generators, draw synthetic users, audit them.",
    "training": "Build each policy's training set, and train every recommender on it.",
    "judge": "Measure every model on held-out users, and decide.",
    "release": "Train the winner once more, on all interactions; publish, register and promote it.",
}
"""The groups of tasks, in the order of the graph; `meta` in dvc.yaml puts a stage into one."""

DOC = """
Trains every recommender with every policy, decides whether synthetic data improves the results,
and registers the winner.

**Start it** with ▶ *Trigger*; the form explains each of its fields. It also starts every Monday at
03:00 UTC, and whenever the raw data changes.

**Read it** from left to right; a click opens a group of tasks. `train [ ]` is one task for each
combination of recommender and policy, such as *multvae-truncation*: click it to list them. A stage
whose log ends with *restored* was not run again, because its data, parameters and code are the same
as in an earlier run. The *Details* page of every stage links to the *Report* and to the *Data
Docs*, the validation results.

**To search for better hyper-parameters**, set the number of *tuning trials* for each recommender
on each policy. The search happens inside `train`, which logs every trial; MLflow shows the trials
as child runs of the model's run.

**When a task fails**, the last lines of its log name the stage, the cause and what to do. Fix the
cause, then *Clear* the task: only that task and those after it run again. Until `promote`
succeeds, the champion does not change.

**When `approve` is orange**, the run waits for a person: its *Required Action* page compares
challenger and champion. `run.approvers` in params.yaml says who may answer; without a name there,
everybody who may edit the run. Who answered is in the promotion log.
"""


@task(
    multiple_outputs=True,
    retries=2,
    doc_md="Create the run's workspace in `var/runs`: a git worktree with the current raw data, "
    "the parameters of the form and, if a policy continues the champion, the current champion. "
    "Uncommitted changes are copied too and make the run a dry run. Returns the members of each "
    "mapped stage.",
)
def snapshot() -> dict[str, Any]:
    """Create the workspace and plan the run."""
    from augrec.core import settings
    from augrec.orchestration import champion_input
    from augrec.stages import advice, planning
    from augrec.versioning import hosts, restore, stages, workspace

    context = get_current_context()
    conf = context["dag_run"].conf or {}
    with failing_clearly():
        here = settings.load()
        params = read_params(here.home)
        overrides = run_parameters.overrides(conf, params)
        choice = advice.check(here.home, overrides)
        overrides |= choice.values
        planned = planning.overridden(params, overrides)
        overrides |= champion_input.champion_override(params, planned["run"]["policies"])
        run = workspace.create(
            here, context["dag_run"].run_id, overrides, dry_run=context["params"]["dry_run"]
        )
        run = restore.restore_unchanged(here, run)
        champion_input.export_champion(run)
        plan = stages.plan(run.path)
        hosts.offer(here, run)
    for sentence in choice.sentences:
        print(sentence)
    if run.changed:
        print(
            f"Dry run: uncommitted changes in {', '.join(run.changed[:10])}. Commit them, then "
            "start a new run to register its model."
        )
    # a matrix over no generators has no members: its tasks are skipped
    pipeline = read_pipeline(run.path / "dvc.yaml")
    members: dict[str, Any] = {spec.name: [] for spec in pipeline if spec.matrix}
    for stage in plan:
        members.setdefault(stage.group, []).append(stage.member)
    print(f"Workspace {run.path}: {len(plan)} stages, {len(run.restored)} of them unchanged.")
    return {**members, "dry_run": run.dry_run, "uncommitted": run.changed[:10]}


@task(
    retries=2,
    doc_md="The members of a matrix in this run; the stages that follow run once for each.",
)
def list_members(members: list[str]) -> list[str]:
    """The values to map a task over: Airflow requires them to be the whole result of a task."""
    return members


@task(
    retries=2,
    doc_md="Write the latest features of every user and item, and the users' taste groups, to the "
    "online store. Skipped in a dry run.",
)
def materialize(dry_run: bool) -> dict[str, Any]:
    """Update the online store to this run's data."""
    if dry_run:
        raise AirflowSkipException("a dry run does not change the online store")
    from augrec.core import settings
    from augrec.orchestration import entries, tasks

    with failing_clearly():
        here = settings.load()
        run = entries.run_with_outputs(here, get_current_context(), ["features", "taste_groups"])
        return tasks.materialize(here, run)


@task(
    retries=2,
    doc_md="Commit and tag the run's results, and push its data to the DVC remote. Skipped in a "
    "dry run.",
    trigger_rule=NO_FAILURES,
)
def publish(dry_run: bool) -> dict[str, Any]:
    """Commit, tag and push the run."""
    if dry_run:
        raise AirflowSkipException("a dry run publishes nothing; its report is in its workspace")
    from augrec.core import settings
    from augrec.orchestration import entries, tasks

    with failing_clearly():
        here = settings.load()
        return tasks.publish(here, entries.run_with_outputs(here, get_current_context()))


@task(
    retries=2,
    doc_md="Log the run to MLflow, register the winner (a model is registered only once) and "
    "compare it with the champion.",
)
def register(published: dict[str, Any]) -> dict[str, Any]:
    """Log, register, compare."""
    from augrec.core import settings
    from augrec.orchestration import tasks

    with failing_clearly():
        return tasks.register(
            settings.load(), get_current_context()["dag_run"].run_id, published["commit"]
        )


@task(
    retries=2,
    pool="promotion",
    trigger_rule="none_failed_min_one_success",
    doc_md="Move the alias `champion` to the new version, one run at a time, and verify the model. "
    "Skipped when the challenger is worse.",
)
def promote(registered: dict[str, Any], approval: dict[str, Any] | None) -> dict[str, Any]:
    """Make the new version the champion."""
    from augrec.core import settings
    from augrec.orchestration import tasks

    with failing_clearly():
        done = tasks.promote(
            settings.load(),
            get_current_context()["dag_run"].run_id,
            registered,
            approval,
        )
    outcome = "the champion" if done["promoted"] else "registered, not the champion"
    print(f"Version {done['version']} is {outcome}. {done['reason']}")
    tasks.show_outcome(
        settings.load(),
        get_current_context()["dag_run"].run_id,
        f"{outcome}. {done['reason']}",
    )
    if not done["promoted"]:
        raise AirflowSkipException(done["reason"])
    return done


def stage_tasks(plan: Any, groups: dict[str, TaskGroup]) -> dict[str, Any]:
    """One task for each stage of dvc.yaml; a matrix becomes a mapped task over its members in this
    run."""
    tasks: dict[str, Any] = {}
    members: dict[str, Any] = {}
    for spec in read_pipeline(HOME / "dvc.yaml"):
        options: dict[str, Any] = {
            "task_id": spec.name,
            "task_group": groups[spec.group],
            "doc_md": spec.description,
            "retries": 2,
            "trigger_rule": NO_FAILURES,
            "execution_timeout": timedelta(hours=12),
            **placed(spec.work),
        }
        if spec.matrix:
            each = f"each_{'_'.join(spec.matrix)}"
            if each not in members:
                listed = list_members.override(task_id=each, task_group=groups["plan"])
                members[each] = listed(plan[spec.name])
            operator = StageOperator.partial(
                stage=spec.name, map_index_template="{{ task.member }}", **options
            )
            tasks[spec.name] = operator.expand(member=members[each])
        else:
            tasks[spec.name] = StageOperator(stage=spec.name, **options)
        for upstream in spec.upstream:
            tasks[upstream] >> tasks[spec.name]
        if not spec.upstream:
            plan >> tasks[spec.name]
    return tasks


with DAG(
    "retrain",
    schedule=AssetOrTimeSchedule(timetable=every("0 3 * * 1"), assets=[RAW_DATA]),
    catchup=False,
    max_active_runs=4,
    default_args=DEFAULTS,
    params=form.fields(PARAMS),
    doc_md=DOC,
    tags=["augrec"],
    description="From raw interactions to a champion: validate, generate, augment, train, "
    "evaluate, register.",
):
    groups = {
        name: TaskGroup(name, prefix_group_id=False, tooltip=tooltip)
        for name, tooltip in GROUPS.items()
    }
    with groups["plan"]:
        plan: Any = snapshot()
    stages = stage_tasks(plan, groups)
    with groups["data"]:
        materialized = materialize(plan["dry_run"])
    [stages["features"], stages["taste_groups"]] >> materialized >> stages["train_generator"]
    with groups["release"]:
        published: Any = publish(plan["dry_run"])
        registered: Any = register(published)
        approve = Approval(
            task_id="approve",
            subject="Promote the new model?",
            params={"reason": REASON},
            registered=registered,
            approvers=(PARAMS.get("run") or {}).get("approvers") or [],
            response_timeout=timedelta(days=1),
            retries=2,
            doc_md="A person compares challenger and champion in *Required Actions* and approves "
            "or rejects. Without an answer the model is rejected after a day. Skipped where "
            "nobody has to be asked.",
        )
        approval: Any = approve.output
        promote(registered, approval)
    stages["refit"] >> published
