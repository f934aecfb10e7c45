"""What can be told of a table from a look at it: summaries of its columns, for guessing what they are for.

A small file is read whole; of a large one, pieces from its beginning to its end are copied into a small one. Either way
the table's own reader reads the cells, so that what is seen here is what a backtest will see.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hpcretrain.adapters import tablefile
from hpcretrain.adapters.tablefile import BoolArray, IntArray, Sheet
from hpcretrain.adapters.timereadings import is_timestamp, time_readings
from hpcretrain.config.features import FeatureFacts
from hpcretrain.config.guess import ColumnSummary
from hpcretrain.config.outlook import Calendar, foresee
from hpcretrain.config.relation import Relation, follows, relation
from hpcretrain.errors import InputError
from hpcretrain.policy.types import DataGate
from hpcretrain.ports import FloatArray

WHOLE_BYTES = 64 * 2**20
"""Size up to which a CSV file is read whole."""

WHOLE_CELLS = 5_000_000
"""Number of cells up to which a Parquet file is read whole."""

_PIECES = 16
_PIECE_BYTES = 2 * 2**20
_PIECE_ROWS = 8_000
_TRIALS = 50
_SHOWN_VALUES = 12
_HEAD = 100
_AS_UTF_8 = '; a CSV file must be UTF-8: in pandas, pd.read_csv(path, encoding="latin-1").to_csv(new, index=False)'
_OTHER_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}


@dataclass(frozen=True)
class Sample:
    """Rows of a file, in its order.

    Attributes:
        path: The file.
        copy: Where the rows are that were read: the file itself, or a smaller one that lasts as long as the sample.
        sheet: Those rows.
        rows: How many rows the file has; about so many if it was not read whole.
    """

    path: Path
    copy: Path
    sheet: Sheet
    rows: int

    @property
    def whole(self) -> bool:
        """Whether every row was read."""
        return self.copy == self.path

    def summaries(self) -> list[ColumnSummary]:
        """All columns."""
        return [self._summary(name) for name in self.sheet.names]

    def labels(self, name: str) -> FloatArray:
        """A target as numbers, shape (rows,), false and true as 0 and 1; NaN where missing."""
        column = self.sheet.columns[name]
        values, foreign = tablefile.split(column, typed=False)
        if foreign.any() and tablefile.is_text(column):
            words = pc.utf8_lower(pc.utf8_trim_whitespace(column))
            for word, label in (("false", 0.0), ("true", 1.0)):
                values[pc.fill_null(pc.equal(words, word), False).to_numpy()] = label
        return values

    def facts(
        self,
        summary: ColumnSummary,
        calendar: Calendar,
        labels: FloatArray,
        gate: DataGate,
        *,
        binary: bool,
    ) -> FeatureFacts:
        """What decides whether a column can be learned from.

        Args:
            summary: The column.
            calendar: When the rows are.
            labels: The target, shape (rows,).
            gate: The policy's data gate.
            binary: Whether labels are 0 and 1.
        """
        column = self.sheet.columns[summary.name]
        reference = calendar.reference
        values, foreign = tablefile.split(column, typed=self.sheet.typed)
        texts = int(np.count_nonzero(foreign & reference))
        plain = tablefile.is_number(column) or tablefile.is_text(column)
        codes = self._codes(column, values, ordered=not texts) if plain else np.where(foreign, 0, -1)
        nothing = np.zeros(len(codes), dtype=np.bool_)
        odd = {
            "missing": codes < 0,
            "category": _unknown(codes, reference) if texts else nothing,
            "range": nothing if texts else _outside(values, reference, gate.range_slack),
            "type": nothing if texts else foreign & ~reference,
            "infinite": nothing if texts else np.isinf(values),
        }
        novel = reference & _unknown(codes, _first_half(calendar)) if texts else nothing
        return FeatureFacts(
            summary=summary,
            numbers=int(np.count_nonzero(reference & ~np.isnan(values))),
            texts=texts,
            infinite=int(np.count_nonzero(reference & np.isinf(values))),
            distinct=len(np.unique(codes[reference & (codes >= 0)])) if plain else summary.distinct,
            stops=foresee(odd, novel, calendar, gate) if plain else None,
            follows_time=not texts and follows(codes, calendar.stamps),
            relation=relation(codes, ordered=not texts, labels=labels, binary=binary) if plain else Relation(),
        )

    def _codes(self, column: Any, values: FloatArray, *, ordered: bool) -> IntArray:
        if ordered:
            _, places = np.unique(values, return_inverse=True)
            return np.where(np.isnan(values), -1, places)
        texts = tablefile.as_text(column, typed=self.sheet.typed)
        codes: IntArray = pc.fill_null(texts.combine_chunks().dictionary_encode().indices, -1).to_numpy()
        return codes.astype(np.int64)

    def _summary(self, name: str) -> ColumnSummary:
        column = self.sheet.columns[name]
        numbers, foreign = tablefile.split(column, typed=self.sheet.typed)
        present = numbers[~np.isnan(numbers)]
        distinct, values = _values(column, present, numeric=not foreign.any(), typed=self.sheet.typed)
        texts = int(np.count_nonzero(foreign))
        plain = tablefile.is_number(column) or tablefile.is_text(column)
        readings, trouble = time_readings(self.sheet, name)
        return ColumnSummary(
            name=name,
            rows=self.sheet.rows,
            missing=self.sheet.rows - len(present) - texts,
            numbers=len(present),
            texts=texts,
            infinite=int(np.count_nonzero(np.isinf(present))),
            distinct=distinct,
            values=values,
            low=float(present.min()) if len(present) else None,
            high=float(present.max()) if len(present) else None,
            whole=bool((present == np.floor(present)).all()),
            readings=readings,
            trouble=trouble
            and trouble.replace(str(self.copy), str(self.path) if self.whole else f"sample of {self.path}"),
            type_name=None if plain or is_timestamp(column) else str(column.type),
        )


@contextmanager
def look(path: Path) -> Iterator[Sample]:
    """Read a file, or pieces of it if it is large.

    Raises:
        InputError: It cannot be read, or has no rows.
    """
    _refuse_other_separators(path)
    with TemporaryDirectory(prefix="hpcretrain-init-") as folder:
        copy, share = _copy(path, Path(folder))
        try:
            sheet = tablefile.load(copy, None)
        except InputError as error:
            problem = str(error).replace(str(copy), str(path))
            hint = _AS_UTF_8 if re.search("utf-?8", problem, re.IGNORECASE) else ""
            raise InputError(problem + hint) from error
        if not sheet.rows:
            raise InputError(f"{path}: has no rows")
        yield Sample(path, copy, sheet, round(sheet.rows / share))


def _refuse_other_separators(path: Path) -> None:
    if path.suffix.lower() != ".csv":
        return
    try:
        with path.open(encoding="utf-8-sig") as file:
            header = file.readline(2**20)
    except (OSError, UnicodeError):
        # The reader tells it better.
        return
    used = [word for letter, word in _OTHER_SEPARATORS.items() if letter in header]
    if "," not in header and used:
        raise InputError(
            f"{path}: the columns of its first line are separated by {used[0]}; only commas are read. Convert it, in "
            'pandas: pd.read_csv(path, sep=...).to_csv(new, index=False), with decimal="," for decimal commas'
        )


def _copy(path: Path, folder: Path) -> tuple[Path, float]:
    """The file to be read, and about which share of the rows it holds."""
    try:
        if path.suffix.lower() == ".csv" and (size := path.stat().st_size) > WHOLE_BYTES:
            copy = _copy_csv(path, folder / "sample.csv", size)
            return copy, copy.stat().st_size / size
        if path.suffix.lower() == ".parquet":
            with pq.ParquetFile(path) as file:
                if file.metadata.num_rows * file.metadata.num_columns > WHOLE_CELLS:
                    return _copy_parquet(file, folder / "sample.parquet")
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    return path, 1.0


def _copy_csv(path: Path, copy: Path, size: int) -> Path:
    with path.open("rb") as file, copy.open("wb") as out:
        header = file.readline()
        out.write(header)
        last = size - _PIECE_BYTES
        for number, offset in enumerate(np.linspace(len(header), last, _PIECES).astype(int).tolist()):
            file.seek(offset)
            piece = file.read(_PIECE_BYTES)
            lines = piece.splitlines(keepends=True)
            # A piece from the middle begins and ends within a line, or even within a cell of several lines.
            lines = lines[0 if number == 0 else 1 : None if offset == last else -1]
            out.writelines(_whole_rows(header, lines, copy.with_name("piece.csv"), first=number == 0))
    return copy


def _whole_rows(header: bytes, lines: list[bytes], piece: Path, *, first: bool) -> list[bytes]:
    """The lines without those at either end that are parts of rows; none if no beginning is found that reads well."""
    for trial in range(1 if first else _TRIALS):
        chosen = lines[trial:]
        # Quotes are paired in whole rows, so a last cell that is cut off leaves an odd number.
        quotes = sum(line.count(b'"') for line in chosen)
        while quotes % 2:
            quotes -= chosen.pop().count(b'"')
        piece.write_bytes(header + b"".join(chosen))
        try:
            tablefile.load(piece, None)
        except InputError:
            continue
        return chosen
    # What is wrong at the beginning is the file's own, and the reader tells it.
    return lines if first else []


def _copy_parquet(file: Any, copy: Path) -> tuple[Path, float]:
    groups = np.unique(np.linspace(0, file.num_row_groups - 1, _PIECES).astype(int)).tolist()
    sizes = [file.metadata.row_group(group).num_rows for group in groups]
    count = sum(-(-size // _PIECE_ROWS) for size in sizes)
    chosen = set(np.unique(np.linspace(0, count - 1, 2 * _PIECES).astype(int)).tolist())
    rows = 0
    with pq.ParquetWriter(copy, file.schema_arrow) as out:
        number = 0
        for group in groups:
            for batch in file.iter_batches(_PIECE_ROWS, row_groups=[group]):
                if number in chosen:
                    out.write_batch(batch)
                    rows += batch.num_rows
                number += 1
    return copy, rows / file.metadata.num_rows


def _values(column: Any, numbers: FloatArray, *, numeric: bool, typed: bool) -> tuple[int, dict[str, int]]:
    """How many different values there are, and the first of them as text, with how often each occurs.

    Of many different numbers only the first rows are written as text, since that is slow.
    """
    if is_timestamp(column):
        texts = pc.cast(column, pa.large_string())
    elif tablefile.is_number(column) or tablefile.is_text(column):
        many = numeric and len(np.unique(numbers)) > _SHOWN_VALUES
        texts = tablefile.as_text(pc.drop_null(column).slice(0, _HEAD if many else None), typed=typed)
    else:
        return 0, {}
    counted = pc.value_counts(pc.drop_null(texts))
    first = counted.slice(0, _SHOWN_VALUES)
    values = dict(zip(first.field(0).to_pylist(), first.field(1).to_pylist(), strict=True))
    return len(np.unique(numbers)) if numeric and not is_timestamp(column) else len(counted), values


def _unknown(codes: IntArray, known: BoolArray) -> BoolArray:
    """Cells whose value does not occur in the known rows."""
    return (codes >= 0) & ~np.isin(codes, np.unique(codes[known]))


def _first_half(calendar: Calendar) -> BoolArray:
    """Rows of the first half of the reference's batches, as the data gate halves them."""
    numbers = (calendar.stamps - calendar.until) // calendar.length
    batches = np.unique(numbers[calendar.reference])
    return np.isin(numbers, batches[: (len(batches) + 1) // 2])


def _outside(values: FloatArray, reference: BoolArray, range_slack: float) -> BoolArray:
    known = values[reference & np.isfinite(values)]
    if not len(known):
        return np.zeros(len(values), dtype=np.bool_)
    low, high = float(known.min()), float(known.max())
    reach = range_slack * (high - low)
    return np.isfinite(values) & ((values < low - reach) | (values > high + reach))
