"""Feature specifications: each error is one line that says what, where and what was expected."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from .specifications import CSV_CONVERSION, MISSING, NAMES, TEST, TRAIN, VALID, Rows, changed, chunk, csv_text, write

UNKNOWN = "known are: user, item, label"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        *(
            ((section, gone), f"section {section!r} is missing or empty, expected names and values")
            for section in ("feature_spec", "source_spec", "channel_spec")
            for gone in (MISSING, {}, ["user"])
        ),
        (("metadata", MISSING), "metadata has no test_samples_per_series, the rows of one list of candidates"),
        (("metadata", {}), "metadata has no test_samples_per_series"),
        (("metadata.test_samples_per_series", "3"), "test_samples_per_series is '3', expected a whole number from 2"),
        (("metadata.test_samples_per_series", 1), "test_samples_per_series is 1, expected a whole number from 2"),
        (("source_spec.train", MISSING), "mapping 'train' is missing, known are: test"),
        (("source_spec.test", MISSING), "mapping 'test' is missing, known are: train"),
        (("source_spec.train", []), "mapping 'train' is [], expected a list of chunks"),
        (("source_spec.train.0", "train.csv"), "mapping 'train', chunk 0: expected type, features and files"),
        *(
            ((f"source_spec.test.0.{key}", MISSING), "mapping 'test', chunk 0: expected type, features and files")
            for key in ("type", "features", "files")
        ),
        (("source_spec.train.0.type", "hdf"), "mapping 'train', chunk 0: unknown type 'hdf', known are: csv, parquet"),
        (
            ("source_spec.train.0.type", "torch_tensor"),
            "unknown type 'torch_tensor' (a pickle, which can run code when it is read: save the tensors as npy)",
        ),
        (
            ("source_spec.train.0.features", ["user", "itme", "label"]),
            f"mapping 'train', chunk 0: unknown feature 'itme', {UNKNOWN}",
        ),
        (
            ("source_spec.train", [chunk("train.csv"), chunk("train.csv", features=["item"])]),
            "mapping 'train' has feature 'item' in two chunks",
        ),
        (("source_spec.train.0.features", ["user", "item", "item"]), "mapping 'train' has feature 'item' in two"),
        (("source_spec.test.0.files", ["test.csv", "none.csv"]), "mapping 'test', chunk 0: "),
        (("source_spec.test.0.files", ["test.csv", "none.csv"]), "none.csv does not exist"),
        *(
            ((f"channel_spec.{channel}", MISSING), f"channel {channel!r} is None, expected a list of one feature")
            for channel in ("user_ch", "item_ch", "label_ch")
        ),
        (("channel_spec.user_ch", "user"), "channel 'user_ch' is 'user', expected a list of one feature"),
        (("channel_spec.user_ch", ["user", "item"]), "channel 'user_ch' is ['user', 'item'], expected a list of one"),
        (("channel_spec.label_ch", ["rating"]), f"channel 'label_ch' names feature 'rating', {UNKNOWN}"),
        (("feature_spec.item.cardinality", 0), "feature 'item' has cardinality 0, expected a whole number from 1 or"),
        (("feature_spec.item.cardinality", "many"), "feature 'item' has cardinality 'many', expected a whole number"),
        (("feature_spec.item.cardinality", True), "feature 'item' has cardinality True"),
        (("metadata.test_samples_per_series", 4), "9 rows do not divide into lists of test_samples_per_series = 4"),
    ],
)  # fmt: skip
def test_a_broken_specification(edit: tuple[str, Any], message: str, refuse: Any, tmp_path: Path) -> None:
    assert message in refuse("transcode", "--raw", write(tmp_path / "raw", changed(edit)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "feature_spec.yaml holds NoneType, expected the sections"),
        ("- a\n- b\n", "feature_spec.yaml holds list, expected the sections"),
        ("a: [1\n", "feature_spec.yaml is not YAML: "),
        ("a: !!python/object/apply:os.system [exit]\n", "feature_spec.yaml is not YAML: could not determine"),
    ],
)
def test_no_specification(text: str, message: str, refuse: Any, tmp_path: Path) -> None:
    assert message in refuse("transcode", "--raw", write(tmp_path / "raw", text))


def test_a_missing_specification(refuse: Any, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "feature_spec.yaml does not exist" in refuse("transcode", "--raw", tmp_path / "empty")


@pytest.mark.parametrize(
    ("file", "rows", "message"),
    [
        ("train", [*TRAIN, (0, 50, 1)], "row 9: feature 'item' is 50, expected less than its cardinality, 50"),
        ("test", [*TEST[:8], (2, 99, 0)], "test.csv, row 9: feature 'item' is 99, expected less than its cardinality"),
        ("train", [*TRAIN, (20, 1, 1)], "row 9: feature 'user' is 20, expected less than its cardinality, 20"),
        ("train", [(0, -1, 1), *TRAIN], "train.csv, row 1: feature 'item' is -1, expected 0 or more"),
        ("train", [*TRAIN, (-3, 1, 1)], "train.csv, row 9: feature 'user' is -3, expected 0 or more"),
        ("train", [*TRAIN, (0, 1.5, 1)], "train.csv, row 9: feature 'item' is 1.5, expected a whole number"),
        ("train", "0,1,1\n0,x,1\n", "train.csv, row 2: feature 'item' is 'x', expected a number"),
        ("train", "user,item,label\n" + csv_text(TRAIN), "row 1: feature 'user' is 'user', expected a number"),
        ("train", "0,1,1\n0,,1\n", "train.csv, row 2: feature 'item' is empty"),
        ("train", "0,1,yes\n0,2,1\n", "train.csv, row 1: feature 'label' is 'yes', expected a number"),
        ("train", "0,1,1\n0,2\n", "train.csv: CSV parse error: Row #2: Expected 3 columns, got 2"),
        ("train", "0,1\n0,2\n", "expected user, item, label"),
        ("train", "", "train.csv: Empty CSV file"),
        ("train", [(u, i, 0) for u, i, _ in TRAIN], "mapping 'train': no row has a positive label"),
        ("train", [row for row in TRAIN if row[0] != 2], "mapping 'test': user 2 has no training row with a positive"),
        (
            "train",
            [row if row[0] != 2 else (*row[:2], 0) for row in TRAIN],
            "mapping 'test': user 2 has no training row with a positive label (1 such lists); a model knows",
        ),
        ("test", TEST[:8], "mapping 'test': 8 rows do not divide into lists of test_samples_per_series = 3"),
        ("test", [(0, 5, 1), (1, 4, 0), (0, 8, 0)], "mapping 'test': list 0 (rows 1 to 3) has more than one user"),
        ("test", TEST[1:4] + TEST[:6], "mapping 'test': list 0 (rows 1 to 3) has more than one user"),
        (
            "test",
            [*TEST[:6], (2, 1, 0), (2, 3, 0), (2, 2, 0)],
            "mapping 'test': list 2 of user 2 (rows 7 to 9) has 0 rows with label 1, expected one",
        ),
        (
            "test",
            [*TEST[:3], (0, 5, 1), (0, 4, 0), (0, 8, 1)],
            "mapping 'test': list 1 of user 0 (rows 4 to 6) has 2 rows with label 1, expected one",
        ),
    ],
)  # fmt: skip
def test_broken_values(file: str, rows: Rows | str, message: str, refuse: Any, tmp_path: Path) -> None:
    edits = (("feature_spec.user.cardinality", 20), ("feature_spec.item.cardinality", 50))
    found = refuse("transcode", "--raw", write(tmp_path / "raw", changed(*edits), {f"{file}.csv": rows}))
    assert message in found
    assert f"feature_spec.yaml, mapping {file!r}" in found or message.startswith("mapping 'test': user")


def test_a_value_is_named_with_its_chunk(refuse: Any, tmp_path: Path) -> None:
    chunks = [chunk("pairs.csv", features=["user", "item"]), chunk("label.csv", features=["label"])]
    files = {"pairs.csv": [row[:2] for row in TRAIN], "label.csv": "1\n1\n1\n1\n1\nx\n1\n1\n"}
    raw = write(tmp_path / "raw", changed(("source_spec.train", chunks)), files)
    message = refuse("transcode", "--raw", raw)
    assert f"{raw}, mapping 'train', chunk 1: {raw.parent / 'label.csv'}, row 6: feature 'label' is 'x'" in message


def test_chunks_of_unequal_length(refuse: Any, tmp_path: Path) -> None:
    chunks = [chunk("train.csv", features=NAMES[:2]), chunk("label.csv", features=["label"])]
    files = {"train.csv": [row[:2] for row in TRAIN], "label.csv": "1\n1\n1\n"}
    message = refuse("transcode", "--raw", write(tmp_path / "raw", changed(("source_spec.train", chunks)), files))
    assert "chunks of mapping 'train' have unequal numbers of rows: user 8, item 8, label 3" in message


def test_train_needs_users_and_items(refuse: Any, tmp_path: Path) -> None:
    edit = ("source_spec.train", [chunk("pairs.csv", features=["user", "label"])])
    raw = write(tmp_path / "raw", changed(edit), {"pairs.csv": [(0, 1), (1, 1)]})
    assert "mapping 'train' has no feature 'item', which item_ch names" in refuse("transcode", "--raw", raw)


def test_the_test_needs_labels(refuse: Any, tmp_path: Path) -> None:
    edit = ("source_spec.test", [chunk("pairs.csv", features=["user", "item"])])
    raw = write(tmp_path / "raw", changed(edit), {"pairs.csv": [row[:2] for row in TEST]})
    assert "mapping 'test' has no feature 'label', which label_ch names" in refuse("transcode", "--raw", raw)


def test_validation_users_need_training_rows(refuse: Any, tmp_path: Path) -> None:
    content = changed(("source_spec.valid", [chunk("valid.csv")]))
    raw = write(tmp_path / "raw", content, {"valid.csv": [(4, 1, 1), (4, 2, 0), (4, 3, 0)]})
    assert "mapping 'valid': user 4 has no training row with a positive label" in refuse("transcode", "--raw", raw)
    write(tmp_path / "raw", content, {"valid.csv": VALID[:5]})
    assert "mapping 'valid': 5 rows do not divide into lists" in refuse("transcode", "--raw", raw)


def test_broken_parquet_and_npy_files(refuse: Any, tmp_path: Path) -> None:
    def refused(kind: str, file: str, features: Sequence[str] = NAMES) -> str:
        edit = ("source_spec.train", [chunk(file, kind=kind, features=features)])
        return refuse("transcode", "--raw", write(tmp_path / "raw", changed(edit)))

    write(tmp_path / "raw", files={"bad.parquet": b"PAR1 no", "bad.npy": b"no"})
    assert "bad.parquet is not a readable Parquet file" in refused("parquet", "bad.parquet")
    assert "bad.npy is not a readable npy file" in refused("npy", "bad.npy")
    table = pd.DataFrame(TRAIN, columns=NAMES)
    table[NAMES[:2]].to_parquet(tmp_path / "raw" / "two.parquet")
    assert "two.parquet has no column 'label' among 'user', 'item'" in refused("parquet", "two.parquet")
    table.assign(item=["a"] * 8).to_parquet(tmp_path / "raw" / "text.parquet")
    assert "text.parquet, row 1: feature 'item' is 'a', expected a number" in refused("parquet", "text.parquet")
    np.save(tmp_path / "raw" / "two.npy", np.zeros((8, 2), int))
    assert "two.npy has shape [8, 2], expected [rows, 3] for user, item, label" in refused("npy", "two.npy")
    np.save(tmp_path / "raw" / "cube.npy", np.zeros((8, 3, 1), int))
    assert "cube.npy has shape [8, 3, 1]" in refused("npy", "cube.npy")
    np.save(tmp_path / "raw" / "text.npy", np.full((8, 3), "a"))
    assert "text.npy holds <U1, expected numbers" in refused("npy", "text.npy")
    np.save(tmp_path / "raw" / "object.npy", np.full((8, 3), None), allow_pickle=True)
    assert "object.npy is not a readable npy file" in refused("npy", "object.npy")
    assert "type 'csr' takes two files and 2 features" in refused("csr", "two.npy", NAMES[:2])
    assert "type 'series' takes two files and 3 features" in refused("series", "two.npy")


def test_csr_and_series_files_must_fit(prepare: Any, refuse: Any, tmp_path: Path) -> None:
    data = prepare("transcode", "--raw", CSV_CONVERSION)
    raw = tmp_path / "copy"
    raw.mkdir()
    for path in data.folder.iterdir():
        (raw / path.name).write_bytes(path.read_bytes())
    np.save(raw / "test.train_rows.npy", np.arange(11, dtype=np.int32))
    assert "test.train_rows.npy does not fit" in refuse("transcode", "--raw", raw)
    np.save(raw / "train.indptr.npy", np.arange(5))
    assert "train.indptr.npy does not fit" in refuse("transcode", "--raw", raw)


# Values and structures that no reader expects


def test_text_of_digits_in_parquet_is_refused_in_one_line(refuse: Any, tmp_path: Path) -> None:
    edit = ("source_spec.train", [chunk("train.parquet", kind="parquet")])
    raw = write(tmp_path / "raw", changed(edit))
    pd.DataFrame(TRAIN, columns=NAMES).astype({"user": str}).to_parquet(raw.parent / "train.parquet")
    assert "feature 'user'" in refuse("transcode", "--raw", raw)


@pytest.mark.parametrize("mapping", ["test", "valid"])
def test_a_held_out_pair_that_is_in_training_is_refused(mapping: str, refuse: Any, tmp_path: Path) -> None:
    lists = {"test": TEST, "valid": VALID}
    pair = {"test": (1, 0, 1), "valid": (2, 6, 1)}[mapping]
    assert pair in lists[mapping]
    content = changed(("source_spec.valid", [chunk("valid.csv")]))
    files = {"train.csv": [*TRAIN, pair], "valid.csv": VALID}
    assert f"mapping {mapping!r}" in refuse("transcode", "--raw", write(tmp_path / "raw", content, files))


def test_metadata_that_is_a_list_is_refused_in_one_line(refuse: Any, tmp_path: Path) -> None:
    raw = write(tmp_path / "raw", changed(("metadata", [{"test_samples_per_series": 3}])))
    assert "metadata" in refuse("transcode", "--raw", raw)


@pytest.mark.parametrize("value", ["inf", "1e30"])
def test_an_id_that_is_no_id_is_refused(value: str, refuse: Any, tmp_path: Path) -> None:
    raw = write(tmp_path / "raw", files={"train.csv": csv_text(TRAIN) + f"0,{value},1\n"})
    assert "feature 'item'" in refuse("transcode", "--raw", raw)


@pytest.mark.parametrize(
    "edit",
    [
        ("source_spec.train.0.features", 3),
        ("source_spec.train.0.features", [["user"], "item", "label"]),
        ("source_spec.train.0.type", ["csv"]),
        ("channel_spec.user_ch", [["user"]]),
    ],
)
def test_a_specification_of_another_structure(edit: tuple[str, Any], refuse: Any, tmp_path: Path) -> None:
    assert "feature_spec.yaml" in refuse("transcode", "--raw", write(tmp_path / "raw", changed(edit)))


@pytest.mark.parametrize("kind", ["archive", "float indptr"])
def test_numpy_files_of_another_kind(kind: str, refuse: Any, tmp_path: Path) -> None:
    files, features = (["a.npy"], NAMES) if kind == "archive" else (["p.npy", "i.npy"], NAMES[:2])
    edit = ("source_spec.train", [chunk(*files, kind="npy" if kind == "archive" else "csr", features=features)])
    raw = write(tmp_path / "raw", changed(edit))
    np.savez(raw.parent / "a.npz", x=np.zeros((8, 3)))
    (raw.parent / "a.npz").rename(raw.parent / "a.npy")
    np.save(raw.parent / "p.npy", np.array([0.0, 2.0, 4.0]))
    np.save(raw.parent / "i.npy", np.arange(4))
    assert files[0] in refuse("transcode", "--raw", raw)


def test_one_pair_for_validation_and_test_is_refused(refuse: Any, tmp_path: Path) -> None:
    """The test would show the model what it has to find."""
    raw = write(tmp_path / "raw", changed(("source_spec.valid", [chunk("test.csv")])))
    assert "mapping 'test'" in refuse("transcode", "--raw", raw)
