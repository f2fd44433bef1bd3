"""Whatever is published, rolled back and removed: what roll-back needs is there, and the folder does not grow."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.triton import config, repository, retention
from serving.triton.config import Service

NAME = "films"


def _publish(folder: Path) -> int:
    """A version as `publish` writes and serves it, without the files of a model."""
    model = folder / NAME
    version = max(repository.versions(model), default=0) + 1
    (model / str(version)).mkdir(parents=True)
    about = {"model": "onnx-fp32", "export": "", "metrics": {}, "before": repository.served_version(model)}
    (model / str(version) / "published.json").write_text(json.dumps(about))
    _serve(folder, version)
    return version


def _serve(folder: Path, version: int) -> None:
    text = config.to_text(config.recommender_config(NAME, [version], Service()))
    (folder / NAME / "config.pbtxt").write_text(text)


def _roll_back(folder: Path) -> int:
    version = retention.version_before(folder / NAME)
    _serve(folder, version)
    return version


def test_bad_versions_do_not_push_out_the_good_one(tmp_path: Path) -> None:
    """1, 2, 3 (bad), back, 4 (bad), back, 5: roll-back finds 2, and 1 after that."""
    for act in ("publish", "publish", "publish", "back", "publish", "back", "publish"):
        if act == "publish":
            _publish(tmp_path)
            retention.remove_old_versions(tmp_path, NAME, 3)
        else:
            assert _roll_back(tmp_path) == 2
    assert repository.served_version(tmp_path / NAME) == 5
    assert _roll_back(tmp_path) == 2
    assert _roll_back(tmp_path) == 1
    with pytest.raises(ValueError, match=r"has no version before 1 to go back to \(versions: 1, 2, 3, 4, 5\)"):
        _roll_back(tmp_path)


@given(
    acts=st.lists(st.sampled_from(["publish", "publish", "back"]), max_size=25),
    keep=st.integers(-1, 5),
)
@settings(max_examples=60)
def test_any_sequence(acts: list[str], keep: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The model of the test is a stack: publishing pushes, rolling back pops."""
    folder = tmp_path_factory.mktemp("any")
    stack: list[int] = []
    kept = max(keep, 1)
    depth = max(keep, retention.MIN_CHAIN)  # versions of the stack that are still there; roll-back makes it shallower
    there = 0
    for act in acts:
        if act == "publish":
            stack.append(_publish(folder))
            there = min(there + 1, depth)
            assert stack[-1] == max(repository.versions(folder / NAME)), "a number was given twice"
            retention.remove_old_versions(folder, NAME, keep)
        elif there > 1:
            stack.pop()
            there -= 1
            assert _roll_back(folder) == stack[-1]
        elif not stack:
            with pytest.raises(ValueError, match="has no version before None"):
                _roll_back(folder)
        versions = repository.versions(folder / NAME)
        assert not stack or repository.served_version(folder / NAME) == stack[-1]
        assert set(stack[len(stack) - there :]) <= set(versions), "what roll-back needs was removed"
        assert len(versions) <= kept + depth
    assert len(set(stack)) == len(stack)


def test_a_version_that_cannot_be_read_ends_the_chain(tmp_path: Path) -> None:
    for _ in range(3):
        _publish(tmp_path)
    (tmp_path / NAME / "2" / "published.json").write_text("{")
    assert retention.chain(retention.links(tmp_path / NAME), 3) == [3, 2]
    assert retention.chain({1: 2, 2: 1}, 1) == [1, 2], "a circle ends"


def test_leftovers_of_a_killed_removal_are_removed(tmp_path: Path) -> None:
    for _ in range(2):
        _publish(tmp_path)
    (tmp_path / NAME / ".removing-7" / "export").mkdir(parents=True)
    assert retention.remove_old_versions(tmp_path, NAME, 5) == []
    assert sorted(p.name for p in (tmp_path / NAME).iterdir()) == ["1", "2", "config.pbtxt"]


def test_a_version_that_is_needed_stays(tmp_path: Path) -> None:
    for _ in range(6):
        _publish(tmp_path)
    assert retention.remove_old_versions(tmp_path, NAME, 1, needed=[3]) == [1, 2, 4]
