"""The rules of the watchdog by hand: times are given, nothing waits. And the processes without ranks around them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from recsys_core import heartbeat, watchdog
from recsys_core.silence import Silence

CAUSES = "(frozen, its host down, or the network cut)"


def test_a_rank_is_named_then_the_job_ends() -> None:
    silence = Silence({1: "h2", 2: "h3"}, 300)
    assert (silence.heard(1, 0), silence.heard(2, 0)) == (None, None)
    silence.heard(2, 119)
    assert silence.word(119) is None
    assert silence.word(120) == (
        f"rank 1 on h2 has been silent for 120 s {CAUSES}; the job ends after 300 s (RECSYS_SILENCE_SECONDS)"
    )
    assert silence.word(121) is None  # once
    assert silence.verdict(299) is None
    silence.heard(2, 299)
    assert silence.verdict(300) == f"rank 1 on h2 was silent for 300 s {CAUSES}"


def test_a_rank_that_comes_back() -> None:
    silence = Silence({1: "h2"}, 10)
    silence.heard(1, 0)
    assert silence.word(5) is not None
    assert silence.heard(1, 9) == "rank 1 on h2 is back after 9 s"
    assert silence.verdict(18) is None
    assert silence.word(14) is not None  # named again


def test_ranks_of_a_host_are_named_together() -> None:
    silence = Silence({1: "h1", 2: "h2", 3: "h2"}, 10)
    for rank in (1, 2, 3):
        silence.heard(rank, 0)
    assert silence.verdict(10) == f"ranks 1 on h1 and 2, 3 on h2 were silent for 10 s {CAUSES}"


def test_who_was_never_heard_or_has_left_is_not_judged() -> None:
    silence = Silence({1: "h2", 2: "h3"}, 10)
    silence.heard(1, 0)
    assert silence.unheard() == [2]
    silence.left(1)
    assert (silence.word(100), silence.verdict(100)) == (None, None)


def test_a_time_in_which_this_process_was_stopped_is_left_out() -> None:
    silence = Silence({1: "h2"}, 10)
    silence.heard(1, 0)
    silence.shift(100)
    assert silence.verdict(109) is None
    assert silence.verdict(110) is not None


@pytest.mark.parametrize(("text", "seconds"), [("", 300), ("0", 0), ("4.5", 4.5)])
def test_the_limit_is_read(text: str, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSYS_SILENCE_SECONDS", text)
    assert watchdog.silence_seconds() == seconds


@pytest.mark.parametrize("text", ["soon", "-1", "nan", "inf"])
def test_a_limit_that_is_none(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSYS_SILENCE_SECONDS", text)
    with pytest.raises(ValueError, match=f"RECSYS_SILENCE_SECONDS is '{text}', expected seconds"):
        watchdog.silence_seconds()


@pytest.mark.parametrize(("given", "expected"), [(None, "300"), ("77", "77")])
def test_gloo_waits_as_long(given: str | None, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RECSYS_SILENCE_SECONDS", raising=False)
    monkeypatch.setenv("HOROVOD_GLOO_TIMEOUT_SECONDS", "")
    monkeypatch.delenv("HOROVOD_GLOO_TIMEOUT_SECONDS")
    if given:
        monkeypatch.setenv("HOROVOD_GLOO_TIMEOUT_SECONDS", given)
    watchdog.set_gloo_timeout()
    assert os.environ["HOROVOD_GLOO_TIMEOUT_SECONDS"] == expected


class Beside:
    """A heartbeat process; this process takes the place of the rank."""

    port = 0

    def __init__(self, **given: object) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(heartbeat.__file__))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.send(**given)

    def send(self, **values: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(values) + "\n")
        self.process.stdin.flush()

    def told(self) -> dict[str, int]:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())


@pytest.fixture
def pair() -> Iterator[tuple[Beside, Beside]]:
    given = {"hosts": ["h1", "h2"], "limit": 600, "token": "t"}
    first = Beside(rank=0, **given)
    first.port = first.told()["port"]
    other = Beside(rank=1, addresses=["0.0.0.1", "127.0.0.1"], port=first.port, **given)  # the first is nobody's
    yield first, other
    for beside in (first, other):
        beside.process.kill()
        beside.process.communicate()


def test_two_processes_meet_and_part(pair: tuple[Beside, Beside]) -> None:
    first, other = pair
    assert (first.told(), other.told()) == ({"back": 1}, {"back": 0})
    other.send(bye=True)
    assert other.process.wait(10) == 0
    first.send(bye=True)
    assert first.process.wait(10) == 0
    assert first.process.communicate() == ("", "")  # a rank that said goodbye is not lost


def test_a_rank_that_ends_without_a_word_is_lost(pair: tuple[Beside, Beside]) -> None:
    first, other = pair
    assert (first.told(), other.told()) == ({"back": 1}, {"back": 0})
    other.process.kill()
    assert first.told() == {"lost": 1}


def test_a_stranger_is_not_taken_for_a_rank(pair: tuple[Beside, Beside]) -> None:
    first, _ = pair
    assert first.told() == {"back": 1}
    address = {"addresses": ["127.0.0.1"], "port": first.port}
    stranger = Beside(rank=1, hosts=["h1", "h2"], limit=600, token="other", **address)
    stranger.send(bye=True)
    assert stranger.process.wait(10) == 0
    assert stranger.process.communicate() == ("", "")
    first.send(bye=True)
    assert first.process.communicate() == ("", "")


def test_a_heartbeat_ends_with_its_rank(pair: tuple[Beside, Beside]) -> None:
    for beside in pair:
        assert beside.process.stdin is not None
        beside.process.stdin.close()
        assert beside.process.wait(10) == 0
        beside.process.stdin = None


def test_a_peer_that_sends_no_line_is_left() -> None:
    """Its bytes were kept without a limit."""
    one, other = socket.socketpair()
    with one, other:
        link = heartbeat.Link(one)
        assert link.lines() == []
        other.sendall(b"hello a\nb")
        assert link.lines() == ["hello a"]
        other.sendall(b"c\n")
        assert link.lines() == ["bc"]
        other.sendall(b"x" * (heartbeat.LONGEST_LINE + 1))
        assert link.lines() is None
