"""The networks that ranks on several hosts talk over: which interfaces are taken, and how each library is told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, ip_network

from horovod_launch.asking import Answer
from horovod_launch.hosts import address_of

TCP = ("OMPI_MCA_btl_tcp_if", "OMPI_MCA_oob_tcp_if")
"""Open MPI's settings for messages of ranks and of its daemons; `_include` or `_exclude` follows."""


@dataclass(frozen=True)
class Interface:
    """A network interface of a host."""

    name: str
    address: IPv4Address
    network: IPv4Network


def _interfaces(answer: Answer) -> list[Interface]:
    return [
        Interface(name, IPv4Address(address), IPv4Network(f"{address}/{length}", strict=False))
        for name, address, length in answer.facts["interfaces"]
    ]


def parsed(text: str) -> IPv4Network:
    """The network that --network names.

    Raises:
        ValueError: it is not one.
    """
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        network = None
    if not isinstance(network, IPv4Network):
        raise ValueError(f"--network is {text!r}, expected an IPv4 network as 10.0.0.0/8")
    return network


@dataclass(frozen=True)
class Choice:
    """The interfaces that the ranks of a launch use."""

    of_host: Mapping[str, Interface | None]
    """The interface for Gloo on each host; None where nothing is known of it."""
    mpi: Mapping[str, str]
    """Settings of Open MPI."""

    def settings(self, base: Mapping[str, str]) -> dict[str, str]:
        """Variables for ranks under MPI, without those that the user set already."""
        own = any(name.startswith(TCP) for name in base)
        found = {} if own else dict(self.mpi)
        names = {interface.name for interface in self.of_host.values() if interface}
        if len(names) == 1 and "NCCL_SOCKET_IFNAME" not in base:
            found["NCCL_SOCKET_IFNAME"] = f"={names.pop()}"
        return found


def choose(answers: Sequence[Answer], given: str | None) -> Choice:
    """The interfaces for ranks on these hosts.

    Loopback is left out, and every address that two hosts have, such as that of Docker's bridge. Networks in which each
    host has an address come first; where there is none, all that is left is taken.

    Args:
        given: the network of --network, None to choose.

    Raises:
        ValueError: a host has no address in the given network.
    """
    counts = Counter(i.address for answer in answers for i in _interfaces(answer))
    usable, left_out = {}, {IPv4Network("127.0.0.0/8")}
    for answer in answers:
        everything = _interfaces(answer)
        left_out |= {i.network for i in everything if counts[i.address] > 1 and not i.address.is_loopback}
        usable[answer.host] = [i for i in everything if counts[i.address] == 1 and not i.address.is_loopback]
    if given is not None:
        return _in_network(usable, parsed(given))
    common = set.intersection(*({i.network for i in found} for found in usable.values()))
    chosen = {host: [i for i in found if i.network in common] or found for host, found in usable.items()}
    if common:
        mpi = {f"{name}_include": ",".join(sorted(map(str, common))) for name in TCP}
    else:
        mpi = {f"{name}_exclude": ",".join(sorted(map(str, left_out))) for name in TCP}
    return Choice({host: _preferred(host, found) for host, found in chosen.items()}, mpi)


def _in_network(usable: Mapping[str, Sequence[Interface]], network: IPv4Network) -> Choice:
    chosen: dict[str, Interface | None] = {}
    for host, found in usable.items():
        inside = [i for i in found if i.address in network]
        if not inside:
            own = ", ".join(f"{i.name} {i.address}" for i in found) or "none besides loopback"
            raise ValueError(f"{host} has no address of its own in --network {network}; its addresses: {own}")
        chosen[host] = _preferred(host, inside)
    return Choice(chosen, {f"{name}_include": str(network) for name in TCP})


def _preferred(host: str, found: Sequence[Interface]) -> Interface | None:
    """The interface that the host's name leads to, else the first."""
    named = address_of(host)
    return next((i for i in found if str(i.address) == named), found[0] if found else None)
