"""Feature specifications: a YAML file that says which features a data set has and in which files they are.

The format is that of NVIDIA's NCF (feature_spec.yaml): four sections,

    feature_spec   name -> {dtype, cardinality}; cardinality may be "auto" (the largest id and one)
    source_spec    mapping (train, test, valid) -> chunks; a chunk is {type, features, files}
    channel_spec   user_ch, item_ch, label_ch -> one feature each
    metadata       test_samples_per_series: rows of one list of candidates

Files of a chunk follow each other by row, chunks of a mapping stand beside each other by column. Types: ``csv`` (no
header), ``parquet`` (columns by name), ``npy`` ([rows] or [rows, features]), and two of ours, which say what a prepared
data set holds without writing it twice: ``csr`` (indptr and indices: user and item of every pair) and ``series`` (the
user of every list [S], its candidates [S, C] with the positive first: user, item and label).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from pyarrow import csv

from data_prep.split.result import Split

Columns = dict[str, npt.NDArray]
CHANNELS = {"user": "user_ch", "item": "item_ch", "label": "label_ch"}
SERIES_LENGTH = "test_samples_per_series"
LARGEST_ID = 2**31 - 2
"""Ids are int32 on disk, and their number has to be too."""


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Some features of a mapping and the files that hold them."""

    name: str
    """For messages: specification, mapping and number of the chunk, from 0."""
    kind: str
    features: tuple[str, ...]
    files: tuple[Path, ...]


@dataclass(frozen=True, kw_only=True)
class FeatureSpec:
    """A checked specification."""

    path: Path
    channels: Mapping[str, str]
    """user, item and label -> the feature that is one."""
    cardinalities: Mapping[str, int | None]
    """Feature -> number of ids, None for "auto"."""
    mappings: Mapping[str, tuple[Chunk, ...]]
    series_length: int | None
    """Rows of one list of candidates."""


def _section(content: Mapping[str, Any], name: str, path: Path) -> Mapping[str, Any]:
    found = content.get(name)
    if not isinstance(found, Mapping) or not found:
        raise ValueError(f"{path}: section {name!r} is missing or empty, expected names and values")
    return found


def _channels(content: Mapping[str, Any], features: Mapping[str, Any], path: Path) -> dict[str, str]:
    section, found = _section(content, "channel_spec", path), {}
    for role, channel in CHANNELS.items():
        names = section.get(channel)
        if not isinstance(names, list) or not _is_list_of_names(names) or len(names) != 1:
            raise ValueError(f"{path}: channel {channel!r} is {names!r}, expected a list of one feature")
        if names[0] not in features:
            raise ValueError(
                f"{path}: channel {channel!r} names feature {names[0]!r}, known are: {', '.join(features)}"
            )
        found[role] = names[0]
    if len(set(found.values())) < len(found):
        raise ValueError(f"{path}: channel_spec names one feature twice, expected three: {', '.join(found.values())}")
    return found


def _cardinality(name: str, about: Any, path: Path) -> int | None:
    value = about.get("cardinality", "auto") if isinstance(about, Mapping) else about
    if value == "auto":
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 1 or value > LARGEST_ID + 1:
        wanted = f"a whole number from 1 or auto{f', {LARGEST_ID + 1} at most' if value else ''}"
        raise ValueError(f"{path}: feature {name!r} has cardinality {value!r}, expected {wanted}")
    return value


def _is_list_of_names(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(name, str) for name in value)


def _chunk(number: int, mapping: str, about: Any, features: Mapping[str, Any], path: Path) -> Chunk:
    name = f"{path}, mapping {mapping!r}, chunk {number}"
    if (
        not isinstance(about, Mapping)
        or not isinstance(about.get("type"), str)
        or not all(_is_list_of_names(about.get(key)) for key in ("features", "files"))
    ):
        raise ValueError(f"{name}: expected type, features and files, the last two as lists of names")
    if about["type"] not in READERS:
        hint = " (a pickle, which can run code when it is read: save the tensors as npy)"
        raise ValueError(
            f"{name}: unknown type {about['type']!r}{hint if about['type'] == 'torch_tensor' else ''}, "
            f"known are: {', '.join(READERS)}"
        )
    if unknown := [f for f in about["features"] if f not in features]:
        raise ValueError(f"{name}: unknown feature {unknown[0]!r}, known are: {', '.join(features)}")
    files = tuple(path.parent / str(file) for file in about["files"])
    if missing := [file for file in files if not file.is_file()]:
        raise ValueError(f"{name}: {missing[0]} does not exist")
    return Chunk(name=name, kind=about["type"], features=tuple(about["features"]), files=files)


