"""The hosts of a launch: the list of -H, and which rank runs where."""

from __future__ import annotations

import functools
import ipaddress
import socket
from dataclasses import dataclass

from horovod_launch import probe


@dataclass(frozen=True)
class Host:
    """A host and the number of ranks it takes."""

    name: str
    slots: int


def parsed(text: str) -> tuple[Host, ...]:
    """The hosts of "host:slots,host:slots"; a host without a number has one slot, one that is named twice has the sum.

    Raises:
        ValueError: the text has another form.
    """
    slots: dict[str, int] = {}
    for part in text.split(","):
        name, _, count = part.strip().partition(":")
        if not name or not (count or "1").isdigit() or int(count or "1") < 1:
            raise ValueError(f"-H {text}: {part!r} is not host:slots")
        slots[name] = slots.get(name, 0) + int(count or "1")
    return tuple(Host(name, count) for name, count in slots.items())


def filled(hosts: tuple[Host, ...], ranks: int) -> tuple[Host, ...]:
    """The hosts that get ranks, in order, each with as many as it runs."""
    left, chosen = ranks, []
    for host in hosts:
        if taken := min(left, host.slots):
            chosen.append(Host(host.name, taken))
        left -= taken
    return tuple(chosen)


def shown(hosts: tuple[Host, ...]) -> str:
    """The hosts as -H takes them."""
    return ",".join(f"{host.name}:{host.slots}" for host in hosts)


@functools.cache
def address_of(name: str) -> str | None:
    """The IPv4 address that a name stands for on this machine, None for an unknown name."""
    try:
        return socket.gethostbyname(name)
    except OSError:
        return None


def is_this_machine(name: str) -> bool:
    """Whether a name of a host means the machine that this process runs on."""
    if name in ("localhost", socket.gethostname()):
        return True
    address = address_of(name)
    if address is None:
        return False
    return ipaddress.ip_address(address).is_loopback or address in {found[1] for found in probe.interfaces()}
