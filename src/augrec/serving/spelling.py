"""Words of the titles that a mistyped word may stand for."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

import numpy as np
import polars as pl

_SHORTEST: Final = 3
_COMPARED: Final = 50
_SIMILAR: Final = 0.7
"""Least similarity, see `difflib.SequenceMatcher.ratio`: one wrong letter in four, or two letters
exchanged."""


class Spelling:
    """Finds words that are spelt alike.

    Args:
        words: the known words, in lower case.
    """

    def __init__(self, words: Iterable[str]) -> None:
        self._words = list(words)
        self._pairs = _pairs(self._words)

    def alike(self, word: str, limit: int = 3) -> list[str]:
        """At most `limit` known words that are most like `word`; none for very short words."""
        if len(word) < _SHORTEST or not self._words:
            return []
        asked = _pairs([word]).select("pair")
        shared = self._pairs.join(asked, on="pair", how="semi")["place"].to_numpy()
        counts = np.bincount(shared, minlength=len(self._words))
        likely = np.argsort(-counts, kind="stable")[:_COMPARED]
        candidates = [self._words[place] for place in likely if counts[place]]
        return get_close_matches(word, candidates, n=limit, cutoff=_SIMILAR)


def _pairs(words: list[str]) -> pl.DataFrame:
    """place, pair: each two letters that follow each other in a word, its ends included."""
    table = pl.DataFrame({"word": [f"^{word}$" for word in words]}, schema={"word": pl.String})
    letters = table.with_row_index("place").with_columns(
        letter=pl.col("word").str.split(""), next=pl.col("word").str.slice(1).str.split("")
    )
    return (
        letters.select("place", pl.col("letter").list.head(pl.col("next").list.len()), "next")
        .explode("letter", "next")
        .select("place", pair=pl.col("letter") + pl.col("next"))
        .unique(maintain_order=True)
    )
