"""The flags of a zoo model: ids, memory of the tables, and what a record says about them."""

from __future__ import annotations

import argparse

import pytest

from load_study.__main__ import main
from load_study.options import add_subject_flags, chosen_subjects, flags_of
from load_study.table_memory import fitting_mib


def _parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_subject_flags(parser)
    return parser.parse_args(["--model", "ncf", *words])


def test_a_subject_is_the_same_in_another_process() -> None:
    args = _parsed("--ids", "zipf:1.2", "--table-mib", "auto")
    (subject,) = chosen_subjects(args)
    assert chosen_subjects(_parsed(*flags_of(subject, args)[2:])) == [subject]
    assert subject.settings == {"ids": "zipf:1.2", "table_mib": subject.table_bytes >> 20}
    assert subject.table_bytes >= 1 << 20


def test_other_subjects_have_no_tables() -> None:
    args = _parsed("--model", "delay:3")
    (subject,) = chosen_subjects(args)
    assert subject.settings == {}


def test_ids_are_skewed_where_nothing_is_said() -> None:
    assert chosen_subjects(_parsed())[0].ids == "zipf:0.99"
    assert chosen_subjects(_parsed("--ids", "uniform"))[0].ids == "uniform"


@pytest.mark.parametrize(
    ("gib", "engines", "mib"), [(22, 2, 1024), (14, 2, 1024), (13.9, 2, 512), (256, 64, 2048), (0.01, 1, 1)]
)
def test_all_copies_of_the_tables_take_half_of_the_free_memory(gib: float, engines: int, mib: int) -> None:
    assert fitting_mib(int(gib * 2**30), engines) == mib
    assert 2 * mib * max(7, engines) <= gib * 1024 or mib == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--table-mib", "soon"], "--table-mib is 'soon', expected a whole number from 1 (MiB), or auto"),
        (["--table-mib", "0"], "--table-mib is '0', expected a whole number from 1 (MiB), or auto"),
        (["--ids", "zipf:0"], "--ids is 'zipf:0', expected one of uniform, zipf, zipf:EXPONENT"),
    ],
)
def test_a_bad_value_is_one_line_and_status_2(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["load", "--model", "ncf", *words])
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith(f"error: {said}")