def read_spec(path: Path) -> FeatureSpec:
    """Read and check a specification; the files it names are only looked for.

    Raises:
        ValueError: it is missing, broken, or names what is not there.
    """
    path = path / "feature_spec.yaml" if path.is_dir() else path
    if not path.is_file():
        raise ValueError(f"{path} does not exist, expected a feature specification")
    try:
        content = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, Mapping):
        raise ValueError(f"{path} holds {type(content).__name__}, expected the sections of a feature specification")
    features = _section(content, "feature_spec", path)
    mappings = {}
    for mapping, chunks in _section(content, "source_spec", path).items():
        if not isinstance(chunks, list) or not chunks:
            raise ValueError(f"{path}: mapping {mapping!r} is {chunks!r}, expected a list of chunks")
        mappings[mapping] = tuple(_chunk(k, mapping, about, features, path) for k, about in enumerate(chunks))
        named = [f for chunk in mappings[mapping] for f in chunk.features]
        if twice := [f for f in named if named.count(f) > 1]:
            raise ValueError(f"{path}: mapping {mapping!r} has feature {twice[0]!r} in two chunks")
    metadata = content.get("metadata") or {}
    if not isinstance(metadata, Mapping):
        raise ValueError(f"{path}: section 'metadata' is {type(metadata).__name__}, expected names and values")
    length = metadata.get(SERIES_LENGTH)
    if length is not None and (not isinstance(length, int) or length < 2):
        raise ValueError(f"{path}: metadata {SERIES_LENGTH} is {length!r}, expected a whole number from 2")
    return FeatureSpec(
        path=path,
        channels=_channels(content, features, path),
        cardinalities={name: _cardinality(name, about, path) for name, about in features.items()},
        mappings=mappings,
        series_length=length,
    )


def _read_csv(file: Path, chunk: Chunk) -> list[npt.NDArray]:
    try:
        table = csv.read_csv(
            file,
            # the parallel reader can wait for itself after an error (apache/arrow#48741)
            read_options=csv.ReadOptions(column_names=list(chunk.features), use_threads=False),
            convert_options=csv.ConvertOptions(strings_can_be_null=True),
        )
    except pa.ArrowInvalid as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{chunk.name}: {file}: {reason[:160]}; expected {', '.join(chunk.features)}") from None
    return [_numbers(table[name], name, file, chunk) for name in chunk.features]


