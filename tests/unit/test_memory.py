"""What cannot fit into the memory is refused before it begins; what may not is warned of."""

from __future__ import annotations

import logging
from pathlib import Path

import polars as pl
import pytest

from augrec.core import memory
from augrec.core.data_shape import DataShape
from augrec.core.errors import RefusedError
from augrec.core.memory import free_memory, machine_memory, require_memory
from augrec.recommenders.base import find


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "rows.parquet"
    pl.DataFrame({"n": range(1000)}).write_parquet(path)
    return path


def test_free_memory_is_part_of_the_machines() -> None:
    assert 0 < free_memory() <= machine_memory()


def test_what_surely_does_not_fit_is_refused_with_what_to_do(table: Path) -> None:
    with pytest.raises(
        RefusedError, match=r"to read 1,000 rows needs at least .* GiB of memory"
    ) as told:
        require_memory(table, 3 * machine_memory() / 1000, "import a shorter time")
    assert (told.value.where, told.value.fix) == (str(table), "import a shorter time")


def test_what_may_not_fit_is_a_warning(table: Path, caplog: pytest.LogCaptureFixture) -> None:
    require_memory(table, 1.1 * machine_memory() / 1000, "import a shorter time")
    assert "are free. If it runs out: import a shorter time" in caplog.text


def test_what_fits_is_not_spoken_of(table: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        require_memory(table, 1.0, "")
    assert not caplog.text


def test_a_table_that_cannot_be_read_is_left_to_its_reader(tmp_path: Path) -> None:
    require_memory(tmp_path / "none.parquet", 1e18, "")
    (tmp_path / "odd.parquet").write_text("no Parquet")
    require_memory(tmp_path / "odd.parquet", 1e18, "")


@pytest.mark.parametrize(
    ("name", "stat"), [("memory.max", "anon 3000\nfile 500\n"), ("limit", "rss 3000\ncache 1\n")]
)
def test_a_container_is_as_large_as_its_limit(
    name: str, stat: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = tmp_path / name
    limit.write_text("10000\n")
    (tmp_path / "memory.stat").write_text(stat)
    monkeypatch.setattr(memory, "_CGROUPS", (str(limit),))
    assert (machine_memory(), free_memory()) == (10_000, 7_000)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("item_knn", DataShape(10**9, 10**9, 10**12, user_length=1e3)),
        ("ials", DataShape(10**9, 10**9, 10**10)),
    ],
)
def test_a_recommender_that_cannot_fit_is_refused_with_the_setting(
    name: str, shape: DataShape
) -> None:
    recommender = find(name)({})
    recommender.check_fits(DataShape(10**5, 10**5, 10**6, user_length=100))
    with pytest.raises(RefusedError, match=r"needs at least .* GiB of memory") as told:
        recommender.check_fits(shape)
    assert told.value.where.startswith(f"params.yaml, recommenders.{name}.")


def test_neighbours_that_never_meet_take_no_memory() -> None:
    find("item_knn")({}).check_fits(DataShape(10**6, 10**9, 10**6, user_length=1.0))
