"""The cells of a table's features and what can be told of them, row by row."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from hpcretrain.adapters.tablefile import BoolArray, IntArray
from hpcretrain.ports import FloatArray, HashArray

TextArray = npt.NDArray[np.object_]

_MISSING_HASH = np.uint64(0x6D697373696E6721)
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(32)


@dataclass(frozen=True)
class NumberCells:
    """A column of numbers: `values`, NaN where there is none, and the cells that hold text instead.

    `texts[i]` stands in row `text_rows[i]`; rows increase.
    """

    values: FloatArray
    text_rows: IntArray
    texts: TextArray

    @staticmethod
    def of(values: FloatArray, foreign: BoolArray, texts: Any, order: IntArray) -> NumberCells:
        """The column in another order of rows.

        Args:
            values: Numbers, shape (rows,).
            foreign: Where text stands, shape (rows,).
            texts: The text there, in arrow.
            order: For each row its place in these arrays, shape (rows,).
        """
        rows = np.flatnonzero(foreign[order])
        found = np.searchsorted(np.flatnonzero(foreign), order[rows])
        return NumberCells(values[order], rows, texts.to_numpy(zero_copy_only=False)[found])

    def series(self, index: IntArray) -> pd.Series:
        """float64; objects (float, str) if text stands in these rows. NaN where nothing stands, in either case."""
        places, texts = self._foreign(index)
        values = self.values[index]
        if not len(places):
            return pd.Series(values)
        cells = values.astype(object)
        cells[places] = texts
        return pd.Series(cells, dtype=object)

    def arrow(self, index: IntArray) -> Any:
        """float64, null where no number stands."""
        values = self.values[index]
        return pa.array(values, pa.float64(), mask=np.isnan(values))

    def pieces(self, index: IntArray) -> Iterable[bytes]:
        """What to digest."""
        places, texts = self._foreign(index)
        yield number_bytes(self.values[index])
        yield places.astype("<i8").tobytes()
        yield _text_bytes(texts)

    @cached_property
    def hashes(self) -> HashArray:
        """One a row; each depends on its cell alone."""
        hashes = number_hashes(self.values)
        if len(self.text_rows):
            hashes[self.text_rows] = pd.util.hash_array(self.texts)
        return hashes

    def _foreign(self, index: IntArray) -> tuple[IntArray, TextArray]:
        """Places in `index`, which increases, where text stands, and the text."""
        if not len(index) or not len(self.text_rows):
            return self.text_rows[:0], self.texts[:0]
        places = np.searchsorted(index, self.text_rows)
        among = index[np.minimum(places, len(index) - 1)] == self.text_rows
        return places[among], self.texts[among]


@dataclass(frozen=True)
class CategoryCells:
    """A column of text: `vocabulary[codes]`, -1 where it is missing. The vocabulary is sorted.

    It is of the whole table, so nothing that depends on a code, or on its size, may leave this class.
    """

    codes: npt.NDArray[np.int32]
    vocabulary: TextArray

    @staticmethod
    def of(texts: Any, order: IntArray) -> CategoryCells:
        """The column in another order of rows.

        Args:
            texts: Its cells in arrow, chunked.
            order: For each row its place in `texts`, shape (rows,).
        """
        encoded = texts.combine_chunks().dictionary_encode()
        words = encoded.dictionary.to_numpy(zero_copy_only=False).astype(object)
        by_name = np.argsort(words, kind="stable")
        rank = np.empty(len(words) + 1, dtype=np.int32)
        rank[by_name] = np.arange(len(words), dtype=np.int32)
        rank[-1] = -1
        codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        return CategoryCells(rank[codes[order]], words[by_name])

    def series(self, index: IntArray) -> pd.Series:
        """Objects: str, None where missing."""
        return pd.Series(self._with_none[self.codes[index]], dtype=object)

    def arrow(self, index: IntArray) -> Any:
        """Text, null where missing."""
        return pa.array(self._with_none[self.codes[index]], pa.string())

    def pieces(self, index: IntArray) -> Iterable[bytes]:
        """What to digest: the words of these rows, sorted, and for each row the place of its word among them."""
        codes = self.codes[index]
        used = np.zeros(len(self.vocabulary) + 1, dtype=np.bool_)
        used[codes] = True
        used[-1] = False
        place = np.cumsum(used, dtype=np.int32) - np.int32(1)
        yield _text_bytes(self.vocabulary[used[:-1]])
        yield np.where(codes < 0, np.int32(-1), place[codes]).astype("<i4").tobytes()

    @cached_property
    def hashes(self) -> HashArray:
        """One a row; each depends on its cell alone."""
        words = np.append(pd.util.hash_array(self.vocabulary, categorize=False), _MISSING_HASH)
        hashes: HashArray = words[self.codes]
        return hashes

    @cached_property
    def _with_none(self) -> TextArray:
        return np.append(self.vocabulary, np.array([None], dtype=object))


Cells = NumberCells | CategoryCells


def number_bytes(values: FloatArray) -> bytes:
    """Little-endian float64."""
    return values.astype("<f8", copy=False).tobytes()


def number_hashes(values: FloatArray | IntArray) -> HashArray:
    """One for each number, shape (rows,)."""
    hashes: HashArray = pd.util.hash_array(values)
    return hashes


def mixed(hashes: HashArray, more: HashArray) -> HashArray:
    """One hash a row of what both stand for, in this order; every step can be undone, so none is lost."""
    product = (hashes ^ more) * _MULTIPLIER
    return product ^ (product >> _SHIFT)


def _text_bytes(texts: TextArray) -> bytes:
    encoded = [text.encode() for text in texts]
    return b"".join(struct.pack("<q", len(text)) + text for text in encoded)
