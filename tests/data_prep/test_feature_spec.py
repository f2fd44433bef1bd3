"""Feature specifications: NVIDIA's example, every type of file, the round trip of a prepared data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from .conftest import random_rows, write_csv
from .lists import Lists, arrays, lists_of
from .specifications import (
    BASE,
    CANDIDATES,
    CSV_CONVERSION,
    NAMES,
    SEEN,
    TEST,
    TRAIN,
    VALID,
    Rows,
    changed,
    chunk,
    csv_text,
    write,
)


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
    assert with_validation(lists_of(data)) == {**SEEN, 5: set()}
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


def test_only_ids_that_occur_are_kept_of_a_declared_cardinality(prepare: Any, tmp_path: Path) -> None:
    edits = [("feature_spec.user.cardinality", 20), ("feature_spec.item.cardinality", 5000)]
    data = prepare("transcode", "--raw", write(tmp_path / "raw", changed(*edits)))
    found = lists_of(data)
    assert (found.users, found.items) == ([0, 1, 2], list(range(9)))
    assert with_validation(found) == SEEN
    assert data.manifest["warnings"] == [
        "feature 'user' has cardinality 20; the 3 ids that occur are kept",
        "feature 'item' has cardinality 5,000; the 9 ids that occur are kept",
    ]


def test_ids_with_gaps_come_back_as_they_were(prepare: Any, tmp_path: Path) -> None:
    """The base data with user u as 7 u + 3 and item i as 1000 i + 5."""
    files = {
        f"{name}.csv": [(7 * u + 3, 1000 * i + 5, label) for u, i, label in rows]
        for name, rows in (("train", TRAIN), ("test", TEST))
    }
    data = prepare("transcode", "--raw", write(tmp_path / "raw", files=files))
    straight = prepare("transcode", "--raw", write(tmp_path / "straight"), out="expected")
    assert arrays(data.folder) == arrays(straight.folder)
    found = lists_of(data)
    assert (found.users, found.items) == ([3, 10, 17], [5, 1005, 2005, 3005, 4005, 5005, 6005, 7005, 8005])
    assert data.manifest["warnings"] == []


def test_labels_that_contradict_each_other_are_counted(prepare: Any, tmp_path: Path) -> None:
    rows = [*TRAIN, (0, 1, 0), (2, 7, 0)]
    data = prepare("transcode", "--raw", write(tmp_path / "raw", files={"train.csv": rows}))
    assert with_validation(lists_of(data)) == SEEN
    assert data.manifest["warnings"] == [
        "2 training rows without a positive label were left out: negatives are drawn in training",
        "1 of these rows repeat a pair that another row labels positive; the pair stays positive",
    ]


@pytest.mark.parametrize("mapping", ["train", "test", "valid"])
def test_an_item_of_any_mapping_occurs(mapping: str, prepare: Any, tmp_path: Path) -> None:
    """Item 30 stands in one mapping only; items 9 to 29 stand in none."""
    files: dict[str, Rows] = {"train.csv": TRAIN, "test.csv": TEST, "valid.csv": VALID}
    added = {
        "train": [(0, 30, 1)],
        "test": [(1, 30, 0), (1, 6, 1), (1, 2, 0)],
        "valid": [(1, 2, 1), (1, 30, 0), (1, 4, 0)],
    }
    files[f"{mapping}.csv"] = [*files[f"{mapping}.csv"], *added[mapping]]
    content = changed(("source_spec.valid", [chunk("valid.csv")]), ("feature_spec.user", {"dtype": "torch.int64"}))
    found = lists_of(prepare("transcode", "--raw", write(tmp_path / "raw", content, files)))
    assert (found.users, found.items) == ([0, 1, 2], [*range(9), 30])


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
