"""The frame that profiles are measured on; needs numpy and pandas alone, of any version."""

from __future__ import annotations

import numpy as np
import pandas as pd

ROWS = 1_000_000
REFERENCE, CURRENT = 1, 2
"""Seeds; the second frame has drifted a little in some columns."""


def mixed_frame(rows: int, seed: int) -> pd.DataFrame:
    """20 mixed columns: 8 of floats (4 with gaps), 4 of integers, 5 of text, 2 of booleans, 1 of times.

    Text is in columns of objects, as hpcretrain's table and older pandas hold it. It has up to 30,000 distinct values;
    with more, evidently would take a column for prose and train a classifier on it, which would flatter us.
    """
    rng = np.random.default_rng(seed)
    columns: dict[str, object] = {}
    for place in range(8):
        floats = rng.normal(place + 0.05 * seed, 1 + place, rows)
        if place % 2:
            floats[rng.random(rows) < 0.05] = np.nan
        columns[f"float_{place}"] = floats
    for distinct in (10, 1000, 10**6, 10**12):
        columns[f"int_{distinct}"] = rng.integers(0, distinct, rows)
    for distinct in (3, 40, 300, 5000, 30_000):
        skewed = (distinct * rng.random(rows) ** (1.5 + 0.05 * seed)).astype(np.int64)
        columns[f"text_{distinct}"] = pd.Series([f"name {number}" for number in skewed.tolist()], dtype=object)
    for share in (0.3, 0.01):
        columns[f"bool_{share}"] = rng.random(rows) < share
    seconds = np.sort(rng.integers(0, 30 * 86_400, rows)) + 1_704_067_200
    columns["time"] = seconds.astype("datetime64[s]").astype("datetime64[ns]")
    return pd.DataFrame(columns)


def row_hashes(frame: pd.DataFrame) -> np.ndarray:
    """One hash a row, shape (rows,)."""
    return np.asarray(pd.util.hash_pandas_object(frame, index=False))


def fingerprint(hashes: np.ndarray) -> int:
    """A number that tells one frame from another, by the hashes of its rows."""
    return int(np.bitwise_xor.reduce(hashes))
