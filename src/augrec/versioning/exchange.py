"""What stages read and make, between hosts: by the DVC remote and the entries of dvc.lock.

An entry says by content hashes what a stage has read and made. With the entries of the stages
before it, a host brings just what a stage reads.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from augrec.core.errors import TransientError
from augrec.versioning import lock_writer, publish, stages

if TYPE_CHECKING:
    from dvc.output import Output
    from dvc.repo import Repo
    from dvc.stage import Stage

log = logging.getLogger(__name__)

Entries = Mapping[str, Any]
"""A stage's name -> its entry of dvc.lock."""
_READ_BY: Final = {"models/champion": "run.champion", "models/taste_groups": "taste_groups"}
"""Inputs of a run that no stage declares -> the key of params.yaml that stands for them."""
_LEGACY: Final = "md5-dos2unix"
"""The hash beside whose objects DVC keeps its run cache: what stages have made of which inputs."""


def recorded(workspace: Path) -> list[str]:
    """The names of the stages that dvc.lock has an entry of."""
    return list(lock_writer.entries(workspace / "dvc.lock"))


def entry(workspace: Path, name: str) -> Entries:
    """The entry of a stage."""
    return {name: lock_writer.entries(workspace / "dvc.lock")[name]}


def bring(workspace: Path, name: str, entries: Entries) -> None:
    """Bring what a stage reads, and what it has made of the same inputs before, wherever that was.

    Args:
        workspace: of the run.
        name: of the stage.
        entries: of the stages whose outputs it reads.

    Raises:
        TransientError: the DVC remote could not be reached or does not have it.
    """

    def action(repo: Repo) -> None:
        stage = repo.stage.load_one(name=name)
        deps = [str(dep.def_path) for dep in stage.deps if not hasattr(dep, "params")]
        outs = [out for out in repo.index.outs if out.hash_info and _read(out, deps)]
        _pull(repo, outs)
        _check_out(repo, outs)
        _fetch_run(repo, stage)

    merge(workspace, entries)
    pointers = _pointers(workspace, name)
    if pointers:
        stages.pull(workspace, pointers)
    stages.when_unlocked(workspace, action)


def bring_outputs(workspace: Path, entries: Entries) -> None:
    """Bring all that the stages of `entries` have made; raises as `bring`."""

    def action(repo: Repo) -> None:
        outs = [out for name in entries for out in repo.stage.load_one(name=name).outs]
        _pull(repo, outs)
        _check_out(repo, outs)

    merge(workspace, entries)
    stages.when_unlocked(workspace, action)


def push(workspace: Path, names: Iterable[str], pointers: Iterable[str] = ()) -> None:
    """Push what stages have made, and from what, so that any host can go on or restore it.

    Args:
        workspace: of the run.
        names: of the stages.
        pointers: to inputs of the run, see `publish.INPUTS`.

    Raises:
        TransientError: the DVC remote could not be reached.
    """

    def action(repo: Repo) -> None:
        found = [repo.stage.load_one(name=name) for name in names]
        found += [stage for path in pointers for stage in repo.stage.load_all(path)]
        with _remote_errors(workspace, "push to"):
            objects = {one for stage in found for one in _objects(stage.outs)}
            _require(workspace, "push to", repo.cloud.push(objects).failed)
            for stage in found:
                _push_run(repo, stage)

    stages.when_unlocked(workspace, action)


def merge(workspace: Path, entries: Entries) -> None:
    """Put entries into dvc.lock, in the place of others of the same stages."""

    def action(repo: Repo) -> None:
        from dvc.repo import lock_repo

        with lock_repo(repo), lock_writer.changed(workspace / "dvc.lock") as lock:
            lock.setdefault("schema", "2.0")
            lock.setdefault("stages", {}).update(entries)

    known = lock_writer.entries(workspace / "dvc.lock")
    if any(known.get(name) != value for name, value in entries.items()):
        stages.when_unlocked(workspace, action)


def _pointers(workspace: Path, name: str) -> list[str]:
    """Pointers to those inputs of the run that a stage reads; no entry names them."""
    inputs = publish.inputs(workspace)

    def action(repo: Repo) -> list[str]:
        deps = repo.stage.load_one(name=name).deps
        read = {str(dep.def_path) for dep in deps if not hasattr(dep, "params")}
        keys = {key for dep in deps for key in getattr(dep, "params", ())}
        read |= {path for path, key in _READ_BY.items() if key in keys}
        return [path for path in inputs if path.removesuffix(".dvc") in read]

    return list(stages.when_unlocked(workspace, action)) if inputs else []


