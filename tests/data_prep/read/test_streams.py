"""Compressed files and archives: the same rows as of the plain file, and one line where they are damaged."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from .reading import opened, read

LINES = [f"u{k % 97},i{k % 31},{k % 5 + 1}\n" for k in range(20_000)]
CONTENT = ("user,item,rating\n" + "".join(LINES)).encode()
ROWS = [(f"u{k % 97}", f"i{k % 31}", float(k % 5 + 1)) for k in range(20_000)]


def with_arrow(codec: str, content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, codec) as stream:
        stream.write(content)
    return sink.getvalue().to_pybytes()


def zipped(members: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return target.getvalue()


def tarred(members: dict[str, bytes], mode: str = "w") -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return target.getvalue()


_CUT = CONTENT.index(b"\n", len(CONTENT) // 2) + 1
HALVES = {
    "d/part-0.csv": CONTENT[:_CUT],
    "d/part-1.csv": b"user,item,rating\n" + CONTENT[_CUT:],
    "d/_SUCCESS": b"",
    "d/README.txt": b"Thank you for downloading",
    "__MACOSX/d/._part-0.csv": b"\x00\x05",
}
PACKED = {
    "r.csv.gz": gzip.compress(CONTENT),
    "r.csv.bz2": bz2.compress(CONTENT),
    "r.csv.zst": with_arrow("zstd", CONTENT),
    "r.csv.lz4": with_arrow("lz4", CONTENT),
    "r.csv.xz": lzma.compress(CONTENT),
    "named-wrongly.csv": gzip.compress(CONTENT),
    "of two members.gz": gzip.compress(CONTENT[:1000]) + gzip.compress(CONTENT[1000:]),
    "of two frames.zst": with_arrow("zstd", CONTENT[:1000]) + with_arrow("zstd", CONTENT[1000:]),
    "of two streams.bz2": bz2.compress(CONTENT[:1000]) + bz2.compress(CONTENT[1000:]),
    "one.zip": zipped({"r.csv": CONTENT}),
    "two.zip": zipped(HALVES),
    "with gz inside.zip": zipped({"r.csv.gz": gzip.compress(CONTENT)}),
    "two.tar": tarred(HALVES),
    "two.tar.gz": tarred(HALVES, "w:gz"),
    "two.tar.bz2": tarred(HALVES, "w:bz2"),
    "two.tar.xz": tarred(HALVES, "w:xz"),
    "two.tar.zst": with_arrow("zstd", tarred(HALVES)),
    "named-wrongly": tarred(HALVES, "w:gz"),
}


@pytest.mark.parametrize("ranks", [1, 3])
@pytest.mark.parametrize("name", PACKED)
def test_compressed_files_hold_the_same_rows(name: str, ranks: int, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(PACKED[name])
    assert read(tmp_path / name, ranks=ranks) == ROWS


def test_a_folder_of_compressed_parts(tmp_path: Path) -> None:
    (tmp_path / "part-0.csv.gz").write_bytes(gzip.compress(HALVES["d/part-0.csv"]))
    (tmp_path / "part-1.csv.zst").write_bytes(with_arrow("zstd", HALVES["d/part-1.csv"]))
    (tmp_path / ".part-1.csv.crc").write_bytes(b"crc")
    for ranks in (1, 2, 5):
        assert read(tmp_path, ranks=ranks) == ROWS


def test_a_tar_is_read_once_from_its_start_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each member is not looked for from the start again."""
    members = {f"{k:03}.csv": f"user,item\n{k},1\n".encode() for k in range(50)}
    (tmp_path / "r.tar.gz").write_bytes(tarred(members, "w:gz"))
    source = opened(tmp_path / "r.tar.gz")
    opens, original = [], tarfile.open

    def counted(*words: Any, **named: Any) -> Any:
        opens.append(1)
        return original(*words, **named)

    monkeypatch.setattr(tarfile, "open", counted)
    assert sum(source.read(0, 1, lambda rows: rows.count)) == 50
    assert len(opens) == 1


@pytest.mark.parametrize(
    ("name", "kind"), [("r.csv.gz", "gzip"), ("r.csv.bz2", "bz2"), ("r.csv.zst", "zstd"), ("r.csv.xz", "xz")]
)
def test_a_file_that_ends_in_the_middle(name: str, kind: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(PACKED[name][: len(PACKED[name]) // 2])
    with pytest.raises(
        ValueError, match=rf"{name} ends in the middle of its {kind} data, so rows are missing; copy"
    ) as e:
        read(path)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("name", ["r.csv.gz", "r.csv.bz2", "r.csv.zst", "one.zip", "two.tar.gz"])
def test_a_damaged_file(name: str, tmp_path: Path) -> None:
    content = bytearray(PACKED[name])
    content[len(content) // 2 : len(content) // 2 + 40] = b"\x55" * 40
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"^\S*{name}\b.*") as error:
        read(tmp_path / name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["one.zip", "two.tar", "two.tar.gz"])
def test_an_archive_that_is_cut(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(PACKED[name][: len(PACKED[name]) * 2 // 3])
    with pytest.raises(ValueError, match=rf"^\S*{name}\b"):
        read(tmp_path / name)


def test_other_archives(tmp_path: Path) -> None:
    (tmp_path / "table.xlsx").write_bytes(zipped({"[Content_Types].xml": b"<x/>", "xl/workbook.xml": b"<x/>"}))
    with pytest.raises(ValueError, match=r"table\.xlsx is an Office document, expected text or Parquet; save"):
        read(tmp_path / "table.xlsx")
    (tmp_path / "empty.zip").write_bytes(zipped({"README.txt": b"nothing"}))
    with pytest.raises(ValueError, match=r"empty\.zip holds no files to read"):
        read(tmp_path / "empty.zip")
    (tmp_path / "two.zip").write_bytes(zipped({"a.csv": b"user,item\n1,2\n", "titles.csv": b"item,title\n1,x\n"}))
    with pytest.raises(ValueError, match=r"two\.zip: titles\.csv has no column 'user', which the first file has"):
        read(tmp_path / "two.zip")


def test_the_line_of_an_error_in_a_compressed_file(tmp_path: Path) -> None:
    content = CONTENT + b"u,i\n"
    (tmp_path / "r.csv.gz").write_bytes(gzip.compress(content))
    with pytest.raises(ValueError, match=r"r\.csv\.gz, line 20002: 2 columns instead of 3"):
        read(tmp_path / "r.csv.gz")
    (tmp_path / "r.zip").write_bytes(zipped({"r.csv": content}))
    with pytest.raises(ValueError, match=r"r\.zip: r\.csv, line 20002: 2 columns instead of 3"):
        read(tmp_path / "r.zip")


def test_archives_without_files_and_with_damaged_members(tmp_path: Path) -> None:
    (tmp_path / "empty.zip").write_bytes(b"PK\x05\x06" + bytes(18))
    with pytest.raises(ValueError, match=r"empty\.zip holds no files to read"):
        read(tmp_path / "empty.zip")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("a.csv", CONTENT)
    damaged = bytearray(packed.getvalue())
    damaged[3000:3020] = bytes(20)
    (tmp_path / "damaged.zip").write_bytes(damaged)
    with pytest.raises(ValueError, match=r"damaged\.zip: a\.csv is damaged zip data \(.*\), so rows are missing; copy"):
        read(tmp_path / "damaged.zip")
