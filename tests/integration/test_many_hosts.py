"""The main job on two hosts without a common disk, under Celery, with PostgreSQL, Redis and S3: the
same results as on one, whatever fails meanwhile."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from many_hosts import Site, site
from platform_project import Repro, Run

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
