"""Columns of any type become ids, times, numbers and lists, or are refused with the setting."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from augrec.core.errors import ConfigError, InputError
from augrec.data import convert
from augrec.data.convert_numbers import numbers
from augrec.data.convert_times import times
from augrec.data.importing.nested import flatten
from augrec.data.importing.place import Place

PLACE = Place("shop.csv", "data.import.items")


def column(values: list[Any], dtype: Any = None) -> pl.Series:
    return pl.Series("c", values, dtype=dtype)


def amounts(values: list[str | None], decimal: Any = None) -> list[float | None]:
    return numbers(column(values, pl.String), pl.Float64, PLACE, decimal).to_list()


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (["4,5", "12,50", "1.299,00"], [4.5, 12.5, 1299.0]),
        (["4.5", "12.50", "1,299.00"], [4.5, 12.5, 1299.0]),
        (["1,299", "4.5"], [1299.0, 4.5]),
        (["1,299", "4,5"], [1.299, 4.5]),
        (["1.299", "0.125"], [1.299, 0.125]),
        (["1.299.000", "5"], [1_299_000.0, 5.0]),
        (["1,00,000", "2.5"], [100_000.0, 2.5]),
        (["1 299,00", "1\u202f299,50"], [1299.0, 1299.5]),
        (["1'299.50", "3"], [1299.5, 3.0]),
        (["$1,299.00", "-€3.2", "5 ₹", None], [1299.0, -3.2, 5.0, None]),
        (["1e-5", "2E+3", ".5", "1E+50"], [1e-5, 2000.0, 0.5, 1e50]),
    ],
)
def test_the_values_of_a_column_show_its_decimal_separator(
    written: list[str | None], expected: list[float | None]
) -> None:
    assert amounts(written) == expected


@pytest.mark.parametrize(
    ("written", "words"),
    [
        (["1.299", "5"], "'1.299' in row 1 is a number with a thousands separator or"),
        (["5", "1,299"], "'1,299' in row 2 is a number with a thousands separator or"),
        (["4,5", "4.5"], "are mixed: '4.5' in row 2, '4,5' in row 1"),
    ],
)
def test_numbers_that_could_mean_two_things_are_refused_and_decided_by_a_setting(
    written: list[str | None], words: str
) -> None:
    with pytest.raises(InputError, match=words) as caught:
        amounts(written)
    assert "data.import.items.decimal" in caught.value.fix
    assert amounts(written, ",") != amounts(written, ".")


def test_a_column_without_any_number_is_refused_and_some_others_are_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(InputError, match="no value is a number, for example 'free' in row 1"):
        amounts(["free", "sold"])
    assert amounts(["4.5", "free"]) == [4.5, None]
    assert (
        "1 of 2 values are no number and become null, the first is 'free' in row 2" in caplog.text
    )


def test_decimals_and_infinities_become_floats_and_nulls(caplog: pytest.LogCaptureFixture) -> None:
    exact = column([Decimal("12.50"), None], pl.Decimal(38, 2))
    assert numbers(exact, pl.Float64, PLACE).to_list() == [12.5, None]
    assert numbers(column([float("inf"), 1.0]), pl.Float64, PLACE).to_list() == [None, 1.0]
    assert amounts(["1e400", "1.5", " "]) == [None, 1.5, None]
    assert "1 of 3 values are no number and become null, the first is '1e400'" in caplog.text


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("2024-05-31", "2024-05-31T00:00:00"),
        ("2024-5-1", "2024-05-01T00:00:00"),
        ("2024/05/31 18:30", "2024-05-31T18:30:00"),
        ("2024-05-31 18:30:15.250", "2024-05-31T18:30:15.250000"),
        ("2024-05-31T18:30:15,5", "2024-05-31T18:30:15.500000"),
        ("2024-05-31 18:30:15 UTC", "2024-05-31T18:30:15"),
        ("2024-05-31 18:30:15.123456789 UTC", "2024-05-31T18:30:15.123456"),
        ("2024-05-31T18:30Z", "2024-05-31T18:30:00"),
        ("2024-05-31T18:30+02:00", "2024-05-31T16:30:00"),
        ("2024-05-31 18:30:15+02", "2024-05-31T16:30:15"),
        ("2024-05-31T18:30:15.5-0530", "2024-06-01T00:00:15.500000"),
        ("2024-05-31T18:30+02:00[Europe/Paris]", "2024-05-31T16:30:00"),
    ],
)
def test_iso_times_are_read_alone_and_beside_other_forms(written: str, expected: str) -> None:
    wanted = datetime.fromisoformat(expected).replace(tzinfo=UTC)
    assert times(column([written]), PLACE).to_list() == [wanted]
    mixed = times(column(["2024-01-01 00:00:00", None, written]), PLACE)
    assert mixed.to_list() == [datetime(2024, 1, 1, tzinfo=UTC), None, wanted]


@pytest.mark.parametrize(
    ("values", "setting"),
    [
        (["31.05.2024 18:30"], 'timestamp_format in params.yaml to "%d.%m.%Y %H:%M"'),
        (["05/06/2024"], '"%d/%m/%Y" or "%m/%d/%Y"'),
        (["05/31/2024"], 'to "%m/%d/%Y"'),
        ([20240531], 'timestamp_format in params.yaml to "%Y%m%d"'),
        ([1_700_000_000], "timestamp_unit in params.yaml to s"),
        (["1700000000123"], "timestamp_unit in params.yaml to ms"),
        (["soon"], "use dates such as 2024-05-31"),
    ],
)
def test_other_times_are_refused_with_the_settings_that_would_read_them(
    values: list[Any], setting: str
) -> None:
    with pytest.raises(InputError) as caught:
        times(column(values), PLACE)
    assert setting in caught.value.fix


def test_dates_are_read_by_a_given_format() -> None:
    wanted = [datetime(2024, 5, 31, 16, 30, tzinfo=UTC)]
    zoned = column(["31.05.2024 18:30 +0200"])
    assert times(zoned, PLACE, format="%d.%m.%Y %H:%M %z").to_list() == wanted
    assert times(column([20240531]), PLACE, format="%Y%m%d").to_list() == [
        datetime(2024, 5, 31, tzinfo=UTC)
    ]


@pytest.mark.parametrize(("unit", "right"), [("s", "ms"), ("us", "ms")])
def test_a_wrong_unit_is_refused_with_the_right_one(unit: str, right: str) -> None:
    with pytest.raises(InputError, match="about the year") as caught:
        times(column([1_700_000_000_000]), PLACE, unit=unit)
    assert caught.value.fix.endswith(f"timestamp_unit in params.yaml to {right}")


def test_times_counted_from_an_unknown_start_are_read() -> None:
    assert times(column([0, 3600]), PLACE, unit="s").dt.epoch("s").to_list() == [0, 3600]


@pytest.mark.parametrize(
    ("values", "dtype", "text"),
    [
        ([9007199254740992.0, None], pl.Float64, False),
        ([16777216.0, 1.0], pl.Float32, False),
        (["9007199254740992.0", "1.0"], pl.String, True),
        (["1.23457E+17", "5"], pl.String, True),
    ],
)
def test_ids_that_were_rounded_as_floating_point_numbers_are_refused(
    values: list[Any], dtype: Any, text: bool
) -> None:
    with pytest.raises(InputError, match="different ids may have become one"):
        convert.ids(column(values, dtype), PLACE, text_numbers=text)


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([9007199254740991.0, None, 1.5], pl.Float64, ["9007199254740991", None, "1.5"]),
        (["9e+05", "12"], pl.String, ["900000", "12"]),
        (["9e+05", "x"], pl.String, ["9e+05", "x"]),
        ([Decimal(10**30), None], pl.Decimal(38, 0), [str(10**30), None]),
    ],
)
def test_ids_of_other_types_become_text(values: list[Any], dtype: Any, expected: list[Any]) -> None:
    assert convert.ids(column(values, dtype), PLACE, text_numbers=True).to_list() == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["['Action', 'Crime']", "[]", None], [["Action", "Crime"], None, None]),
        (['["Dr, ama", "It\'s"]', "['it\\'s']"], [["Dr, ama", "It's"], ["it's"]]),
        (["['Action' 'Crime']", "Plain|Two"], [["Action", "Crime"], ["Plain", "Two"]]),
        (["[Action, Crime]", "[Drama]"], [["Action", "Crime"], ["Drama"]]),
        (['{Action,"Sci Fi"}', "{}"], [["Action", "Sci Fi"], None]),
        (["[None, 'A']"], [["A"]]),
        (["[Vinyl]|Rock", "Pop"], [["[Vinyl]", "Rock"], ["Pop"]]),
    ],
)
def test_lists_that_were_written_as_text_are_read(values: list[Any], expected: list[Any]) -> None:
    assert convert.lists(column(values, pl.String), "|").to_list() == expected


def test_records_arrays_and_categories_become_plain_columns() -> None:
    table = pl.DataFrame(
        {
            "genres": [[{"name": "x", "id": 1}, {"name": "y", "id": 2}]],
            "info": [{"brand": "Lux", "kind": "lamp"}],
            "size": [[1, 2]],
            "sex": ["f"],
        },
        schema_overrides={"size": pl.Array(pl.Int64, 2), "sex": pl.Enum(["f", "m"])},
    )
    found = flatten(table)
    assert found.to_dicts() == [
        {
            "genres.name": ["x", "y"],
            "genres.id": [1, 2],
            "info.brand": "Lux",
            "info.kind": "lamp",
            "size": [1, 2],
            "sex": "f",
        }
    ]
    assert found.schema["sex"] == pl.String


def test_a_format_that_is_none_is_a_wrong_setting() -> None:
    with pytest.raises((ConfigError, InputError)):
        times(column(["31.05.2024"]), PLACE, format="%Q %")
