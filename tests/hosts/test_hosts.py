"""The hosts that other tests use: names, disks and networks of their own."""

from __future__ import annotations

import shutil
import signal

from tests.hosts.hosts import hosts, signal_to


def test_two_sets_of_hosts_at_once() -> None:
    with hosts() as first, hosts(["a", "b"]) as second:
        assert first.run("h1", ["ssh", "h2", "hostname"]).stdout == "h2\n"
        assert second.run("a", ["ssh", "b", "hostname"]).stdout == "b\n"
        assert "10.77.0.2/24" in first.run("h2", ["ip", "-4", "address"]).stdout
        first.run("h2", ["touch", first.own_disk / "of-h2"])
        assert (first.disk("h2") / "of-h2").exists()
        assert not (first.disk("h1") / "of-h2").exists()
        first.link("h2", up=False)
        assert first.run("h1", ["ssh", "-o", "ConnectTimeout=1", "h2", "true"]).returncode == 255
        first.link("h2", up=True)
        if shutil.which("tc"):
            first.rate("h1", "1gbit")
            assert "rate 1Gbit" in first.run("h1", ["tc", "qdisc", "show", "dev", "eth0"]).stdout
            first.rate("h1", None)
        first.stop("h2")
        first.restart("h2")
        assert first.run("h1", ["ssh", "h2", "hostname"]).stdout == "h2\n"
        sleeping = first.start("h1", ["sleep", "100"])
        while not first.pids("h1", "sleep 100"):
            pass
        signal_to(sleeping, signal.SIGTERM)
        assert sleeping.wait() != 0
