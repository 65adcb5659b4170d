"""The DVC cache, with every object hashed before it is believed.

DVC takes a read-only file of its cache for what its name says. A byte that a disk, a copy or a
person changed would be checked out, trained on and published.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

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
        aside: the folder of damaged objects.
        seen: the hashes found, shared by all workspaces with this cache.
    """

    repo: Repo
    aside: Path
    seen: State

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
        self.aside.mkdir(exist_ok=True)
        kept = self.aside / oid
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
    folder = Path(repo.cache.local_cache_dir)
    # DVC makes its cache itself and can be given no other class
    repo.cache.local.__class__ = CheckedCache
    checked = cast(CheckedCache, repo.cache.local)
    checked.repo, checked.aside = repo, folder / "damaged"
    checked.seen = State(root_dir=str(folder), tmp_dir=str(folder / "checked"))


def close(repo: Repo) -> None:
    """Close what `install` opened."""
    cast(CheckedCache, repo.cache.local).seen.close()
