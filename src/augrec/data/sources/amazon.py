"""Amazon reviews: JSON lines of the years 2014, 2018 or 2023, and their products.

In 2014 and 2018 the id of a product is `asin`; 2023 has `parent_asin`, which is the same for all
variants of a product. The products of 2014 are lines of Python literals, which are parsed without
running them.
"""

from __future__ import annotations

import ast
import gzip
from pathlib import Path
from typing import Any, Final

import polars as pl

from augrec.core.errors import InputError
from augrec.data import convert
from augrec.data.canonical import Tables, canonical_tables
from augrec.data.columns import Columns as C
from augrec.data.convert_numbers import numbers
from augrec.data.importing.place import Place
from augrec.data.sources._files import ratings

_OLD: Final = {
    "reviewerID": C.USER,
    "asin": C.ITEM,
    "overall": C.VALUE,
    "unixReviewTime": C.TIMESTAMP,
}
_NEW: Final = {
    "user_id": C.USER,
    "parent_asin": C.ITEM,
    "rating": C.VALUE,
    "timestamp": C.TIMESTAMP,
}
_TEXTS = pl.List(pl.String)
_OLD_PRODUCT: Final = {
    "asin": pl.String,
    "title": pl.String,
    "description": _TEXTS,
    "category": _TEXTS,
    "price": pl.String,
    "brand": pl.String,
}
_NEW_PRODUCT: Final = {
    "parent_asin": pl.String,
    "title": pl.String,
    "description": _TEXTS,
    "categories": _TEXTS,
    "price": pl.String,
    "store": pl.String,
}


def read(folder: Path) -> Tables:
    """Read the one file of reviews in `folder`, and the optional file whose name begins with
    meta_.

    Raises:
        InputError: there is not exactly one file of reviews, or it has none of the three layouts.
    """
    files = sorted(
        p for p in folder.iterdir() if p.name.endswith((".json", ".jsonl", ".json.gz", ".jsonl.gz"))
    )
    reviews = [path for path in files if not path.name.startswith("meta_")]
    products = [path for path in files if path.name.startswith("meta_")]
    if len(reviews) != 1 or len(products) > 1:
        raise InputError(
            f"found {len(reviews)} files of reviews and {len(products)} of products, expected one "
            "of each",
            where=str(folder),
            fix="put one category's files into a folder of their own",
        )
    interactions = _reviews(reviews[0])
    return canonical_tables(interactions, _products(products[0]) if products else None)


def _reviews(path: Path) -> pl.DataFrame:
    first = _first_line(path)
    old = '"reviewerID"' in first
    if not old and '"parent_asin"' not in first:
        raise InputError(
            "this is not a file of Amazon reviews",
            where=str(path),
            fix='each line must be an object with "reviewerID" and "asin", or with "user_id" and '
            '"parent_asin"',
        )
    names = _OLD if old else _NEW
    kinds = {C.USER: pl.String, C.ITEM: pl.String, C.VALUE: pl.Float32, C.TIMESTAMP: pl.Int64}
    table = _json_lines(path, {name: kinds[canon] for name, canon in names.items()}).rename(names)
    return ratings(table, unit="s" if old else "ms", where=str(path))


def _products(path: Path) -> pl.DataFrame:
    first = _first_line(path)
    if first.startswith("{'"):
        table = _python_lines(path)
    else:
        table = _json_lines(path, _NEW_PRODUCT if '"parent_asin"' in first else _OLD_PRODUCT)
    table = table.rename(
        {"asin": C.ITEM, "parent_asin": C.ITEM, "category": C.CATEGORIES, "store": "brand"},
        strict=False,
    )
    return table.select(
        C.ITEM,
        convert.texts(table[C.TITLE]),
        convert.texts(table[C.DESCRIPTION]),
        convert.lists(table[C.CATEGORIES], "|"),
        numbers(table[C.PRICE].replace({"None": None}), pl.Float64, Place(str(path)), "."),
        "brand",
    ).unique(C.ITEM, keep="first", maintain_order=True)


def _json_lines(path: Path, schema: dict[str, Any]) -> pl.DataFrame:
    try:
        return pl.scan_ndjson(path, schema=schema).collect()
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(
            f"the file cannot be read: {str(error).splitlines()[0]}",
            where=str(path),
            fix="it may be empty or incomplete; get it again",
        ) from error


def _python_lines(path: Path) -> pl.DataFrame:
    rows = []
    with _open(path) as lines:
        for number, line in enumerate(lines, 1):
            try:
                product = ast.literal_eval(line)
            except (ValueError, SyntaxError) as error:
                raise InputError(
                    f"line {number} is not a product", where=str(path), fix="get the file again"
                ) from error
            categories = [name for path_ in product.get("categories", []) for name in path_]
            price = product.get("price")
            rows.append(
                (
                    product["asin"],
                    product.get("title"),
                    product.get("description"),
                    list(dict.fromkeys(categories)),
                    None if price is None else str(price),
                    product.get("brand"),
                )
            )
    schema: dict[str, Any] = {
        "asin": pl.String,
        "title": pl.String,
        "description": pl.String,
        C.CATEGORIES: _TEXTS,
        "price": pl.String,
        "brand": pl.String,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def _open(path: Path):  # type: ignore[no-untyped-def]  # a text stream of either kind
    return (
        gzip.open(path, "rt", encoding="utf-8")
        if path.suffix == ".gz"
        else path.open(encoding="utf-8")
    )


def _first_line(path: Path) -> str:
    try:
        with _open(path) as lines:
            return lines.readline()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise InputError(
            f"the file cannot be read: {error}", where=str(path), fix="get it again"
        ) from error
