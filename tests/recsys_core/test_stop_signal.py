"""Stop signals in this process, and the conversion that one ends. No TensorFlow."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

import pytest

from recsys_core import conversion
from recsys_core.training import stop_signal
from recsys_core.training.stop_signal import StopSignal
from recsys_core.world import World


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_signal_is_remembered_by_its_name(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with StopSignal().listening() as stop:
        assert not stop.on_some_rank(World())
        send(number)
        assert stop.on_some_rank(World())
        assert (stop.name, stop_signal.has_come()) == (number.name, True)
    assert not stop_signal.has_come()
    assert signal.getsignal(number) == before


def test_the_first_signal_counts() -> None:
    with StopSignal().listening() as stop:
        send(signal.SIGUSR1)
        send(signal.SIGTERM)
    assert stop.name == "SIGUSR1"


def test_a_second_interrupt_ends_the_process_at_once(capfd: pytest.CaptureFixture[str]) -> None:
    """Also in the middle of C code, which no handler in Python can leave."""
    with StopSignal().listening():
        send(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) == signal.SIG_DFL
    assert capfd.readouterr().err == "\nstopping at the next step (Ctrl-C again ends at once) ...\n"


def test_an_interrupt_where_there_is_nothing_to_save() -> None:
    with StopSignal().listening() as stop:
        stop.raise_interrupts()
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)
        with stop.in_fit(listens=False):
            send(signal.SIGINT)  # remembered
        assert stop.is_interrupt
    with StopSignal().listening() as stop:
        send(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            stop.raise_interrupts()


def test_an_interrupt_of_a_fit_is_raised_when_the_state_is_saved() -> None:
    stop, saved = StopSignal(), []
    with pytest.raises(KeyboardInterrupt), stop.in_fit(listens=True):
        send(signal.SIGINT)
        saved.append("checkpoint")
    assert saved == ["checkpoint"]


def test_a_job_in_the_background_ignores_interrupts() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with StopSignal().listening() as stop:
            send(signal.SIGINT)
        assert not stop.received
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_conversion_is_ended_and_can_be_made_later(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signal ended the run, and what converted with it. A script that waits stands in for a long conversion."""
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\ntrap 'echo removed what it had begun; exit 130' INT\nsleep 60 & wait\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    with StopSignal().listening():
        threading.Timer(0.5, send, [signal.SIGUSR1]).start()
        assert not conversion.convert(tmp_path, "onnx")
    line = f"python -m serving convert --export {tmp_path} --to onnx"
    shown = capfd.readouterr().out
    assert (
        f"removed what it had begun\nstopped during the conversion; the export is whole, convert it with: {line}"
        in shown
    )
