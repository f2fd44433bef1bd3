"""Parquet and Arrow files: batches of the wanted columns; ranks share row groups or batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq

from data_prep.read import addresses
from data_prep.read.asked import Asked
from data_prep.read.rows import Place
from data_prep.read.schema import Schema
from data_prep.read.streams import Entry
from data_prep.read.tables import MOST_SAMPLED, SAMPLE_ROWS, Piece, WiderType, with_partition

BATCH_ROWS = 1 << 20
KINDS = {"parquet": "Parquet", "arrow": "Arrow"}


@dataclass(frozen=True, kw_only=True)
class Part:
    """A file, and how it is divided."""

    entry: Entry
    schema: pa.Schema
    lengths: tuple[int, ...]
    """Rows of each row group or batch; of batches, about."""


class Columnar:
    """The Parquet or Arrow files of a source."""

    typed = True
    unit = "row"
    hint = ""

    def __init__(self, entries: Sequence[Entry], asked: Asked, kind: str) -> None:
        """Read what the files say about themselves, and the first rows.

        Raises:
            ValueError: a file is damaged, or there are no rows.
        """
        self._kind = kind
        self.parts = [self._part(entry) for entry in entries]
        first = next((part for part in self.parts if sum(part.lengths)), None)
        if first is None:
            more = f" and {len(entries) - 1} other files" if len(entries) > 1 else ""
            raise ValueError(f"{entries[0].shown}{more} holds no rows")
        self._first = first
        partition = [name for name in first.entry.partition if name not in first.schema.names]
        self.names = (*first.schema.names, *partition)
        self.sample = self._sampled()

    def _part(self, entry: Entry) -> Part:
        with _explained(entry, self._kind), _opened(entry) as file:
            if self._kind == "parquet":
                found = pq.ParquetFile(file)
                meta = found.metadata
                lengths = [meta.row_group(k).num_rows for k in range(meta.num_row_groups)]
                return Part(entry=entry, schema=found.schema_arrow, lengths=tuple(lengths))
            reader = _arrow_reader(file)
            if isinstance(reader, pa.ipc.RecordBatchFileReader):
                lengths = [reader.get_batch(k).num_rows for k in range(reader.num_record_batches)]
            else:  # a stream: how many batches it has is known only at its end
                lengths = [sum(batch.num_rows for batch in _batches(reader))]
            return Part(entry=entry, schema=reader.schema, lengths=tuple(lengths))

    def _sampled(self) -> pa.Table:
        tables: list[pa.Table] = []
        rows = 0
        names = [field.name for field in self._first.schema]
        if len(set(names)) < len(names):  # `choose` says so
            return self._first.schema.empty_table()
        for part in [p for p in self.parts if sum(p.lengths)][:MOST_SAMPLED]:
            table = next(self._tables(part, [0], None, SAMPLE_ROWS)).slice(0, SAMPLE_ROWS)
            for name, values in self._partition_values(part.entry).items():
                table = table.append_column(name, values.take(pa.array([0] * table.num_rows, pa.int64())))
            if tables and table.schema != tables[0].schema:
                break  # `check` looks at the columns that are used
            tables.append(table)
            rows += table.num_rows
            if rows >= SAMPLE_ROWS:
                break
        return pa.concat_tables(tables).slice(0, SAMPLE_ROWS)

    def _partition_values(self, entry: Entry) -> dict[str, pa.Array]:
        """The values of the partition columns of a part, as numbers where all parts have numbers."""
        found = {}
        for name, value in entry.partition.items():
            if name in self._first.schema.names:
                continue
            every = pa.array([part.entry.partition[name] for part in self.parts], pa.string())
            try:
                whole = every.cast(pa.int64())
                kind = pa.int64() if whole.cast(pa.string()).equals(every) else pa.string()
            except pa.ArrowInvalid:
                kind = pa.string()
            found[name] = pa.array([value], pa.string()).cast(kind)
        return found

    def rows_estimate(self) -> int:
        """The number of rows."""
        return sum(sum(part.lengths) for part in self.parts)

    def total(self, rank: int, size: int) -> int:
        """Rows of the share of a rank."""
        return sum(part.lengths[k] for part, groups in self._share(rank, size) for k in groups)

    def check(self, schema: Schema) -> None:
        """Raise ValueError naming a part whose columns are not those of the first, as far as they are used."""
        for name in schema.types:
            if name in self._first.entry.partition and name not in self._first.schema.names:
                continue
            wanted = self._first.schema.field(name).type
            for part in self.parts:
                if name not in part.schema.names:
                    raise ValueError(
                        f"{part.entry.shown} has no column {name!r}, which {self._first.entry.name} has; every part "
                        f"needs the same columns (it has {', '.join(map(repr, part.schema.names[:10]))})"
                    )
                kind = part.schema.field(name).type
                if not _alike(kind, wanted):
                    raise ValueError(
                        f"{part.entry.shown}: column {name!r} is {kind}, and {wanted} in {self._first.entry.name}; "
                        "every part needs the same types"
                    )

    def _share(self, rank: int, size: int) -> list[tuple[Part, list[int]]]:
        """The parts of a rank with their row groups: all laid end to end and cut where the rows are about equal."""
        total, before = self.rows_estimate(), 0
        mine = []
        for part in self.parts:
            groups = []
            for k, length in enumerate(part.lengths):
                if length and total * rank // size <= before < total * (rank + 1) // size:
                    groups.append(k)
                before += length
            if groups:
                mine.append((part, groups))
        return mine

    def pieces(self, schema: Schema, rank: int, size: int, columns: Sequence[str]) -> Iterator[Piece]:
        """The share of a rank in batches."""
        texts = [name for name in columns if pa.types.is_string(schema.types[name])]
        for part, groups in self._share(rank, size):
            wanted = [name for name in columns if name in part.schema.names]
            done = sum(part.lengths[: groups[0]])
            for table in self._tables(part, groups, wanted, BATCH_ROWS, texts):

                def parse(table: pa.Table = table, done: int = done, part: Part = part) -> tuple[pa.Table, Place]:
                    whole = with_partition(_in_unit(table, schema), part.entry, dict(schema.types), columns)
                    return whole, lambda row: f"{part.entry.shown}, row {done + row + 1}"

                yield Piece(parse=parse, amount=table.num_rows)
                done += table.num_rows

    def _tables(
        self, part: Part, groups: Sequence[int], columns: list[str] | None, rows: int, texts: Sequence[str] = ()
    ) -> Iterator[pa.Table]:
        """Some row groups of a file, at most `rows` at a time.

        Args:
            columns: None: all.
            texts: columns to be read as dictionaries, as far as they are texts.
        """
        with _explained(part.entry, self._kind), _opened(part.entry) as file:
            if self._kind == "parquet":
                as_dictionary = [n for n in texts if n in part.schema.names and _is_text(part.schema.field(n).type)]
                found = pq.ParquetFile(file, read_dictionary=as_dictionary)
                # several threads that read a file of Python can wait for one another (apache/arrow#50482)
                threads = not isinstance(file, pa.PythonFile)
                batches: Iterator[pa.RecordBatch] = found.iter_batches(
                    rows, row_groups=list(groups), columns=columns, use_threads=threads
                )
            else:
                reader = _arrow_reader(file)
                is_file = isinstance(reader, pa.ipc.RecordBatchFileReader)
                batches = (reader.get_batch(k) for k in groups) if is_file else _batches(reader)
            for batch in batches:
                table = pa.Table.from_batches([batch])
                table = table if columns is None else table.select(columns)
                for start in range(0, table.num_rows, rows):
                    yield table.slice(start, rows)


def _in_unit(table: pa.Table, schema: Schema) -> pa.Table:
    """The table with its times in the unit of the first part."""
    name, kind = str(schema.time), schema.types.get(str(schema.time))
    if kind is None or name not in table.column_names or not pa.types.is_timestamp(kind):
        return table
    column = table[name]
    if not pa.types.is_timestamp(column.type) or column.type == kind:
        return table
    return table.set_column(table.column_names.index(name), name, column.cast(kind, safe=False))


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _alike(kind: pa.DataType, other: pa.DataType) -> bool:
    """Whether values of two types mean the same, only in another size."""
    if pa.types.is_dictionary(kind):
        return _alike(kind.value_type, other)
    if pa.types.is_dictionary(other):
        return _alike(kind, other.value_type)
    families = (pa.types.is_integer, pa.types.is_floating, _is_text)
    if any(family(kind) and family(other) for family in families):
        return True
    if pa.types.is_timestamp(kind) and pa.types.is_timestamp(other):
        return (kind.tz is None) == (other.tz is None)
    return kind == other


def _arrow_reader(file: Any) -> Any:
    """The batches of an Arrow file, an Arrow stream, or a Feather file of version 1."""
    head = file.read(6)
    file.seek(0)
    if head.startswith(b"FEA1"):
        table = feather.read_table(file)
        return pa.RecordBatchReader.from_batches(table.schema, table.to_batches(BATCH_ROWS))
    return pa.ipc.open_file(file) if head.startswith(b"ARROW1") else pa.ipc.open_stream(file)


def _batches(reader: Any) -> Iterator[pa.RecordBatch]:
    yield from reader


def _opened(entry: Entry) -> Any:
    """A file in which Arrow can seek: mapped, or held in memory where it is compressed or comes from a web server."""
    if entry.can_seek and not entry.file.is_remote:
        return pa.memory_map(entry.file.path)
    if entry.can_seek:
        return pa.PythonFile(entry.file.open(), mode="r")
    with entry.open() as stream:
        return pa.BufferReader(stream.read())


class _explained:
    """Turns what Arrow raises inside into one line with the file."""

    def __init__(self, entry: Entry, kind: str) -> None:
        self._entry, self._kind = entry, KINDS[kind]

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if error is None or isinstance(error, GeneratorExit | KeyboardInterrupt | MemoryError | WiderType):
            return
        if isinstance(error, ValueError) and not isinstance(error, pa.ArrowException):
            return
        if isinstance(error, Exception):
            raise ValueError(
                f"{self._entry.shown} is not a readable {self._kind} file: {addresses.reason(error)}; it may be cut or "
                "damaged"
            ) from None
