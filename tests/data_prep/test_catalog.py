"""The catalogue: its entries, an entry of one's own, and what is wrong with one; downloads from a real server."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import fields
from functools import partial
from pathlib import Path

import pytest

from data_prep.catalog import entries, entry_file
from data_prep.catalog.download import download, fetch
from data_prep.catalog.entry import PROTOCOLS, VALUES, Download, Entry
from data_prep.read.asked import Asked
from data_prep.read.schema import KINDS
from data_prep.split import rules
from docs import known_data_sets
from tests.conftest import ROOT, _environment

MINIMAL = "about: ours\nlicence: ours\nhow: ask us\nfiles: rows.csv\n"


@pytest.mark.parametrize(
    ("name", "files", "read"),
    [
        ("ml-1m", ["ratings.dat"], ("csv", "::", ("UserID", "MovieID", "Rating", "Timestamp"), "UserID", "MovieID", "Rating", "Timestamp")),  # noqa: E501
        ("ml-20m", ["ratings.csv"], ("csv", ",", (), "userId", "movieId", "rating", "timestamp")),
        ("msd", ["train_triplets.txt"], ("csv", "\t", ("user", "song", "plays"), "user", "song", "plays", "")),
        ("amazon-2014/Books", ["ratings_Books.csv"], ("csv", ",", ("user", "item", "rating", "timestamp"), "user", "item", "rating", "timestamp")),  # noqa: E501
        ("amazon-2018/Books", ["Books.csv"], ("csv", ",", ("item", "user", "rating", "timestamp"), "user", "item", "rating", "timestamp")),  # noqa: E501
        ("amazon-2023/Books", ["Books.csv", "Books.csv.gz"], ("csv", ",", (), "user_id", "parent_asin", "rating", "timestamp")),  # noqa: E501
        ("gowalla", ["train.txt", "test.txt"], ("lists", " ", (), "", "", "", "")),
        ("lastfm-2k", ["user_artists.dat"], ("csv", "\t", (), "userID", "artistID", "weight", "")),
        ("lastfm-360k", ["usersha1-artmbid-artname-plays.tsv"], ("csv", "\t", ("user", "artist_id", "artist", "plays"), "user", "artist", "plays", "")),  # noqa: E501
    ],
)  # fmt: skip
def test_how_the_files_are_read(name: str, files: list[str], read: tuple) -> None:
    entry = entries.load(name)
    assert [file for found in entry.files.values() for file in found] == files
    asked = entry.asked(["a", Path("b")])
    assert asked.raw == ("a", "b")
    kept = ("format", "delimiter", "header", "user", "item", "rating", "time")
    assert tuple(getattr(asked, field) for field in kept) == read


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("ml-20m", {"rows_read": 20_000_263, "events": 9_990_682, "users": 136_677, "items": 20_720, "train_users": 116_677, "train_items": 20_108}),  # noqa: E501
        ("msd", {"rows_read": 48_373_586, "events": 33_633_450, "users": 571_355, "items": 41_140}),
        ("gowalla", {"events": 1_027_370, "users": 29_858, "items": 40_981}),
        ("yelp2018", {"events": 1_561_406, "users": 31_668, "items": 38_048}),
        ("amazon-book", {"events": 2_984_108, "users": 52_643, "items": 91_599}),
        ("pinterest", {"events": 1_500_809, "users": 55_187, "items": 9_916}),
        ("lastfm-2k", {"rows_read": 92_834}),
        ("lastfm-360k", {"rows_read": 17_559_530}),
        ("amazon-2014/Books", {"rows_read": 22_507_155}),
        ("amazon-2018/Books", {"rows_read": 51_311_621}),
        ("amazon-2023/Books", {}),
    ],
)  # fmt: skip
def test_published_counts(name: str, counts: dict[str, int]) -> None:
    assert dict(entries.load(name).counts) == counts


def test_rules_of_a_publication() -> None:
    msd, gowalla, pinterest = map(entries.load, ("msd", "gowalla", "pinterest"))
    assert (msd.threshold, msd.min_user_items, msd.min_item_users, msd.held_out_users) == (0, 20, 200, 50_000)
    assert (gowalla.protocol, dict(gowalla.files)) == ("given", {"train": ("train.txt",), "test": ("test.txt",)})
    assert (pinterest.reader, pinterest.protocol, len(pinterest.downloads)) == ("he2017", "leave-one-out", 3)


def test_the_terms_are_those_of_the_readers() -> None:
    assert VALUES == KINDS
    assert set(entry_file.READ) == {f.name for f in fields(Asked)} - {"raw", "database", "sql"}
    assert set(rules.PROTOCOLS) <= set(PROTOCOLS)


def test_every_entry_says_where_it_is_from() -> None:
    for entry in entries.known().values():
        assert entry.downloads or entry.how, entry.name
        assert "{part}" not in str([entry.of_part(part) for part in entry.parts]), entry.name
        assert all("{part}" not in d.url for d in entry.downloads) or entry.parts, entry.name


def test_counts_that_differ_are_named() -> None:
    entry = Entry(name="x", about="", licence="", counts={"rows_read": 5, "users": 3, "items": 2})
    counts = {"rows_read": 4, "users": 2, "events": 9}
    assert entry.differences(counts, as_published=False) == ["x: 4 rows read, 5 expected"]
    assert entry.differences(counts, as_published=True) == [
        "x: 4 rows read, 5 expected",
        "x: 2 users, 3 expected",
    ]


def test_files_of_a_folder(tmp_path: Path) -> None:
    entry = entries.load("gowalla")
    with pytest.raises(
        ValueError, match=r"holds no train.txt \(train\), expected for gowalla; name its folder with --r"
    ):
        entry.files_in(tmp_path)
    (tmp_path / "gowalla").mkdir()
    for name in ("train.txt", "test.txt"):
        (tmp_path / "gowalla" / name).write_text("0 1\n")
    found = entry.files_in(tmp_path)
    assert found == {role: [tmp_path / "gowalla" / f"{role}.txt"] for role in ("train", "test")}
    for name in ("ratings_Books.csv", "ratings_Beauty.csv"):
        (tmp_path / name).write_text("")
    assert [p.name for p in entries.load("amazon-2014").files_in(tmp_path)["raw"]] == [
        "ratings_Beauty.csv",
        "ratings_Books.csv",
    ]
    assert [p.name for p in entries.load("amazon-2014/Beauty").files_in(tmp_path)["raw"]] == ["ratings_Beauty.csv"]


def test_an_entry_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "shop.yaml"
    file.write_text(known_data_sets.page().split("```yaml\n")[1].split("```")[0])
    entry = entries.load(file)
    assert (entry.name, entry.protocol, entry.files) == ("shop", "time", {"raw": ("orders-*.csv",)})
    assert entry.asked([tmp_path]) == Asked(
        raw=(str(tmp_path),),
        format="csv",
        delimiter=";",
        user="customer_email",
        item="sku",
        time="purchased_at",
        rating=None,
    )
    assert entries.is_known(str(file)) and entries.is_known("amazon-2023/Books") and not entries.is_known("csv")


READ_KNOWN = "format, delimiter, header, encoding, user, item, rating, time, event, event_weights, positive_events"
KNOWN = (
    "about, licence, page, how, download, files, reader, read, values, protocol, threshold, min_user_items, "
    "min_item_users, held_out_users, counts, counts_from, parts"
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (MINIMAL + "delimitr: ','", f": field 'delimitr' (value ',') is not known, known fields are: {KNOWN}"),
        (MINIMAL + "read: {colour: red}", f": field 'read.colour' (value 'red') is not known, known fields are: {READ_KNOWN}"),  # noqa: E501
        (MINIMAL + "threshold: high", ": field 'threshold' is 'high', expected a number"),
        (MINIMAL + "threshold: .nan", ": field 'threshold' is nan, expected a number"),
        (MINIMAL + "min_user_items: -1", ": field 'min_user_items' is -1, expected a whole number from 0"),
        (MINIMAL + "read: {format: xls}", ": field 'read.format' is 'xls', expected one of csv, json, lists, parquet, arrow"),  # noqa: E501
        (MINIMAL + "read: {delimiter: 7}", ": field 'read.delimiter' is 7, expected a text (in double quotes, as \"\\t\" for a tab)"),  # noqa: E501
        (MINIMAL + "read: {rating: no}", ": field 'read.rating' is False, expected a text"),
        (MINIMAL + "read: {event: e, event_weights: [view]}", ": field 'read.event_weights' is ['view'], expected names of events with their weights, as {view: 1, buy: 5}"),  # noqa: E501
        (MINIMAL + "protocol: random", ": field 'protocol' is 'random', expected one of default, users, liang2018, leave-one-out, time, per-user, given"),  # noqa: E501
        (MINIMAL + "protocol: given", ": field 'files' is ['raw'], expected train and test (and valid), or another protocol"),  # noqa: E501
        (MINIMAL.replace("rows.csv", "{train: a, test: b}"), ": field 'protocol' is 'default', expected given, since files has train"),  # noqa: E501
        (MINIMAL.replace("rows.csv", "{train: a}"), ": field 'files' is {'train': 'a'}, expected files to be divided, or train and test (and valid) of a split that was published"),  # noqa: E501
        (MINIMAL + "counts: {lines: 5}\ncounts_from: x", ": field 'counts.lines' (value '5') is not known, known fields are: rows_read, events, users, items, train_users, train_items, train_events, held_out_users, validation_users"),  # noqa: E501
        (MINIMAL + "counts: {users: 5}", ": no field 'counts_from', expected the publication of the counts"),
        (MINIMAL + "download: ftp://a/b", ": field 'download.url' is 'ftp://a/b', expected the address of a file, beginning with http:// or https://"),  # noqa: E501
        (MINIMAL + "download: {md5: 0123}", ": field 'download.md5' is 83, expected an MD5 digest of 32 hexadecimal digits (in quotes if it is digits only)"),  # noqa: E501
        (MINIMAL + "parts: {A: , B: }", ": field 'files' is ['rows.csv'], expected {part} in every name and address, since the entry has parts"),  # noqa: E501
        (MINIMAL + "about: again", ", line 5: no valid YAML ('about' is there twice), expected FIELD: VALUE"),
        ("about: ours\nlicence: ours\n", f": no field 'files', expected about, licence, files; known fields are: {KNOWN}"),  # noqa: E501
        ("about: a\nlicence: b\nfiles: c\n", ": no field 'download' and no field 'how', expected one: how the files are obtained"),  # noqa: E501
        ("- a\n", f": holds ['a'], expected fields with values; known fields are: {KNOWN}"),
        ("", f": holds None, expected fields with values; known fields are: {KNOWN}"),
        ("about: {{ x }}", ", line 1: no valid YAML (the name of a field is no text; put texts with braces or brackets in quotes), expected FIELD: VALUE"),  # noqa: E501
        ("? [a]\n: 1", ", line 1: no valid YAML (the name of a field is no text; put texts with braces or brackets in quotes), expected FIELD: VALUE"),  # noqa: E501
        ("about: [a", ", line 2: no valid YAML (did not find expected ',' or ']'), expected FIELD: VALUE"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_file(text: str, expected: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(ValueError) as refused:
        entries.load(file)
    assert str(refused.value) == f"{file}{expected}"


def test_names_that_are_not_known(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"unknown data set 'gowala' \(is 'gowalla' meant\?\), known are: table, .*amazon-book, .*YAML"
    ):
        entries.load("gowala")
    with pytest.raises(ValueError, match="amazon-2014 has no part 'Boks', known are: Amazon_Instant_Video, .*"):
        entries.load("amazon-2014/Boks")
    with pytest.raises(ValueError, match="gowalla has no parts, 'Books' was asked for; write gowalla"):
        entries.load("gowalla/Books")
    with pytest.raises(ValueError, match="x.yaml does not exist, expected a YAML file that describes a data set"):
        entries.load(tmp_path / "x.yaml")
    (tmp_path / "x.yaml").write_bytes(b"about: \xff\xfe")
    with pytest.raises(ValueError, match="x.yaml cannot be read: it is no UTF-8 text"):
        entries.load(tmp_path / "x.yaml")


def test_the_catalogue_imports_no_library_of_numbers() -> None:
    code = (
        "import sys, data_prep.catalog.entries as e; e.known(); print(sorted(set(sys.modules) & {'numpy', 'pyarrow'}))"
    )
    line = [sys.executable, "-c", code]
    done = subprocess.run(line, cwd=ROOT, env=_environment(None), capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_page_is_what_the_catalogue_says() -> None:
    """Written again by: python -m docs.known_data_sets."""
    assert known_data_sets.PAGE.read_text() == known_data_sets.page()


class _Server(http.server.BaseHTTPRequestHandler):
    """Serves files from memory, with ranges and versions; cuts the next answers where it is told to."""

    files: dict[str, bytes] = {}
    cuts: list[int] = []
    asked: list[tuple[str, str, str]] = []
    chunked = False

    def do_HEAD(self) -> None:
        self._answer(head=True)

    def do_GET(self) -> None:
        self._answer(head=False)

    def _answer(self, head: bool) -> None:
        body = self.files.get(self.path)
        self.asked.append((self.command, self.path, self.headers.get("Range", "")))
        if body is None:
            self.send_error(404)
            return
        tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        start = int(self.headers.get("Range", "bytes=0-")[6:-1])
        if self.headers.get("If-Range", tag) != tag:
            start = 0
        self.send_response(206 if start else 200)
        self.send_header("ETag", tag)
        if self.chunked and not head:
            self._send_chunked()
            return
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        if not head:
            cut = self.cuts.pop(0) if self.cuts else None
            self.wfile.write(body[start:][:cut])

    def _send_chunked(self) -> None:
        """A chunk that ends too early."""
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"40\r\nonly this")

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def server() -> Iterator[str]:
    _Server.files, _Server.cuts, _Server.asked, _Server.chunked = {}, [], [], False
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Server)) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()


def _entry(name: str, *urls: str) -> Entry:
    return Entry(name=name, about="rows", licence="ours", downloads=tuple(Download(url=url) for url in urls))


def test_several_files_of_a_data_set(server: str, tmp_path: Path) -> None:
    """Two data sets whose files have the same names lie in two folders; complete files are not fetched again."""
    for name in ("gowalla", "yelp2018"):
        for part in ("train", "test"):
            _Server.files[f"/{name}/{part}.txt"] = f"0 {len(name)}\n".encode() * (5 if part == "train" else 1)
    for name in ("gowalla", "yelp2018"):
        entry = _entry(name, *(f"{server}/{name}/{part}.txt" for part in ("train", "test")))
        assert fetch(entry, tmp_path) == tmp_path / f"{name}.raw"
    found = {str(p.relative_to(tmp_path)): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert found == {f"{name.split('/')[1]}.raw/{name.split('/')[2]}": body for name, body in _Server.files.items()}
    _Server.asked.clear()
    fetch(_entry("gowalla", f"{server}/gowalla/train.txt", f"{server}/gowalla/test.txt"), tmp_path)
    assert [path for command, path, _ in _Server.asked if command == "GET"] == [
        "/gowalla/train.txt.md5",
        "/gowalla/test.txt.md5",
    ]


def test_where_one_file_lies(server: str, tmp_path: Path) -> None:
    _Server.files = {"/a/ml-9.zip": b"PK\x05\x06" + bytes(18), "/b/Books.csv": b"x,y,5,1\n"}
    assert fetch(_entry("ml-9", f"{server}/a/ml-9.zip"), tmp_path) == tmp_path / "ml-9.zip"
    expected = tmp_path / "amazon-2018-Books.raw" / "Books.csv"
    assert fetch(_entry("amazon-2018/Books", f"{server}/b/Books.csv"), tmp_path) == expected


def test_a_gzip_file_that_was_cut_goes_on(server: str, tmp_path: Path) -> None:
    body = gzip.compress(bytes(range(256)) * 4000 + hashlib.sha512(b"a").digest() * 900, mtime=0)
    _Server.files, _Server.cuts = {"/Books.csv.gz": body}, [1000, 500]
    target = tmp_path / "Books.csv.gz"
    for kept in (1000, 1500):
        with pytest.raises(ValueError, match=rf"cannot download .* {kept} bytes are kept, run again to go on"):
            download(f"{server}/Books.csv.gz", target, None)
    download(f"{server}/Books.csv.gz", target, None)
    assert target.read_bytes() == body
    assert [r for _, path, r in _Server.asked if path == "/Books.csv.gz"] == ["", "bytes=1000-", "bytes=1500-"]
    assert [p.name for p in tmp_path.iterdir()] == ["Books.csv.gz"]


def test_a_file_that_changed_on_the_server_is_fetched_anew(server: str, tmp_path: Path) -> None:
    """Not the beginning of the old one with the end of the new one."""
    _Server.files, _Server.cuts = {"/rows.csv": b"1,1\n" * 500}, [800]
    with pytest.raises(ValueError, match="800 bytes are kept"):
        download(f"{server}/rows.csv", tmp_path / "rows.csv", None)
    _Server.files = {"/rows.csv": b"2,2\n" * 600}
    download(f"{server}/rows.csv", tmp_path / "rows.csv", None)
    assert (tmp_path / "rows.csv").read_bytes() == b"2,2\n" * 600


@pytest.mark.parametrize(
    ("name", "body", "expected"),
    [
        (
            "rows.csv.gz",
            gzip.compress(b"1,2\n" * 99, mtime=0)[:-9],
            r"no whole gzip file \(Compressed file ended before",
        ),
        ("rows.csv.gz", b"1,2\n", r"no whole gzip file \(Not a gzipped file"),
        ("rows.zip", b"PK\x03\x04 and no end", "no whole zip archive"),
        ("rows.csv", b"\n<!DOCTYPE html><html>log in</html>", "sent a web page instead of the file"),
        ("rows.csv", b"", "sent an empty file"),
    ],
)
def test_a_damaged_file_without_a_digest_is_refused(
    name: str, body: bytes, expected: str, server: str, tmp_path: Path
) -> None:
    _Server.files = {f"/{name}": body}
    with pytest.raises(ValueError, match=rf"{name}: .*{expected}.*the file was removed, run again or fetch it by hand"):
        download(f"{server}/{name}", tmp_path / name, None)
    assert not list(tmp_path.iterdir())


def test_a_chunk_that_ends_early_is_one_line(server: str, tmp_path: Path) -> None:
    _Server.files, _Server.chunked = {"/rows.csv": b"1,2\n"}, True
    with pytest.raises(ValueError, match=r"cannot download http://.*/rows.csv \(IncompleteRead"):
        download(f"{server}/rows.csv", tmp_path / "rows.csv", "0" * 32)


def test_what_cannot_be_downloaded(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="netflix cannot be downloaded: 100,480,507 ratings, .*name it with --raw"):
        fetch(entries.load("netflix"), tmp_path)
    with pytest.raises(
        ValueError, match="amazon-2018 is downloaded by part: name one, as amazon-2018/AMAZON_FASHION; kn"
    ):
        fetch(entries.load("amazon-2018"), tmp_path)