def _read_parquet(file: Path, chunk: Chunk) -> list[npt.NDArray]:
    try:
        names = pq.read_schema(file).names
        if missing := [name for name in chunk.features if name not in names]:
            raise ValueError(f"{chunk.name}: {file} has no column {missing[0]!r} among {', '.join(map(repr, names))}")
        table = pq.read_table(file, columns=list(chunk.features))
    except (pa.ArrowInvalid, OSError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{chunk.name}: {file} is not a readable Parquet file: {reason}") from None
    return [_numbers(table[name], name, file, chunk) for name in chunk.features]


def _numbers(column: pa.ChunkedArray, name: str, file: Path, chunk: Chunk) -> npt.NDArray:
    """A column as numbers, or an error that names the first value that is none."""
    kind = column.type
    if column.null_count:
        row = int(np.argmax(column.is_null().to_numpy()))
        raise ValueError(f"{chunk.name}: {file}, row {row + 1}: feature {name!r} is empty")
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        rows = enumerate(column.to_pylist())
        row, value = next(((k, v) for k, v in rows if not _is_number(v)), (0, column[0].as_py()))
        where = f"{chunk.name}: {file}, row {row + 1}: feature {name!r}"
        raise ValueError(f"{where} is {str(value)[:40]!r}, expected a number (not {kind})")
    return column.to_numpy()


def _is_number(value: object) -> bool:
    """Of a column that Arrow did not read as numbers: whether this value would have been one."""
    try:
        float(str(value))
    except ValueError:
        return False
    return isinstance(value, str)


def _load_npy(file: Path, chunk: Chunk) -> npt.NDArray:
    try:
        array = np.load(file, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{chunk.name}: {file} is not a readable npy file: {str(error).splitlines()[0]}") from None
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{chunk.name}: {file} is an archive of arrays, expected one array (npy)")
    if array.dtype.kind not in "iufb":
        raise ValueError(f"{chunk.name}: {file} holds {array.dtype}, expected numbers")
    return array


def _read_npy(file: Path, chunk: Chunk) -> list[npt.NDArray]:
    array = _load_npy(file, chunk)
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim != 2 or array.shape[1] != len(chunk.features):
        wanted = f"[rows, {len(chunk.features)}] for {', '.join(chunk.features)}"
        raise ValueError(f"{chunk.name}: {file} has shape {list(array.shape)}, expected {wanted}")
    return list(array.T)


def _by_row(read: Callable[[Path, Chunk], list[npt.NDArray]]) -> Callable[[Chunk], Columns]:
    """A reader of one file, made one of many files that follow each other."""

    def reader(chunk: Chunk) -> Columns:
        parts = [read(file, chunk) for file in chunk.files]
        return {name: np.concatenate([p[k] for p in parts]) for k, name in enumerate(chunk.features)}

    return reader


def _two(chunk: Chunk, features: int) -> tuple[npt.NDArray, npt.NDArray]:
    if len(chunk.files) != 2 or len(chunk.features) != features:
        raise ValueError(f"{chunk.name}: type {chunk.kind!r} takes two files and {features} features")
    return _load_npy(chunk.files[0], chunk), _load_npy(chunk.files[1], chunk)


def _read_csr(chunk: Chunk) -> Columns:
    indptr, indices = _two(chunk, 2)
    whole = all(part.ndim == 1 and part.dtype.kind in "iu" for part in (indptr, indices))
    if not whole or len(indptr) < 1 or indptr[-1] != len(indices) or (np.diff(indptr) < 0).any():
        raise ValueError(f"{chunk.name}: {chunk.files[0]} does not fit {chunk.files[1]}, expected indptr and indices")
    return {chunk.features[0]: np.repeat(np.arange(len(indptr) - 1), np.diff(indptr)), chunk.features[1]: indices}


def _read_series(chunk: Chunk) -> Columns:
    users, lists = _two(chunk, 3)
    if lists.ndim != 2 or users.shape != lists.shape[:1]:
        raise ValueError(f"{chunk.name}: {chunk.files[0]} does not fit {chunk.files[1]}, expected [S] and [S, C]")
    label = np.zeros(lists.shape, np.float32)
    label[:, 0] = 1
    values = (np.repeat(users, lists.shape[1]), lists.ravel(), label.ravel())
    return dict(zip(chunk.features, values, strict=True))


READERS: dict[str, Callable[[Chunk], Columns]] = {
    "csv": _by_row(_read_csv),
    "parquet": _by_row(_read_parquet),
    "npy": _by_row(_read_npy),
    "csr": _read_csr,
    "series": _read_series,
}


def read_mapping(spec: FeatureSpec, mapping: str, required: Sequence[str] = ("user", "item", "label")) -> Columns:
    """The channels of one mapping: user and item int64 ids, label float32 (1 throughout where the mapping has none).

    Raises:
        ValueError: chunks of unequal length, or a value that is no id; names file, chunk, feature and value.
    """
    if mapping not in spec.mappings:
        raise ValueError(f"{spec.path}: mapping {mapping!r} is missing, known are: {', '.join(spec.mappings)}")
    columns: Columns = {}
    owner: dict[str, Chunk] = {}
    for chunk in spec.mappings[mapping]:
        for name, values in READERS[chunk.kind](chunk).items():
            columns[name], owner[name] = values, chunk
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise ValueError(f"{spec.path}: chunks of mapping {mapping!r} have unequal numbers of rows: {shown}")
    found: Columns = {}
    for role, name in spec.channels.items():
        if name not in columns:
            if role in required:
                raise ValueError(
                    f"{spec.path}: mapping {mapping!r} has no feature {name!r}, which {CHANNELS[role]} names"
                )
            found[role] = np.ones(next(iter(lengths.values())), np.float32)
        elif role == "label":
            found[role] = columns[name].astype(np.float32)
        else:
            found[role] = _ids(columns[name], name, owner[name], spec.cardinalities[name])
    return found


def _ids(values: npt.NDArray, name: str, chunk: Chunk, cardinality: int | None) -> npt.NDArray[np.int64]:
    def refuse(wrong: npt.NDArray[np.bool_], expected: str) -> None:
        if wrong.any():
            row = int(np.argmax(wrong))
            place = f"{', '.join(f.name for f in chunk.files)}, row {row + 1}"
            raise ValueError(f"{chunk.name}: {place}: feature {name!r} is {values[row]}, expected {expected}")

    if values.dtype.kind == "f":
        refuse(~(values == np.floor(values)), "a whole number")  # NaN is not equal to itself
    refuse(values < 0, "0 or more")
    refuse(values > LARGEST_ID, f"{LARGEST_ID} at most")
    if cardinality is not None:
        refuse(values >= cardinality, f"less than its cardinality, {cardinality}")
    return values.astype(np.int64)


def describe(split: Split) -> str:
    """The specification of a prepared data set, to be written into its folder."""
    users, items = split.train.n_users, split.train.n_items
    sources: dict[str, Any] = {
        "train": [{"type": "csr", "features": ["user", "item"], "files": ["train.indptr.npy", "train.indices.npy"]}]
    }
    metadata = {}
    for name, held_out in (("valid", split.valid), ("test", split.test)):
        if held_out.candidates is not None:
            files = [f"{name}.train_rows.npy", f"{name}.candidates.npy"]
            sources[name] = [{"type": "series", "features": ["user", "item", "label"], "files": files}]
            metadata[f"{name}_samples_per_series"] = int(held_out.candidates.shape[1])
    content = {
        "feature_spec": {
            "user": {"dtype": "int64", "cardinality": int(users)},
            "item": {"dtype": "int64", "cardinality": int(items)},
            "label": {"dtype": "float32"},
        },
        "source_spec": sources,
        "channel_spec": {channel: [role] for role, channel in CHANNELS.items()},
        "metadata": metadata,
    }
    return yaml.safe_dump(content, sort_keys=False)
