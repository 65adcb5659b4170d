"""Getting the demonstration data, without a network: what is taken from the wheel, and what is said
when none comes."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from augrec.core.errors import InputError, TransientError
from augrec.data.fetch import TERMS, movielens_100k, unpack

INSIDE = "recbole/dataset_example/ml-100k/ml-100k"
FILES = {
    "inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\n1\t2\t4\t881250949\n",
    "item": "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    "2\tToy Story\t1995\tAnimation\n",
    "user": "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n"
    "1\t24\tM\ttechnician\t85711\n",
}


def wheel(path: Path, *endings: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("recbole/__init__.py", "raise RuntimeError")
        for ending in endings:
            archive.writestr(f"{INSIDE}.{ending}", FILES[ending])
    return path


def test_only_the_dataset_is_taken_from_the_wheel_and_then_read_without_asking_again(
    tmp_path: Path,
) -> None:
    unpack(wheel(tmp_path / "recbole.whl", *FILES), tmp_path / "ml")
    assert {path.name for path in (tmp_path / "ml").iterdir()} == {
        f"ml-100k.{ending}" for ending in FILES
    }
    tables = movielens_100k(tmp_path / "ml", timeout_s=0.0)
    assert [len(table) for table in tables] == [1, 1, 1]


def test_a_wheel_without_the_dataset_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not contain"):
        unpack(wheel(tmp_path / "recbole.whl", "inter", "item"), tmp_path / "ml")
    (tmp_path / "broken.whl").write_bytes(b"not a zip file")
    with pytest.raises(InputError, match="does not contain"):
        unpack(tmp_path / "broken.whl", tmp_path / "ml")
    assert not (tmp_path / "ml").exists()


def test_an_index_that_cannot_be_reached_is_worth_another_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    with pytest.raises(TransientError, match=r"recbole==1\.2\.1"):
        movielens_100k(tmp_path / "ml")
    assert not (tmp_path / "ml").exists()


def test_the_terms_say_what_matters() -> None:
    for words in ("commercial", "permission", "Harper", "2015", "README"):
        assert words in TERMS
