"""Feature specifications: NVIDIA's example, every type of file, the round trip of a prepared data set, each error."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from .conftest import random_rows, write_csv
from .lists import Lists, arrays, lists_of

CSV_CONVERSION = Path(__file__).parent / "fixtures" / "csv_conversion"
NAMES = ["user", "item", "label"]
Content = dict[str, Any]
Rows = Sequence[Sequence[float]]

TRAIN = [(0, 0, 1), (0, 1, 1), (1, 3, 1), (0, 2, 1), (1, 1, 1), (1, 5, 1), (2, 4, 1), (2, 0, 1)]
SEEN = {0: {0, 1, 2}, 1: {1, 3, 5}, 2: {0, 4}}
# User 1 comes first, and the positive stands last, first and in the middle.
TEST = [(1, 7, 0), (1, 6, 0), (1, 0, 1), (0, 5, 1), (0, 4, 0), (0, 8, 0), (2, 1, 0), (2, 3, 1), (2, 2, 0)]
CANDIDATES = [[0, 7, 6], [5, 4, 8], [3, 1, 2]]
VALID = [(0, 6, 0), (0, 3, 1), (0, 7, 0), (2, 8, 0), (2, 7, 0), (2, 6, 1)]


def chunk(*files: str, kind: str = "csv", features: Sequence[str] = NAMES) -> Content:
    return {"type": kind, "features": list(features), "files": list(files)}


BASE: Content = {
    "feature_spec": {
        "user": {"dtype": "torch.int64", "cardinality": "auto"},
        "item": {"dtype": "torch.int64", "cardinality": "auto"},
        "label": {"dtype": "torch.float32"},
    },
    "source_spec": {"train": [chunk("train.csv")], "test": [chunk("test.csv")]},
    "channel_spec": {"user_ch": ["user"], "item_ch": ["item"], "label_ch": ["label"]},
    "metadata": {"test_samples_per_series": 3},
}
MISSING = object()


def changed(*edits: tuple[str, Any]) -> Content:
    """The base specification with values set (or removed) at paths like "source_spec.train.0.type"."""
    content = copy.deepcopy(BASE)
    for path, value in edits:
        *parents, last = [int(key) if key.isdigit() else key for key in path.split(".")]
        place: Any = content
        for key in parents:
            place = place[key]
        if value is MISSING:
            del place[last]
        else:
            place[last] = value
    return content


def csv_text(rows: Rows) -> str:
    return "".join(",".join(map(str, row)) + "\n" for row in rows)


def write(folder: Path, content: Content | str = BASE, files: Mapping[str, Rows | str | bytes] | None = None) -> Path:
    """A folder with the specification, train.csv and test.csv, and other files (instead)."""
    folder.mkdir(exist_ok=True)
    (folder / "feature_spec.yaml").write_text(
        content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False)
    )
    for name, rows in {"train.csv": TRAIN, "test.csv": TEST, **(files or {})}.items():
        if isinstance(rows, bytes):
            (folder / name).write_bytes(rows)
        else:
            (folder / name).write_text(rows if isinstance(rows, str) else csv_text(rows))
    return folder / "feature_spec.yaml"


def with_validation(data: Lists) -> dict[int, set[int]]:
    train, valid, _ = data.split()
    return {user: items | ({valid[user]} if user in valid else set()) for user, items in train.items()}


# Contents


def test_nvidias_example(prepare: Any) -> None:
    data = prepare("transcode", "--raw", CSV_CONVERSION / "feature_spec.yaml")
    train = pd.concat(pd.read_csv(CSV_CONVERSION / f"train_data_{k}.csv", names=NAMES) for k in (0, 1))
    test = pd.read_csv(CSV_CONVERSION / "test_data.csv", names=NAMES)
    found = lists_of(data)
    assert found.users == list(range(12)) == sorted(test["user"].unique())
    assert found.items == list(range(14))
    assert with_validation(found) == train.groupby("user")["item"].agg(set).to_dict()
    expected = {
        user: [*rows["item"][rows["label"] == 1], *rows["item"][rows["label"] == 0]]
        for user, rows in test.groupby("user")
    }
    assert {one.user: one.candidates for one in found.lists("test")} == expected
    assert len(found.positives("valid")) == len(found.positives("test")) == 12
    assert found.array("valid.candidates").shape == found.array("test.candidates").shape == (12, 3)
    assert data.manifest["warnings"] == []
    assert data.manifest["counts"] == {
        "rows_read": 84, "duplicates_dropped": 0, "events": 60, "users": 12, "items": 14, "train_users": 12,
        "train_items": 14, "train_events": 36, "held_out_users": 12, "validation_users": 12,
    }  # fmt: skip


def test_contents_typed_by_hand(prepare: Any, tmp_path: Path) -> None:
    found = lists_of(prepare("transcode", "--raw", write(tmp_path / "raw")))
    assert (found.users, found.items) == ([0, 1, 2], list(range(9)))
    assert with_validation(found) == SEEN
    assert [one.user for one in found.lists("test")] == [1, 0, 2]
    assert [one.candidates for one in found.lists("test")] == CANDIDATES
    assert [one.wanted for one in found.lists("test")] == [{0}, {5}, {3}]
    assert {one.user: one.shown for one in found.lists("test")} == SEEN
    train, valid, test = found.split()
    for one in found.lists("valid"):
        assert one.shown == train[one.user]
        assert len(set(one.candidates)) == 3
        assert not (SEEN[one.user] | {test[one.user]}) & set(one.candidates[1:])
    assert valid.keys() == {0, 1, 2}


def test_the_folder_of_a_specification_will_do(prepare: Any, tmp_path: Path) -> None:
    file = write(tmp_path / "raw")
    one, two = prepare("transcode", "--raw", file, out="a"), prepare("transcode", "--raw", file.parent, out="b")
    assert arrays(one.folder) == arrays(two.folder)


def test_the_validation_is_drawn_by_seed(prepare: Any) -> None:
    one, again, other = (
        prepare("transcode", "--raw", CSV_CONVERSION, "--seed", seed, out=f"o{k}") for k, seed in enumerate((1, 1, 2))
    )
    assert arrays(one.folder) == arrays(again.folder)
    assert lists_of(one).positives("valid") != lists_of(other).positives("valid")
    assert lists_of(one).lists("test") == lists_of(other).lists("test")


def test_a_validation_of_ones_own(prepare: Any, tmp_path: Path) -> None:
    content = changed(("source_spec.valid", [chunk("valid.csv")]))
    data = prepare("transcode", "--raw", write(tmp_path / "raw", content, {"valid.csv": VALID}))
    found = lists_of(data)
    assert found.train() == SEEN
    assert [(one.user, one.candidates) for one in found.lists("valid")] == [(0, [3, 6, 7]), (2, [6, 8, 7])]
    assert {one.user: one.shown for one in found.lists("valid")} == {0: SEEN[0], 2: SEEN[2]}
    assert {one.user: one.shown for one in found.lists("test")} == {0: SEEN[0] | {3}, 1: SEEN[1], 2: SEEN[2] | {6}}
    assert [one.candidates for one in found.lists("test")] == CANDIDATES
    assert data.manifest["counts"]["events"] == 8 + 3 + 2


def test_rows_with_label_0_in_training_are_left_out(prepare: Any, tmp_path: Path) -> None:
    rows = [(0, 7, 0), *TRAIN, (1, 8, 0), (2, 8, 0), (5, 2, 0)]
    data = prepare("transcode", "--raw", write(tmp_path / "raw", files={"train.csv": rows}))
    assert with_validation(lists_of(data)) == {**SEEN, 3: set(), 4: set(), 5: set()}
    assert data.manifest["warnings"] == [
        "4 training rows without a positive label were left out: negatives are drawn in training"
    ]


def test_training_without_labels_and_with_repeats(prepare: Any, tmp_path: Path) -> None:
    content = changed(("source_spec.train", [chunk("train.csv", features=["user", "item"])]))
    rows = [row[:2] for row in (*TRAIN, *TRAIN[:3])]
    data = prepare("transcode", "--raw", write(tmp_path / "raw", content, {"train.csv": rows}))
    straight = prepare("transcode", "--raw", write(tmp_path / "straight"), out="expected")
    assert arrays(data.folder) == arrays(straight.folder)
    assert data.manifest["counts"]["duplicates_dropped"] == 3
    assert data.manifest["warnings"] == ["3 repeated (user, item) pairs were kept once"]


def test_declared_cardinalities_are_kept(prepare: Any, tmp_path: Path) -> None:
    edits = [("feature_spec.user.cardinality", 20), ("feature_spec.item.cardinality", 50)]
    found = lists_of(prepare("transcode", "--raw", write(tmp_path / "raw", changed(*edits))))
    assert (len(found.users), len(found.items)) == (20, 50)
    assert with_validation(found) == {**{user: set() for user in range(20)}, **SEEN}


@pytest.mark.parametrize("mapping", ["train", "test", "valid"])
def test_an_automatic_cardinality_counts_every_mapping(mapping: str, prepare: Any, tmp_path: Path) -> None:
    """The largest item, 30, stands in one mapping only, elsewhere it is 8."""
    files: dict[str, Rows] = {"train.csv": TRAIN, "test.csv": TEST, "valid.csv": VALID}
    added = {
        "train": [(0, 30, 1)],
        "test": [(1, 30, 0), (1, 6, 1), (1, 2, 0)],
        "valid": [(1, 2, 1), (1, 30, 0), (1, 4, 0)],
    }
    files[f"{mapping}.csv"] = [*files[f"{mapping}.csv"], *added[mapping]]
    content = changed(("source_spec.valid", [chunk("valid.csv")]), ("feature_spec.user", {"dtype": "torch.int64"}))
    found = lists_of(prepare("transcode", "--raw", write(tmp_path / "raw", content, files)))
    assert (len(found.users), len(found.items)) == (3, 31)


def test_features_may_have_any_name_and_more_than_channels(prepare: Any, tmp_path: Path) -> None:
    features = {name: {"cardinality": "auto"} for name in ("day", "customer", "article", "bought")}
    columns = ["day", "article", "bought", "customer"]
    content = changed(
        ("feature_spec", features),
        ("channel_spec", {"user_ch": ["customer"], "item_ch": ["article"], "label_ch": ["bought"]}),
        ("source_spec.train.0.features", columns),
        ("source_spec.test.0.features", columns),
    )
    files = {f"{name}.csv": [(9, i, r, u) for u, i, r in rows] for name, rows in (("train", TRAIN), ("test", TEST))}
    data = prepare("transcode", "--raw", write(tmp_path / "raw", content, files))
    straight = prepare("transcode", "--raw", write(tmp_path / "straight"), out="expected")
    assert arrays(data.folder) == arrays(straight.folder)


def write_kind(folder: Path, kind: str) -> Path:
    """The base data in another form."""
    folder.mkdir()
    sources = {}
    for name, rows in (("train", TRAIN), ("test", TEST)):
        table = pd.DataFrame(rows, columns=NAMES)
        pairs, label = table[["user", "item"]].to_numpy(), table["label"].to_numpy(np.float32)
        if kind == "chunks by column":
            sources[name] = [
                chunk(f"{name}.l.csv", features=["label"]),
                chunk(f"{name}.p.csv", features=["item", "user"]),
            ]
            (folder / f"{name}.l.csv").write_text("\n".join(map(str, label)) + "\n")
            (folder / f"{name}.p.csv").write_text(csv_text(pairs[:, ::-1].tolist()))
        elif kind == "parquet":
            sources[name] = [chunk(f"{name}.0.parquet", f"{name}.1.parquet", kind=kind)]
            other = table[["label", "item", "user"]].assign(more="text").astype({"user": "int32", "label": bool})
            other[:4].to_parquet(folder / f"{name}.0.parquet")
            other[4:].to_parquet(folder / f"{name}.1.parquet")
        elif kind == "npy":
            sources[name] = [
                chunk(f"{name}.0.npy", f"{name}.1.npy", kind=kind, features=["user", "item"]),
                chunk(f"{name}.label.npy", kind=kind, features=["label"]),
            ]
            np.save(folder / f"{name}.0.npy", pairs[:3])
            np.save(folder / f"{name}.1.npy", pairs[3:].astype(np.uint16))
            np.save(folder / f"{name}.label.npy", label)
        elif kind == "one npy a feature":
            sources[name] = [chunk(f"{name}.{f}.npy", kind="npy", features=[f]) for f in NAMES]
            for feature in NAMES:
                np.save(folder / f"{name}.{feature}.npy", table[feature].to_numpy(np.float64))
        else:
            sources[name] = [
                chunk(f"{name}.csv", features=["user"]),
                chunk(f"{name}.parquet", kind="parquet", features=["label"]),
                chunk(f"{name}.npy", kind="npy", features=["item"]),
            ]
            (folder / f"{name}.csv").write_text("".join(f"{u}\n" for u, _, _ in rows))
            table.to_parquet(folder / f"{name}.parquet")
            np.save(folder / f"{name}.npy", table["item"].to_numpy()[:, None])
    (folder / "feature_spec.yaml").write_text(yaml.safe_dump(changed(("source_spec", sources))))
    return folder


@pytest.mark.parametrize("kind", ["chunks by column", "parquet", "npy", "one npy a feature", "all mixed"])
def test_types_and_chunks_agree(kind: str, prepare: Any, tmp_path: Path) -> None:
    data = prepare("transcode", "--raw", write_kind(tmp_path / "raw", kind))
    straight = prepare("transcode", "--raw", write(tmp_path / "straight"), out="expected")
    assert arrays(data.folder) == arrays(straight.folder)
    assert data.manifest["counts"] == straight.manifest["counts"]


def test_files_of_a_chunk_are_joined_in_their_order(prepare: Any, tmp_path: Path) -> None:
    """A list may go over the end of a file."""
    content = changed(("source_spec.test.0.files", ["b.csv", "a.csv"]))
    files = {"a.csv": TEST[4:], "b.csv": TEST[:4]}
    found = lists_of(prepare("transcode", "--raw", write(tmp_path / "raw", content, files)))
    assert [one.candidates for one in found.lists("test")] == CANDIDATES


# Round trip


@pytest.mark.parametrize("kind", ["clean", "mlperf"])
def test_a_prepared_data_set_transcodes_to_itself(kind: str, prepare: Any, tmp_path: Path) -> None:
    rows = [*random_rows(60, 40), (500, 1, 5.0), (500, 2, 5.0), (501, 1, 5.0)]  # no validation, no test
    words = ("--protocol", "leave-one-out", "--min-user-items", "1", "--negatives", "20", "--candidates", kind)
    first = prepare("csv", "--raw", write_csv(tmp_path / "r.csv", rows), *words, out="first")
    second = prepare("transcode", "--raw", first.folder / "feature_spec.yaml", out="second")
    third = prepare("transcode", "--raw", second.folder, out="third")
    assert len(arrays(first.folder)) == 14
    assert arrays(first.folder) == arrays(second.folder) == arrays(third.folder)
    specs = [(data.folder / "feature_spec.yaml").read_text() for data in (first, second, third)]
    assert len(set(specs)) == 1
    assert (second.items["count"] == first.items["count"]).all()
    ours, theirs = second.manifest["counts"], first.manifest["counts"]
    assert {k: v for k, v in ours.items() if k != "rows_read"} == {k: v for k, v in theirs.items() if k != "rows_read"}
    assert second.manifest["warnings"] == []


def test_the_specification_of_a_prepared_data_set(prepare: Any, tmp_path: Path) -> None:
    data = prepare("transcode", "--raw", CSV_CONVERSION)
    content = yaml.safe_load((data.folder / "feature_spec.yaml").read_text())
    assert content["feature_spec"]["user"]["cardinality"] == 12
    assert content["feature_spec"]["item"]["cardinality"] == 14
    assert content["channel_spec"] == BASE["channel_spec"]
    assert content["metadata"] == {"valid_samples_per_series": 3, "test_samples_per_series": 3}
    assert list(content["source_spec"]) == ["train", "valid", "test"]
    named = [f for chunks in content["source_spec"].values() for c in chunks for f in c["files"]]
    assert all((data.folder / name).is_file() for name in named)


def test_held_out_users_cannot_be_transcoded(prepare: Any, refuse: Any, tmp_path: Path) -> None:
    data = prepare("csv", "--raw", write_csv(tmp_path / "r.csv", random_rows()))
    message = refuse("transcode", "--raw", data.folder)
    assert "mapping 'test' is missing, known are: train" in message


# Errors

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
        ("train", "0,1,1\n0,2\n", "train.csv: CSV parse error: Expected 3 columns, got 2"),
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
