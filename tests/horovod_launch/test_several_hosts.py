"""Parts of a launch on several hosts that need none: places of ranks, networks, restarts, the table of the check."""

from __future__ import annotations

import contextlib
import urllib.error
import urllib.request
from typing import Any

import pytest

from horovod_launch import check, gloo, hosts, network, restarts, starting
from horovod_launch.__main__ import main
from horovod_launch.asking import Answer
from horovod_launch.command import Launch
from horovod_launch.hosts import Host
from horovod_launch.rendezvous import Rendezvous

LOOPBACK = ["lo", "127.0.0.1", 8]
DOCKER = ["docker0", "172.17.0.1", 16]


def answer(host: str, *interfaces: list[Any], problem: str = "", files: tuple[str, ...] = ()) -> Answer:
    return Answer(host, {"interfaces": [LOOPBACK, *interfaces], "files": files}, problem)


def test_hosts_of_a_list() -> None:
    assert hosts.parsed("a:2,b") == (Host("a", 2), Host("b", 1))
    assert hosts.parsed("a:1, a:2") == (Host("a", 3),)
    assert hosts.filled(hosts.parsed("a:2,b:2,c:2"), 3) == (Host("a", 2), Host("b", 1))
    assert hosts.shown(hosts.parsed("a:2,b")) == "a:2,b:1"
    assert hosts.is_this_machine("localhost")
    assert not hosts.is_this_machine("nowhere.invalid")


def test_places_of_ranks_under_gloo() -> None:
    """As horovodrun numbers them: cross ranks count the hosts that have a rank at this place."""
    names = ("HOSTNAME", "RANK", "SIZE", "LOCAL_RANK", "LOCAL_SIZE", "CROSS_RANK", "CROSS_SIZE")
    found = [[slot.variables[f"HOROVOD_{name}"] for name in names] for slot in gloo.slots((Host("a", 1), Host("b", 2)))]
    assert found == [
        ["a", "0", "3", "0", "1", "0", "2"],
        ["b", "1", "3", "0", "2", "1", "2"],
        ["b", "2", "3", "1", "2", "0", "1"],
    ]


def test_shared_addresses_are_left_out() -> None:
    a, b = ["eth0", "10.0.0.1", 24], ["ens3", "10.0.0.2", 24]
    choice = network.choose([answer("a", DOCKER, a), answer("b", DOCKER, b)], None)
    assert choice.mpi == {
        "OMPI_MCA_btl_tcp_if_include": "10.0.0.0/24",
        "OMPI_MCA_oob_tcp_if_include": "10.0.0.0/24",
    }
    assert [choice.of_host[name].name for name in "ab"] == ["eth0", "ens3"]  # type: ignore[union-attr]
    assert "NCCL_SOCKET_IFNAME" not in choice.settings({})  # the hosts have different names for it


def test_hosts_without_a_common_network() -> None:
    choice = network.choose(
        [answer("a", DOCKER, ["eth0", "10.0.0.1", 32]), answer("b", DOCKER, ["eth0", "10.0.9.2", 32])], None
    )
    assert choice.mpi == {
        "OMPI_MCA_btl_tcp_if_exclude": "127.0.0.0/8,172.17.0.0/16",
        "OMPI_MCA_oob_tcp_if_exclude": "127.0.0.0/8,172.17.0.0/16",
    }
    assert choice.settings({}) == {**choice.mpi, "NCCL_SOCKET_IFNAME": "=eth0"}
    assert choice.settings({"OMPI_MCA_btl_tcp_if_include": "eth0", "NCCL_SOCKET_IFNAME": "eth0"}) == {}


def test_a_given_network() -> None:
    two = [["eth0", "10.0.0.1", 24], ["ib0", "10.9.0.1", 16]], [["eth0", "10.0.0.2", 24], ["ib0", "10.9.0.2", 16]]
    answers = [answer("a", *two[0]), answer("b", *two[1])]
    choice = network.choose(answers, "10.9.0.0/16")
    assert choice.mpi["OMPI_MCA_btl_tcp_if_include"] == choice.mpi["OMPI_MCA_oob_tcp_if_include"] == "10.9.0.0/16"
    assert {i.name for i in choice.of_host.values() if i} == {"ib0"}
    words = "b has no address of its own in --network 10.9.0.0/16; its addresses: eth0 10.0.0.2"
    with pytest.raises(ValueError, match=words):
        network.choose([answers[0], answer("b", two[1][0])], "10.9.0.0/16")


