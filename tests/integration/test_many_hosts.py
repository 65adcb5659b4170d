"""The main job on two hosts without a common disk, under Celery, with PostgreSQL, Redis and S3: the
same results as on one, whatever fails meanwhile."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import pytest
from many_hosts import Site, site
from platform_project import Repro, Run
from platform_runs import SLOWER

from augrec.registry import models, promotion
from augrec.versioning import git, lock_writer, stages

pytestmark = pytest.mark.platform
pytest.importorskip("airflow.providers.celery", reason="`make scale` installs what many hosts need")


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("hosts")) as made:
        yield made


@pytest.fixture(scope="module")
def alone(hosts: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repro]:
    """`dvc repro` on one host, beside the runs."""
    home = tmp_path_factory.mktemp("alone") / "shop"
    made = Repro(hosts.project, home, hosts.project.home / "data" / "raw")
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def first(hosts: Site, alone: Repro) -> Run:
    alone.begin("HEAD")
    try:
        return hosts.project.run("first")
    except AssertionError as error:
        said = "\n".join(f"== {name}\n{one.log()}" for name, one in hosts.workers.items())
        raise AssertionError(f"{error}\n{said}") from error


def test_the_whole_job_runs_on_hosts_without_a_common_disk(hosts: Site, first: Run) -> None:
    assert first.state == "success", first.why
    worked = list(hosts.project.home.with_name("second").glob("var/runs/first/models"))
    assert worked, "the second host took no stage"


def test_its_lock_is_byte_for_byte_that_of_one_host(hosts: Site, first: Run, alone: Repro) -> None:
    assert alone.finish() == first.hashes
    names = [stage.name for stage in stages.plan(alone.home)]
    lock_writer.arrange(alone.home / "dvc.lock", names)
    published = git.git(hosts.project.home, "show", f"run/{first.id}:dvc.lock")
    assert published == (alone.home / "dvc.lock").read_text().rstrip()


@pytest.fixture(scope="module")
def disturbed(hosts: Site, first: Run) -> list[Run]:
    """Two runs at once, in the midst of which one thing after the other fails."""
    project = hosts.project
    project.commit(SLOWER)
    for name, policy in (("one", "none"), ("two", "profile_gan")):
        project.start(name, policies=[policy], recommenders=["multvae"])
    second = hosts.workers["second"]
    project.wait(lambda: second.works_on("train", worked_s=3), "training on the second host", "one")
    second.kill()
    for server in (hosts.redis, hosts.postgres):
        server.stop(signal.SIGINT)
        server.start()
    hosts.s3.stop()
    time.sleep(30)
    hosts.s3.start()
    return [project.ended(name) for name in ("one", "two")]


def test_runs_end_well_whatever_fails_meanwhile(hosts: Site, disturbed: list[Run]) -> None:
    for run in disturbed:
        assert run.state == "success", run.why
    tried_again = [found.task for run in disturbed for found in run.tasks if found.try_number > 1]
    assert "train" in tried_again


def test_nothing_is_registered_twice(hosts: Site, first: Run, disturbed: list[Run]) -> None:
    registered = [version.run_id for version in models.versions()]
    assert sorted(registered) == sorted({first.id, *(run.id for run in disturbed)})
    moves = [move for move in promotion.log() if move.kind != "reject"]
    assert len({move.version for move in moves}) == len(moves)
