"""Addresses: a real web server, a real server of S3's interface, packages that are missing, no secret in messages."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_prep.read import addresses

from .reading import opened, read, rows_of
from .servers import PASSWORD, TOKEN, web_server

COUNT = 3_000
ROWS = [(f"u{k % 83}", k % 41, float(k % 5 + 1)) for k in range(COUNT)]
CONTENT = ("user,item,rating\n" + "".join(f"{u},{i},{r}\n" for u, i, r in ROWS)).encode()
KEY, BUCKET = "AKIA-of-a-test", "ratings"


def parquet(first: int = 0, last: int = COUNT) -> bytes:
    users, items, ratings = (list(column) for column in zip(*ROWS[first:last], strict=True))
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"user": users, "item": items, "rating": ratings}), sink, row_group_size=300)
    return sink.getvalue().to_pybytes()


FILES = {"r.csv": CONTENT, "r.csv.gz": gzip.compress(CONTENT), "r.parquet": parquet(), "locked/r.csv": CONTENT}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    return tmp_path


@pytest.mark.parametrize("with_parts", [False, True])
@pytest.mark.parametrize("name", ["r.csv", "r.csv.gz", "r.parquet"])
def test_a_web_server(name: str, with_parts: bool, folder: Path) -> None:
    pytest.importorskip("fsspec", reason="fsspec is not installed (extra addresses)")
    with web_server(folder, with_parts) as address:
        source = opened(f"{address}/{name}")
        assert list(source.files) == [f"{address}/{name}"]
        assert rows_of(source) == ROWS
        assert rows_of(source, ranks=2) == ROWS
        assert source.digest() == opened(folder / name).digest()
        assert source.stamp() == opened(f"{address}/{name}").stamp()


def test_two_files_of_a_web_server(folder: Path) -> None:
    pytest.importorskip("fsspec", reason="fsspec is not installed (extra addresses)")
    (folder / "s.csv").write_text("user,item,rating\nx,1,2\n")
    with web_server(folder) as address:
        assert read(f"{address}/r.csv", f"{address}/s.csv", ranks=2) == [*ROWS, ("x", 1, 2.0)]


def test_no_secret_is_shown(folder: Path) -> None:
    pytest.importorskip("fsspec", reason="fsspec is not installed (extra addresses)")
    with web_server(folder) as address:
        with_password = address.replace("http://", f"http://ann:{PASSWORD}@") + "/locked/r.csv"
        signed = f"{address}/locked/r.csv?signature={TOKEN}"
        for one in (with_password, signed):
            source = opened(one)
            assert list(source.files) == [f"{address}/locked/r.csv"]
            assert rows_of(source) == ROWS
        for wrong in (with_password.replace(PASSWORD, "Wr0ng-Word"), signed.replace(TOKEN, "Wr0ng-Word"),
                      with_password.replace("/locked/r.csv", "/nowhere-Wr0ng.csv"), f"{address}/broken/x?k=Wr0ng-Word",
                      f"http://ann:Wr0ng-Word@127.0.0.1:9/r.csv?k={TOKEN}"):  # fmt: skip
            with pytest.raises(ValueError, match=r"^http://127\.0\.0\.1:\d+/\S+ (cannot be read|does not exist)") as e:
                opened(wrong)
            text = str(e.value)
            assert "Wr0ng-Word" not in text
            assert PASSWORD not in text
            assert TOKEN not in text
            assert "\n" not in text


def test_what_a_web_server_answers_is_said(folder: Path) -> None:
    pytest.importorskip("fsspec", reason="fsspec is not installed (extra addresses)")
    with web_server(folder) as address:
        with pytest.raises(ValueError, match=r"/locked/r\.csv cannot be read: the server answered with status 403"):
            opened(f"{address}/locked/r.csv")
        with pytest.raises(ValueError, match=r"/nowhere\.csv does not exist"):
            opened(f"{address}/nowhere.csv")


@pytest.mark.parametrize(
    ("missing", "address", "message"),
    [("fsspec", "s3://k:pw-of-me@bucket/r.csv?x=pw-of-me", r"^s3://bucket/r\.csv needs fsspec and s3fs, not installed "
      r"here: pip install fsspec s3fs$"), ("gcsfs", "gs://bucket/r.csv", r"^gs://bucket/r\.csv needs gcsfs, not "
      r"installed here: pip install gcsfs$"), ("adlfs", "abfs://box/r.csv", r"needs adlfs, not installed here"),
     ("nothing", "nfs4://host/r.csv", r"^nfs4://host/r\.csv: nfs4:// is not known, known are: abfs, ")],
)  # fmt: skip
def test_a_package_that_is_missing(missing: str, address: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if missing != "fsspec":
        pytest.importorskip("fsspec", reason="fsspec is not installed (extra addresses)")
    monkeypatch.setitem(sys.modules, missing, None)  # as if it were not installed
    with pytest.raises(ValueError, match=message):
        opened(address)


@pytest.mark.parametrize(
    ("address", "shown"),
    [("s3://bucket/a/b.csv", "s3://bucket/a/b.csv"), ("https://u:p@h/x.csv?sig=1#f", "https://h/x.csv"),
     ("https://h/a@b.csv", "https://h/a@b.csv"), ("ftp://u:p%40@h:21/x", "ftp://h:21/x")],
)  # fmt: skip
def test_addresses_without_secrets(address: str, shown: str) -> None:
    assert addresses.shown(address) == shown


@pytest.fixture(scope="module")
def bucket() -> Iterator[Any]:
    """A bucket of a real server of S3's interface on this machine."""
    pytest.importorskip("s3fs", reason="s3fs is not installed (extra addresses)")
    server_of = pytest.importorskip("moto.server", reason="moto is not installed (extra dev)")
    server = server_of.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    patch = pytest.MonkeyPatch()
    patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    patch.setenv("AWS_ACCESS_KEY_ID", KEY)
    patch.setenv("AWS_SECRET_ACCESS_KEY", PASSWORD)
    patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    system = s3fs.S3FileSystem()
    system.mkdir(BUCKET)
    half = CONTENT.index(b"\n", len(CONTENT) // 2) + 1
    files = {
        **FILES,
        "parts/part-0.csv": CONTENT[:half],
        "parts/part-1.csv": b"user,item,rating\n" + CONTENT[half:],
        "parts/_SUCCESS": b"",
        "hive/year=1/a.parquet": parquet(0, 1000),
        "hive/year=2/a.parquet": parquet(1000),
    }
    for name, content in files.items():
        system.pipe_file(f"{BUCKET}/{name}", content)
    yield system
    server.stop()
    patch.undo()
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.mark.parametrize("ranks", [1, 3])
@pytest.mark.parametrize("name", ["r.csv", "r.csv.gz", "r.parquet", "parts", "parts/*.csv", "hive", "hive/year=*"])
def test_a_bucket(name: str, ranks: int, bucket: Any) -> None:
    assert read(f"s3://{BUCKET}/{name}", ranks=ranks) == ROWS


def test_the_identity_of_a_file_in_a_bucket(bucket: Any, folder: Path) -> None:
    source = opened(f"s3://{BUCKET}/r.csv")
    assert source.digest() == opened(folder / "r.csv").digest()
    before = source.stamp()
    assert opened(f"s3://{BUCKET}/r.csv").stamp() == before
    bucket.pipe_file(f"{BUCKET}/changed.csv", CONTENT)
    first = opened(f"s3://{BUCKET}/changed.csv").stamp()
    bucket.pipe_file(f"{BUCKET}/changed.csv", CONTENT.replace(b"u1", b"v1"))
    assert opened(f"s3://{BUCKET}/changed.csv").stamp() != first
    assert opened(f"s3://{BUCKET}/hive", user="year").files[0] == f"s3://{BUCKET}/hive/year=1/a.parquet"


@pytest.mark.parametrize(
    ("name", "message"),
    [("nowhere.csv", r"s3://ratings/nowhere\.csv does not exist"), ("none/*.csv", "holds no files"),
     ("../other/x.csv", "cannot be read|does not exist")],
)  # fmt: skip
def test_what_is_not_in_a_bucket(name: str, message: str, bucket: Any) -> None:
    with pytest.raises(ValueError, match=message) as error:
        opened(f"s3://{BUCKET}/{name}")
    assert PASSWORD not in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("scheme", ["ftp", "sftp", "smb"])
def test_servers_that_are_not_read(scheme: str) -> None:
    with pytest.raises(
        ValueError, match=f"{scheme}://host/a.csv: {scheme}:// is not read; copy the file here and name"
    ):
        opened(f"{scheme}://me:secret@host/a.csv")
