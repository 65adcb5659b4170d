"""CSV and TSV files as shops export them: read right, or refused with the line and the setting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from augrec.core.errors import ConfigError, InputError
from augrec.data.config import TextFormat
from augrec.data.importing.source import Source, SourceTable, read_source

SECTION = "data.import.items"


def read(path: Path, content: str | bytes = "", **form: Any) -> SourceTable:
    if content:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_source(Source(str(path)), TextFormat(**form), SECTION)


def titles(path: Path, content: str | bytes, **form: Any) -> list[str | None]:
    return read(path, content, **form).table["title"].to_list()


SWALLOWED = (
    'id,title,year\n1,"Untitled,2001\n'
    + "".join(f"{n},t{n},2001\n" for n in range(2, 600))
    + '600,Pizza 12",2001\n'
)


def test_lines_between_two_stray_quotes_are_refused_until_a_setting_says_what_they_are(
    tmp_path: Path,
) -> None:
    path = tmp_path / "items.csv"
    with pytest.raises(InputError, match="opens in line 2 and closes in line 601") as caught:
        read(path, SWALLOWED)
    assert str(path) in caught.value.where
    assert f"{SECTION}.quoted" in caught.value.fix
    assert len(read(path, quoted=False).table) == 600
    assert len(read(path, quoted=True).table) == 1


def test_a_quote_that_never_closes_is_refused_with_its_line(tmp_path: Path) -> None:
    text = 'id,title,year\n1,a,2001\n2,"Untitled,2001\n3,b,2001\n'
    with pytest.raises(InputError, match=r"line 3 has a quote.*Untitled"):
        read(tmp_path / "items.csv", text)


def test_texts_in_quotes_hold_lines_separators_and_quotes(tmp_path: Path) -> None:
    text = 'id,title,year\n1,"a, ""b""\nc, d, e, f",2001\n\n2,"",2002\n3,"x\ny",2003\n'
    found = read(tmp_path / "items.csv", text)
    assert found.table["title"].to_list() == ['a, "b"\nc, d, e, f', "", "x\ny"]
    assert [found.place.row(position) for position in range(3)] == ["line 2", "line 5", "line 6"]


@pytest.mark.parametrize(
    ("line", "title"),
    [
        ('1,5" disk,2001', '5" disk'),
        ('1,The "Best" One,2001', 'The "Best" One'),
        ('1,"A ""quoted"" title, long",2001', 'A "quoted" title, long'),
        (r'1,"A \"quoted\" title, long",2001', 'A "quoted" title, long'),
        ('1,"C:\\",2001', "C:\\"),
    ],
)
def test_quotes_inside_titles_are_kept(tmp_path: Path, line: str, title: str) -> None:
    assert titles(tmp_path / "items.csv", f"id,title,year\n{line}\n2,x,2002\n") == [title, "x"]


def test_tab_separated_files_have_no_quotes_unless_their_header_has(tmp_path: Path) -> None:
    text = 'id\ttitle\n1\t"Untitled\n2\tx\n3\tPizza 12"\n'
    assert titles(tmp_path / "items.tsv", text) == ['"Untitled', "x", 'Pizza 12"']
    assert titles(tmp_path / "q.tsv", '"id"\t"title"\n"1"\t"a\tb"\n') == ["a\tb"]


@pytest.mark.parametrize("line", ["2,b", "2,b,2002,", '2,"b, c"', "2,b, c,2002"])
def test_a_line_with_more_or_fewer_fields_is_refused_with_its_number(
    tmp_path: Path, line: str
) -> None:
    with pytest.raises(InputError, match=r"line 3 has \d fields instead of 3"):
        read(tmp_path / "items.csv", f"id,title,year\n1,a,2001\n{line}\n3,c,2003\n")


def test_a_name_that_stands_twice_in_the_header_is_kept_apart(tmp_path: Path) -> None:
    assert read(tmp_path / "items.csv", "id,x,id\n1,a,2\n").table.columns == ["id", "x", "id (2)"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be"])
def test_a_byte_order_mark_tells_the_encoding(tmp_path: Path, encoding: str) -> None:
    mark = b"\xfe\xff" if encoding == "utf-16-be" else b""
    data = mark + "id;title\n1;Fantômas\n".encode(encoding)
    assert read(tmp_path / "items.csv", data).table.rows() == [("1", "Fantômas")]


def test_other_encodings_are_asked_for(tmp_path: Path) -> None:
    data = "id,title\n1,a\n2,Fantômas\n".encode("windows-1252")
    with pytest.raises(InputError, match="line 3 is not UTF-8") as caught:
        read(tmp_path / "items.csv", data)
    assert f"{SECTION}.encoding" in caught.value.fix
    assert titles(tmp_path / "items.csv", data, encoding="windows-1252") == ["a", "Fantômas"]
    with pytest.raises(ConfigError, match="no encoding 'latin-9000'"):
        read(tmp_path / "items.csv", data, encoding="latin-9000")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_end_of_line_is_known(tmp_path: Path, end: str) -> None:
    text = end.join(["id,title", "1,a", "", "2,b", ""])
    assert titles(tmp_path / "items.csv", text) == ["a", "b"]


def test_a_separator_can_be_given_by_setting_or_by_a_spreadsheet(tmp_path: Path) -> None:
    assert titles(tmp_path / "items.csv", "sep=|\nid|title\n1|a,b,c\n") == ["a,b,c"]
    assert titles(tmp_path / "items.csv", "id^title\n1^a,b;c\n", separator="^") == ["a,b;c"]


def spark(folder: Path) -> Path:
    folder.mkdir()
    (folder / "_SUCCESS").touch()
    (folder / ".part-00000.csv.crc").write_bytes(b"crc")
    (folder / "part-00000.csv").write_text("id,title\n1,a\n")
    (folder / "part-00001.csv").write_text("id,title\n2,b\n3,c\n")
    (folder / "part-00002.csv").touch()
    return folder


def test_a_folder_of_spark_is_one_table_and_rows_are_named_by_file_and_line(tmp_path: Path) -> None:
    found = read(spark(tmp_path / "items"))
    assert found.table.rows() == [("1", "a"), ("2", "b"), ("3", "c")]
    assert found.place.row(2) == "part-00001.csv, line 3"


def test_files_of_hive_have_no_ending_and_folders_that_are_columns(tmp_path: Path) -> None:
    for day, part in (("2024-01-01", "000000_0"), ("2024-01-02", "000001_0")):
        folder = tmp_path / "events" / f"day={day}"
        folder.mkdir(parents=True)
        pl.DataFrame({"id": [1]}).write_parquet(folder / part)
    found = read(tmp_path / "events").table
    assert found.rows() == [(1, "2024-01-01"), (1, "2024-01-02")]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("readme.txt", "readme.txt"),
        ("more.parquet", "more.parquet"),
        ("_delta_log/0.json", "Delta"),
    ],
)
def test_a_folder_with_files_of_another_kind_is_refused(
    tmp_path: Path, name: str, words: str
) -> None:
    path = spark(tmp_path / "items") / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"PAR1")
    with pytest.raises(InputError, match=words):
        read(tmp_path / "items")


def test_atomic_files_with_other_names_are_tables_of_ones_own(tmp_path: Path) -> None:
    text = 'uid:token\tproduct:token\ttitle:token_seq\n1\t2\tThe "one\n'
    assert read(tmp_path / "shop.inter", text).table.rows() == [("1", "2", 'The "one')]