def _read(out: Output, deps: list[str]) -> bool:
    made = Path(str(out.def_path))
    return any(made.is_relative_to(dep) or Path(dep).is_relative_to(made) for dep in deps)


def _pull(repo: Repo, outs: list[Output]) -> None:
    """Fetch outputs into the cache; without DVC's lock, for which other stages would wait."""
    with _remote_errors(Path(repo.root_dir), "fetch from"):
        for out in outs:
            out.changed_cache()  # sets damaged objects aside
        _require(Path(repo.root_dir), "fetch from", repo.cloud.pull(_objects(outs)).failed)


def _check_out(repo: Repo, outs: list[Output]) -> None:
    from dvc.repo import lock_repo

    with lock_repo(repo):
        for out in outs:
            if out.checkout(force=True, allow_missing=True) is None and not out.exists:
                raise TransientError(
                    f"{out.def_path} is missing in the DVC remote",
                    where=repo.root_dir,
                    fix="it is tried again; if that does not help, clear the task that makes it",
                )


def _objects(outs: Iterable[Output]) -> set[Any]:
    return {one for out in outs for found in out.get_used_objs().values() for one in found}


def _fetch_run(repo: Repo, stage: Stage) -> None:
    """Fetch the records of what a stage has made of the inputs that lie here, and that itself."""
    folder = _run_folder(stage)
    if folder is None:
        return
    with _remote_errors(Path(repo.root_dir), "fetch from"):
        remote, there = _remote_runs(repo, folder)
        for path in remote.fs.find(there) if remote.fs.exists(there) else ():
            _keep_run(remote.fs.cat_file(path), folder, remote.fs.name(path))
        for path in folder.iterdir() if folder.is_dir() else ():
            found = repo.stage_cache._load_cache(folder.name, path.name)
            made = repo.stage_cache._create_stage(found, wdir=stage.wdir)
            repo.cloud.pull(_objects(made.outs))  # where that fails, the stage runs


def _keep_run(record: bytes, folder: Path, name: str) -> None:
    """Keep a record in the local run cache, unless it is damaged: its name is its hash."""
    from dvc.stage.cache import _get_cache_hash

    try:
        sound = _get_cache_hash(yaml.safe_load(record)) == name
    except (yaml.YAMLError, TypeError, AttributeError):
        sound = False
    if not sound:
        log.warning("the DVC remote's record %s/%s is damaged and not used", folder.name, name)
    elif not (folder / name).exists():
        folder.mkdir(parents=True, exist_ok=True)
        draft = folder.with_name(f"{name}.draft")  # DVC takes all in `folder` for records
        draft.write_bytes(record)
        draft.replace(folder / name)


def _push_run(repo: Repo, stage: Stage) -> None:
    folder = _run_folder(stage)
    if folder is None or not folder.is_dir():
        return
    remote, there = _remote_runs(repo, folder)
    for path in folder.iterdir():
        target = remote.fs.join(there, path.name)
        if not remote.fs.exists(target):
            remote.fs.makedirs(there)
            remote.fs.put_file(str(path), target)


def _remote_runs(repo: Repo, folder: Path) -> tuple[Any, str]:
    """The remote, and where it has the records of a folder of the local run cache."""
    remote = repo.cloud.get_remote_odb(None, hash_name=_LEGACY)
    return remote, remote.fs.join(remote.path, *folder.relative_to(repo.cache.legacy.path).parts)


def _run_folder(stage: Stage) -> Path | None:
    """Where the local run cache records what a stage has made of its inputs; None for what is no
    stage."""
    from dvc.stage.cache import _can_hash, _get_stage_hash

    if not stage.cmd:
        return None
    stage.save_deps()
    cache = stage.repo.stage_cache
    return Path(cache._get_cache_dir(_get_stage_hash(stage))) if _can_hash(stage) else None


@contextmanager
def _remote_errors(workspace: Path, doing: str) -> Iterator[None]:
    try:
        yield
    except TransientError:
        raise
    except Exception as error:  # whatever a remote's driver raises
        raise _unreachable(workspace, doing, f"{type(error).__name__}: {error}") from error


def _require(workspace: Path, doing: str, failed: set[Any]) -> None:
    if failed:
        raise _unreachable(workspace, doing, f"{len(failed)} files failed")


def _unreachable(workspace: Path, doing: str, said: str) -> TransientError:
    return TransientError(
        f"could not {doing} the DVC remote: {said}",
        where=str(workspace),
        fix="it is tried again; AUGREC_DVC_REMOTE names the remote",
    )