def test_the_rendezvous_server_keeps_values() -> None:
    server = Rendezvous("127.0.0.1")
    place = f"http://127.0.0.1:{server.port}/global/0"
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(place)
    for method, data in (("PUT", b"an address"), ("DELETE", None)):
        urllib.request.urlopen(urllib.request.Request(place, data=data, method=method))
    assert urllib.request.urlopen(place).read() == b"an address"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("words", "folder"),
    [
        ("--data d --run-dir r", "r"),
        ("--run-dir=r --seed 1", "r"),
        ("--resume r", "r"),
        ("--run-dir a --resume b", "b"),
        ("--data d", None),
        ("--run-dir", None),
    ],
)
def test_the_run_folder_of_a_training(words: str, folder: str | None) -> None:
    assert restarts.run_folder(words.split()) == folder


LAUNCH = Launch(ranks=4, module="vaecf.train", arguments=("--data", "d", "--run-dir", "r"), hosts="a:2,b:2", restarts=2)
HERE = ("r/run.json",)


def test_a_restart_goes_on_with_the_hosts_that_answer() -> None:
    both = restarts.resumed(LAUNCH, [answer("a", files=HERE), answer("b")], HERE[0])
    assert (both.ranks, both.hosts, both.arguments) == (4, "a:2,b:2", ("--resume", "r"))
    one = restarts.resumed(LAUNCH, [answer("a", files=HERE), answer("b", problem="b is gone")], HERE[0])
    assert (one.ranks, one.hosts, one.arguments) == (2, "a:2", ("--resume", "r"))


def test_a_restart_without_a_run_folder_starts_anew() -> None:
    again = restarts.resumed(LAUNCH, [answer("a"), answer("b")], HERE[0])
    assert again.arguments == LAUNCH.arguments


def test_a_restart_without_the_host_of_the_run_folder() -> None:
    gone = answer("a", problem="a cannot be reached")
    with pytest.raises(ValueError, match="a cannot be reached: the run folder is on that host, so nothing can go on"):
        restarts.resumed(LAUNCH, [gone, answer("b")], HERE[0])
    shared = restarts.resumed(LAUNCH, [gone, answer("b", files=HERE)], HERE[0])  # on a shared file system
    assert (shared.ranks, shared.hosts) == (2, "b:2")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "run -np 2 --restarts 1 data_prep -- x",
            "--restarts is for training, as vaecf.train; data_prep has no checkp",
        ),
        ("run -np 2 --restarts 1 vaecf.train -- --data d", "--restarts needs --run-dir or --resume among the flags"),
        ("run -np 2", "module is missing"),
        ("run -H a:1,b -np 3 m", "-H a:1,b has 2 slots, fewer than -np 3"),
    ],
)
def test_bad_words_are_one_line(words: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        status = main(words.split())
    except SystemExit as error:
        status = error.code  # type: ignore[assignment]
    said = capsys.readouterr().err
    assert status == 2
    assert said.startswith(f"error: {message}")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("env", "refused"),
    [
        ({"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2"}, True),
        ({"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2", "RECSYS_SINGLE": "1"}, False),
        ({"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "1"}, False),
        ({"SLURM_NTASKS": "2", "SLURM_PROCID": "0"}, False),  # a batch script
    ],
)
def test_srun_starts_one_launcher(env: dict[str, str], refused: bool) -> None:
    with pytest.raises(ValueError, match="srun started 2 launchers") if refused else contextlib.nullcontext():
        starting.refuse_several_launchers(env)


def test_ranks_fill_all_slots(capsys: pytest.CaptureFixture[str]) -> None:
    assert main("run -H a.invalid:2,b.invalid:3 --dry-run m".split()) == 0
    assert "mpirun -np 5 -H a.invalid:2,b.invalid:3 " in capsys.readouterr().out
    assert main("run -H a.invalid:1,b.invalid:1 --gloo --dry-run m".split()) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("on a.invalid: HOROVOD_HOSTNAME=a.invalid HOROVOD_RANK=0 HOROVOD_SIZE=2 ")
    assert second.startswith("on b.invalid: HOROVOD_HOSTNAME=b.invalid HOROVOD_RANK=1 HOROVOD_SIZE=2 ")


def test_versions_that_differ() -> None:
    same = {"python": "3.11.7", "TensorFlow": "2.17.1"}
    facts = [Answer("a", {"versions": same}), Answer("b", {"versions": same | {"TensorFlow": "2.16.2"}})]
    facts.append(Answer("c", {"versions": same | {"TensorFlow": ""}}))
    assert check.differences(facts) == [
        "b has TensorFlow 2.16.2, a has 2.17.1",
        "c has no TensorFlow, a has 2.17.1",
    ]
