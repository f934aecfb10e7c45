"""The table that spooled predictions and their labels make: one that a home can read."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hpcretrain.adapters import tablefile
from hpcretrain.adapters.servingsegments import Label, Served
from hpcretrain.errors import InputError


def read_labels(paths: Sequence[Path], id_column: str, label_column: str, time_column: str | None) -> Iterator[Label]:
    """The labels of files of CSV or Parquet, in order of files and rows; rows without a label are none.

    Raises:
        InputError: A file cannot be read, lacks a column, or holds a time that cannot be read.
    """
    wanted = [id_column, label_column, *([time_column] if time_column else [])]
    for path in paths:
        sheet = tablefile.load(path, wanted)
        if lacking := [name for name in wanted if name not in sheet.names]:
            raise InputError(f"{path}: has no column {', '.join(lacking)}; there are: {', '.join(sheet.names)}")
        times: Sequence[datetime | None] = [None] * sheet.rows
        if time_column:
            stamps = tablefile.times(sheet, time_column, ZoneInfo("UTC"), None)
            times = [datetime.fromtimestamp(stamp / 1e9, UTC) for stamp in stamps.tolist()]
        numbers, foreign = tablefile.split(sheet.columns[label_column], typed=sheet.typed)
        texts = tablefile.as_text(sheet.columns[label_column], typed=sheet.typed).to_pylist()
        ids = tablefile.as_text(sheet.columns[id_column], typed=sheet.typed).to_pylist()
        for identifier, number, is_text, text, at in zip(ids, numbers.tolist(), foreign, texts, times, strict=True):
            if identifier is not None and (is_text or not math.isnan(number)):
                yield identifier, (text if is_text else number), at


def write(
    path: Path, rows: Sequence[Served], labels: Mapping[str, float | str], time_column: str, label_column: str
) -> None:
    """Write a Parquet file by atomic rename: time, inputs and label of each row, in order of time. Mode 0600.

    A column of inputs holds numbers if all that is there is a number or a truth value, else text.

    Raises:
        InputError: An input has the name of the time or the label, or the file cannot be written.
    """
    names = sorted({name for row in rows for name in row.inputs})
    if clash := {time_column, label_column} & {*names} or ({time_column} if time_column == label_column else set()):
        raise InputError(f"{', '.join(sorted(clash))} names two columns; choose other names for time and label")
    columns = {time_column: pa.array([row.at for row in rows], pa.timestamp("us", tz="UTC"))}
    columns |= {name: _column([row.inputs.get(name) for row in rows]) for name in names}
    columns[label_column] = _column([labels.get(row.id) for row in rows])
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            pq.write_table(pa.table(columns), file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from error


def _column(values: Sequence[Any]) -> Any:
    if all(value is None or isinstance(value, int | float) for value in values):
        numbers = np.array([math.nan if value is None else _float(value) for value in values], dtype=np.float64)
        return pa.array(numbers, pa.float64(), mask=np.isnan(numbers))
    return pa.array([None if value is None else value if isinstance(value, str) else str(value) for value in values])


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.copysign(math.inf, value)
