"""The DVC cache, with every object hashed before it is believed.

DVC takes a read-only file of its cache for what its name says. A byte that a disk, a copy or a
person changed would be checked out, trained on and published.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dvc_data.hashfile.db.local import LocalHashFileDB
from dvc_data.hashfile.hash import hash_file
from dvc_data.hashfile.meta import Meta
from dvc_data.hashfile.state import State
from dvc_objects.errors import ObjectFormatError

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc_data.hashfile.obj import HashFile

log = logging.getLogger(__name__)


class CheckedCache(LocalHashFileDB):
    """A local cache that hashes each object once, and again when its inode, time or size changes.

    A damaged object is set aside, and replaced by the remote's copy if there is a sound one;
    otherwise it counts as missing, and DVC computes it again.

    Attributes:
        repo: the repository whose cache it is; its remote is asked for sound copies.
    """

    repo: Repo

    @cached_property
    def seen(self) -> State:
        """Path of an object -> its hash, and the inode, time and size it had then; shared by all
        workspaces with this cache."""
        folder = self.repo.cache.local_cache_dir
        return State(root_dir=folder, tmp_dir=str(Path(folder) / "checked"))

    def check(self, oid: str, check_hash: bool = True, _info: dict[str, Any] | None = None) -> Meta:
        """The size and mode of an object.

        Raises:
            FileNotFoundError: the cache does not have it.
            ObjectFormatError: it was damaged, and the remote has no sound copy.
        """
        path = self.oid_to_path(oid)
        info = _info or self.fs.info(path)
        if not check_hash or self._is_sound(oid, info):
            return Meta.from_info(info)
        kept = Path(self.repo.cache.local_cache_dir) / "damaged" / oid
        kept.parent.mkdir(exist_ok=True)
        Path(path).replace(kept)
        fetched = self._fetch(oid)
        log.warning(
            "%s of the DVC cache was damaged: it is kept as %s and %s",
            oid,
            kept,
            "was fetched again" if fetched else "will be computed again",
        )
        if not fetched:
            raise ObjectFormatError(f"{path} was damaged")
        return Meta.from_info(self.fs.info(path))

    def add(self, *args: Any, **options: Any) -> int:
        """Add objects and hash what has arrived, from whatever remote."""
        return int(super().add(*args, **{**options, "verify": True}))

    def get(self, oid: str) -> HashFile:
        """An object that is about to be read; DVC reads the list of a folder without `check`."""
        if oid.endswith(".dir") and self.fs.exists(self.oid_to_path(oid)):
            with suppress(ObjectFormatError):  # it is missing now
                self.check(oid)
        return super().get(oid)

    def _is_sound(self, oid: str, info: dict[str, Any]) -> bool:
        path = self.oid_to_path(oid)
        _, found = hash_file(path, self.fs, self.hash_name, self.seen, info=info)
        sound = bool(found.value == oid.removesuffix(".dir"))
        if sound and not self.is_protected(path):
            self.protect(path)
        return sound

    def _fetch(self, oid: str) -> bool:
        """Whether the remote has a sound copy, which is then in the cache."""
        try:
            remote = self.repo.cloud.get_remote_odb(command="fetch")
            if not remote.exists(oid):
                return False
            super().add(remote.oid_to_path(oid), remote.fs, oid, verify=False)
        except Exception:  # there is no remote, or whatever its driver raises
            log.info("%s could not be fetched", oid, exc_info=True)
            return False
        path = self.oid_to_path(oid)
        if self._is_sound(oid, self.fs.info(path)):
            return True
        Path(path).unlink()
        return False


def install(repo: Repo) -> None:
    """Let an open repository check its cache."""
    # DVC makes its cache itself and can be given no other class
    repo.cache.local.__class__ = CheckedCache
    repo.cache.local.repo = repo


def close(repo: Repo) -> None:
    """Close what the checked cache of a repository has opened."""
    if "seen" in vars(repo.cache.local):  # most calls of DVC check nothing
        repo.cache.local.seen.close()
