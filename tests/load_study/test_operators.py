"""Where the time of inference goes: kinds of operators, and reading the profiles of both engines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from load_study.operator_kinds import TYPES, kind_of
from load_study.operators import measure_subject, of_onnx, shares
from load_study.subjects import Subject


@pytest.mark.parametrize(
    ("operator", "kind"),
    [
        ("MatMul", "MatMul"),
        ("_MklNativeFusedMatMul", "MatMul"),
        ("_MklMatMul", "MatMul"),
        ("_FusedMatMul", "MatMul"),
        ("FusedMatMul", "MatMul"),
        ("_MklBatchMatMulV2", "MatMul"),
        ("ResourceGather", "Gather"),
        ("GatherV2", "Gather"),
        ("ReduceSum", "Sum"),
        ("ConcatV2", "Shape"),
        ("Relu", "Activation"),
        ("AddV2", "Elementwise"),
        ("SomethingNew", "Other"),
    ],
)
def test_kinds(operator: str, kind: str) -> None:
    assert kind_of(operator) == kind


def test_no_type_is_of_two_kinds() -> None:
    every = [name for names in TYPES.values() for name in names.split()]
    assert len(every) == len(set(every))


def test_shares_leave_out_what_contains_others() -> None:
    found = shares({"Loop": 100.0, "MatMul": 3.0, "Gather": 1.0, "Strange": 1.0})
    assert {kind: share for kind, share in found.items() if share} == {"MatMul": 0.6, "Gather": 0.2, "Other": 0.2}
    assert shares({"Loop": 1.0}) == {}


def test_the_warm_half_of_an_onnx_profile_counts(tmp_path: Path) -> None:
    def node(name: str, ts: int, dur: int) -> dict:
        return {"cat": "Node", "name": f"x_{name}_kernel_time", "ts": ts, "dur": dur, "args": {"op_name": name}}

    events = [
        {"cat": "Session", "name": "model_run", "ts": 0, "dur": 50},
        node("MatMul", 1, 40),
        {"cat": "Session", "name": "model_run", "ts": 100, "dur": 5},
        node("MatMul", 101, 3),
        node("Gather", 104, 1),
        {"cat": "Node", "name": "x_MatMul_fence_before", "ts": 105, "dur": 9, "args": {"op_name": "MatMul"}},
    ]
    (tmp_path / "profile.json").write_text(json.dumps(events))
    assert of_onnx(tmp_path / "profile.json") == pytest.approx({"MatMul": 3e-6, "Gather": 1e-6})


class Arguments:
    batches = (2,)
    threads = 0  # TensorFlow takes another number only before it starts


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["onnx-fp32", "tensorflow"])
def test_a_real_model_is_taken_apart(engine: str, tmp_path: Path) -> None:
    (row,) = measure_subject(Subject(model="ncf", engine=engine, converted=tmp_path, table_bytes=1 << 20), Arguments())
    assert row["shares"]["MatMul"] > 0.05
    assert row["shares"]["Gather"] > 0.01
    assert sum(row["shares"].values()) == pytest.approx(1.0)
    assert 0.001 < row["ms"] < 1000
