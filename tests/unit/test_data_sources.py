"""Readers of public layouts, on tiny files of each layout written here."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from augrec.core.errors import ConfigError, InputError
from augrec.data.canonical import Tables
from augrec.data.columns import INTERACTIONS
from augrec.data.sources import LAYOUTS, read
from augrec.data.sources.movielens_100k import GENRES


def write(folder: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        data = content if isinstance(content, bytes) else content.encode()
        (folder / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return folder


def ratings(tables: Tables) -> list[tuple]:
    assert dict(tables.interactions.schema) == dict(INTERACTIONS)
    assert set(tables.interactions["event"]) == {"rating"}
    return tables.interactions.select(
        "user_id", "item_id", "value", tables.interactions["timestamp"].dt.epoch("s")
    ).rows()


def items(tables: Tables) -> list[tuple]:
    return tables.items.select("item_id", "title", "categories").rows()


def movie(number: int, title: str, *genres: str) -> str:
    flags = "|".join("1" if genre in genres else "0" for genre in GENRES)
    return f"{number}|{title}|01-Jan-1995||http://example.org|{flags}\n"


def test_movielens_100k_in_its_own_files(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "u.data": "1\t2\t4\t881250949\n3\t1\t5\t881250950\n",
            "u.item": (
                movie(1, "Misérables, Les (1995)", "Drama", "Musical")
                + movie(2, 'The "Quoted" (1996)')
            ).encode("latin-1"),
            "u.user": "1|24|M|technician|85711\n3|53|F|other|94043\n",
        },
    )
    tables = read("movielens-100k", tmp_path)
    assert ratings(tables) == [("1", "2", 4.0, 881250949), ("3", "1", 5.0, 881250950)]
    assert items(tables) == [
        ("1", "Misérables, Les (1995)", ["Drama", "Musical"]),
        ("2", 'The "Quoted" (1996)', None),
    ]
    assert tables.items["release_year"].to_list() == ["1995", "1996"]
    assert tables.users.rows() == [("1", 24, "M", "technician"), ("3", 53, "F", "other")]


ATOMIC: dict[str, str | bytes] = {
    "ml-100k.inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    "1\t2\t4\t881250949\n",
    "ml-100k.item": "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    "2\tToy Story\t1995\tAnimation Children's\n",
    "ml-100k.user": "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n"
    "1\t24\tM\ttechnician\t85711\n",
}


def test_movielens_100k_as_atomic_files_gives_the_same_columns(tmp_path: Path) -> None:
    tables = read("movielens-100k", write(tmp_path, ATOMIC))
    assert ratings(tables) == [("1", "2", 4.0, 881250949)]
    assert items(tables) == [("2", "Toy Story", ["Animation", "Children's"])]
    assert tables.items["release_year"].to_list() == ["1995"]
    assert tables.users.rows() == [("1", 24, "M", "technician")]


def test_atomic_files_without_ratings_items_or_users(tmp_path: Path) -> None:
    text = "user_id:token\titem_id:token\ttimestamp:float\na\tb\t5\n"
    tables = read("recbole", write(tmp_path, {"shop.inter": text}))
    assert tables.interactions.select("user_id", "item_id", "event", "value").rows() == [
        ("a", "b", "view", None)
    ]
    assert tables.items["item_id"].to_list() == ["b"]
    with pytest.raises(InputError, match="timestamp"):
        read("recbole", write(tmp_path, {"shop.inter": "user_id:token\titem_id:token\na\tb\n"}))


def test_parts_of_atomic_files_are_joined_and_several_datasets_are_refused(tmp_path: Path) -> None:
    header = "user_id:token\titem_id:token\ttimestamp:float\n"
    parts = {f"s.{part}.inter": f"{header}{part}\ta\t5\n" for part in ("train", "valid", "test")}
    tables = read("recbole", write(tmp_path, dict(parts)))
    assert sorted(tables.interactions["user_id"]) == ["test", "train", "valid"]
    write(tmp_path, {"other.inter": header})
    with pytest.raises(InputError, match=r"other\.inter, s\.test\.inter"):
        read("recbole", tmp_path)


def test_a_file_that_is_also_there_gzipped_is_read_once(tmp_path: Path) -> None:
    text = "user_id:token\titem_id:token\ttimestamp:float\na\tb\t5\n"
    tables = read("recbole", write(tmp_path, {"s.inter": text, "s.inter.gz": text}))
    assert len(tables.interactions) == 1


def test_a_short_line_is_refused_with_its_number(tmp_path: Path) -> None:
    write(tmp_path, {"ratings.dat": "1::2::9::1381945744\n1::2::9\n", "movies.dat": "2::A::B\n"})
    with pytest.raises(InputError, match="line 2 has 3 fields instead of 4"):
        read("movietweetings", tmp_path)


def test_movielens_1m(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "ratings.dat": "1::1193::5::978300760\n",
            "movies.dat": "1193::Amélie: One (2001)::Comedy|Romance\n".encode("latin-1"),
            "users.dat": "1::F::25::10::48067\n",
        },
    )
    tables = read("movielens-1m", tmp_path)
    assert ratings(tables) == [("1", "1193", 5.0, 978300760)]
    assert items(tables) == [("1193", "Amélie: One (2001)", ["Comedy", "Romance"])]
    assert tables.users.rows() == [("1", "F", "25-34", "10")]


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_movietweetings_keeps_leading_zeros_plain_and_gzipped(tmp_path: Path, ending: str) -> None:
    write(
        tmp_path,
        {
            f"ratings.dat{ending}": "1::0054890::9::1381945744\n",
            f"movies.dat{ending}": "0054890::Fantômas (1913)::Crime|Drama\n0000001::No genre "
            "(1900)::\n",
        },
    )
    tables = read("movietweetings", tmp_path)
    assert ratings(tables) == [("1", "0054890", 9.0, 1381945744)]
    assert items(tables) == [
        ("0054890", "Fantômas (1913)", ["Crime", "Drama"]),
        ("0000001", "No genre (1900)", None),
    ]


def test_movielens_latest_with_tags(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "ratings.csv": "userId,movieId,rating,timestamp\n1,2,4.5,964982703\n",
            "movies.csv": 'movieId,title,genres\n2,"American President, The '
            '(1995)",Comedy|Drama\n3,None (2000),(no genres listed)\n',
            "tags.csv": "userId,movieId,tag,timestamp\n1,2,politics,1\n2,2,Politics "
            ",2\n3,2,classic,3\n",
        },
    )
    tables = read("movielens-latest", tmp_path)
    assert ratings(tables) == [("1", "2", 4.5, 964982703)]
    assert items(tables) == [
        ("2", "American President, The (1995)", ["Comedy", "Drama"]),
        ("3", "None (2000)", None),
    ]
    assert tables.items["tags"].to_list() == [["politics", "classic"], None]


def lines(*rows: dict) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


OLD_REVIEW = {
    "reviewerID": "A1",
    "asin": "B01",
    "overall": 5.0,
    "unixReviewTime": 1370044800,
    "helpful": [0, 0],
}


def test_amazon_2014_with_products_as_python_literals(tmp_path: Path) -> None:
    product = {
        "asin": "B01",
        "title": "It's a lamp",
        "price": 9.5,
        "categories": [["Home", "Light"], ["Home"]],
        "brand": "Lux",
    }
    write(
        tmp_path,
        {
            "reviews_Home_5.json.gz": lines(OLD_REVIEW),
            "meta_Home.json.gz": repr(product) + "\n{'asin': 'B02'}\n",
        },
    )
    tables = read("amazon", tmp_path)
    assert ratings(tables) == [("A1", "B01", 5.0, 1370044800)]
    assert items(tables) == [("B01", "It's a lamp", ["Home", "Light"]), ("B02", None, None)]
    assert tables.items["price"].to_list() == [9.5, None]


def test_amazon_2018(tmp_path: Path) -> None:
    product = {
        "asin": "B01",
        "title": "Lamp",
        "price": "$1,009.50",
        "category": ["Home"],
        "description": ["One.", "Two."],
        "extra": 1,
    }
    write(tmp_path, {"Home.json": lines(OLD_REVIEW), "meta_Home.json": lines(product, product)})
    tables = read("amazon", tmp_path)
    assert items(tables) == [("B01", "Lamp", ["Home"])]
    assert tables.items.select("description", "price").rows() == [("One. Two.", 1009.5)]


def test_amazon_2023_counts_in_milliseconds_and_by_parent(tmp_path: Path) -> None:
    review = {
        "user_id": "U",
        "asin": "V1",
        "parent_asin": "P1",
        "rating": 3.0,
        "timestamp": 1588687728923,
        "title": "ok",
    }
    products = lines(
        {"parent_asin": "P1", "title": "Lamp", "price": 5.0, "categories": ["Home"], "store": "S"},
        {
            "parent_asin": "P2",
            "title": "Desk",
            "price": "None",
            "categories": [],
            "description": [],
        },
    )
    tables = read(
        "amazon", write(tmp_path, {"Home.jsonl.gz": lines(review), "meta_Home.jsonl.gz": products})
    )
    assert ratings(tables) == [("U", "P1", 3.0, 1588687728)]
    assert items(tables) == [("P1", "Lamp", ["Home"]), ("P2", "Desk", None)]
    assert tables.items["price"].to_list() == [5.0, None]


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_an_empty_folder_is_refused_by_every_layout(tmp_path: Path, layout: str) -> None:
    with pytest.raises(InputError) as caught:
        read(layout, tmp_path)
    assert caught.value.fix


@pytest.mark.parametrize("content", ["", "1,2,3,4\n"], ids=["empty file", "other separator"])
def test_files_of_another_layout_are_refused(tmp_path: Path, content: str) -> None:
    write(tmp_path, {"ratings.dat": content, "movies.dat": "1::A (1990)::Drama\n"})
    with pytest.raises(InputError, match=r"empty|1 fields instead of 4"):
        read("movietweetings", tmp_path)


def test_unknown_layouts_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="netflix"):
        read("netflix", tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        read("amazon", tmp_path / "none")


def test_products_are_read_without_running_anything(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    write(
        tmp_path,
        {
            "Home.json": lines(OLD_REVIEW),
            "meta_Home.json": f"{{'asin': open({str(mark)!r}, 'w')}}\n",
        },
    )
    with pytest.raises(InputError, match="line 1"):
        read("amazon", tmp_path)
    assert not mark.exists()
