"""data/raw is written whole or not at all, and read back as it was."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from augrec.core.errors import InputError
from augrec.core.files import read_json
from augrec.data.canonical import read_tables, write_raw
from augrec.data.columns import INTERACTIONS, ITEMS
from augrec.data.simulate import ShopConfig, simulate
from augrec.validation import reading

SHOP = simulate(ShopConfig(n_users=20, n_items=10, n_interactions=100), seed=1)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "raw"
    write_raw(folder, *SHOP, source={"source": "simulated", "seed": 1})
    assert all(a.equals(b) for a, b in zip(read_tables(folder), SHOP, strict=True))
    source = read_json(folder / "source.json")
    assert source["source"] == "simulated"
    assert source["rows"] == {"interactions": len(SHOP.interactions), "items": 10, "users": 20}
    assert sorted(path.name for path in folder.parent.iterdir()) == ["raw"]


def test_missing_values_are_counted(tmp_path: Path) -> None:
    holed = SHOP.interactions.with_columns(
        pl.when(pl.int_range(pl.len()) > 2).then("user_id").alias("user_id")
    )
    write_raw(tmp_path / "raw", holed, SHOP.items, SHOP.users, {"source": "x"})
    assert read_json(tmp_path / "raw" / "source.json")["nulls"]["interactions"]["user_id"] == 3


def test_the_same_tables_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_raw(tmp_path / name, *SHOP, source={"source": "x"})
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_a_refused_table_leaves_the_old_ones_as_they_were(tmp_path: Path) -> None:
    write_raw(tmp_path / "raw", *SHOP, source={"source": "old"})
    with pytest.raises(InputError, match="title"):
        write_raw(
            tmp_path / "raw",
            SHOP.interactions,
            SHOP.items.drop("title"),
            SHOP.users,
            {"source": "new"},
        )
    with pytest.raises(InputError, match="no interactions"):
        write_raw(
            tmp_path / "raw", SHOP.interactions.head(0), SHOP.items, SHOP.users, {"source": "new"}
        )
    with pytest.raises(TypeError):
        write_raw(tmp_path / "raw", *SHOP, source={"source": object()})
    assert read_json(tmp_path / "raw" / "source.json")["source"] == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def test_a_missing_or_cut_off_table_is_named(tmp_path: Path) -> None:
    write_raw(tmp_path / "raw", *SHOP, source={"source": "x"})
    path = tmp_path / "raw" / "items.parquet"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match="cannot be read") as caught:
        read_tables(tmp_path / "raw")
    assert caught.value.where == str(path)
    path.unlink()
    with pytest.raises(InputError, match="is missing"):
        read_tables(tmp_path / "raw")


def test_a_flipped_bit_of_raw_data_is_never_read_as_good(tmp_path: Path) -> None:
    write_raw(tmp_path / "raw", *SHOP, source={"source": "x"})
    path = tmp_path / "raw" / "interactions.parquet"
    sound = path.read_bytes()
    pages = len(sound) - 8 - int.from_bytes(sound[-8:-4], "little")  # the list of pages follows
    noticed = 0
    for place in range(0, pages, max(1, pages // 60)):
        damaged = bytearray(sound)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        for read in (lambda: read_tables(tmp_path / "raw").interactions, lambda: as_stage(path)):
            try:
                assert read().equals(SHOP.interactions), f"byte {place}"
            except InputError as error:
                assert error.where == str(path)
                noticed += 1
    assert noticed > 100


def as_stage(path: Path) -> pl.DataFrame:
    return reading.read(path, INTERACTIONS)


@pytest.mark.parametrize("place", [0, -1])
def test_a_wrong_magic_number_is_noticed(tmp_path: Path, place: int) -> None:
    write_raw(tmp_path / "raw", *SHOP, source={"source": "x"})
    path = tmp_path / "raw" / "items.parquet"
    damaged = bytearray(path.read_bytes())
    damaged[place] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(InputError, match="cannot be read"):
        read_tables(tmp_path / "raw")
    with pytest.raises(InputError, match="not Parquet"):
        reading.read(path, ITEMS)
