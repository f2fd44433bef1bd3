"""Command line: ``python -m horovod_launch install|run|doctor|slurm|k8s``."""

from __future__ import annotations

import argparse
import os
import sys

from horovod_launch import check, doctor, gpus, hosts, install, restarts, starting
from horovod_launch.command import Launch
from horovod_launch.jobs import INTERRUPTED
from horovod_launch.parser import LaunchParser
from horovod_launch.probe import cores
from horovod_launch.templates import Cluster, mpi_job, slurm

RUN_EXAMPLES = """examples:
  python -m horovod_launch run -np 4 vaecf.train -- --data data/mine --run-dir runs/a
  python -m horovod_launch run -H node1:4,node2:4 --check
  python -m horovod_launch run -H node1:4,node2:4 --restarts 3 vaecf.train -- --data data/mine --run-dir runs/b

SIGTERM, SIGUSR1 and Ctrl-C are passed on to all ranks: a training saves a checkpoint and stops. A second Ctrl-C
ends all at once. Exit status: that of the first rank that fails; 130 after Ctrl-C; 2 bad input."""
DESCRIPTION = """Start training on ranks: here, on other hosts, on Slurm, on Kubernetes.

Prefer `run` to horovodrun: it divides the cores among the ranks, keeps the exit status of the module,
passes signals on and prints lines as they are. horovodrun writes [1,0]<stderr>: or [0]<stderr>: before
every line and has no flag against it."""


RANKS = "all slots of -H; else one a GPU of this machine, or one a core where there is none"


def _add_launch(parser: argparse.ArgumentParser, module_needed: bool = True) -> None:
    parser.add_argument("module", nargs=None if module_needed else "?", help="what to start, as vaecf.train")
    parser.add_argument("arguments", nargs="*", help="its flags, after --")
    add = parser.add_argument
    add("-np", "--ranks", type=int, metavar="N", help=f"processes (default: {RANKS})")
    add("--gloo", action="store_true", help="Gloo instead of MPI: needs no MPI, slower on CPUs")
    add("--threads", type=int, metavar="N", help="threads a rank (default: the cores of its host, shared evenly)")
    add("--timeline", metavar="FILE", help="write Horovod's timeline there")


def _add_hosts(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "-H",
        "--hosts",
        metavar="LIST",
        help="host:slots,host:slots, reached by ssh without a password; the first has the run folder, each has the "
        "project and the data at the same path (default: this machine)",
    )
    add(
        "--network",
        metavar="CIDR",
        help="network for messages of ranks, as 10.0.0.0/8 (default: those where each host has an address)",
    )
    add("--check", action="store_true", help="compare the hosts, add up a gradient over all of them, and start nothing")
    add(
        "--restarts",
        type=int,
        metavar="N",
        default=0,
        help="start a training that lost a rank or a host again from its last checkpoint, up to N times (default: 0)",
    )
    add("--dry-run", action="store_true", help="print the command and start nothing")


def _add_cluster(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--nodes", type=int, metavar="N", default=1, help="machines (default: %(default)s)")
    add("--cores-per-rank", type=int, metavar="N", default=4, help="(default: %(default)s)")
    add("--gpus-per-node", type=int, metavar="N", default=0, help="(default: %(default)s)")
    add("--hours", type=int, metavar="N", default=4, help="time limit (Slurm; default: %(default)s)")
    add("--image", default="recsys-scale:latest", help="container image (k8s; default: %(default)s)")
    add("--volume-claim", metavar="NAME", default="recsys-data", help="volume mounted at /data (k8s)")
    add("--name", default="vaecf", help="name of the job (default: %(default)s)")


def build_parser() -> LaunchParser:
    command = "python -m horovod_launch"
    parser = LaunchParser(
        prog=command,
        usage=f"{command} ACTION [options]",
        description=DESCRIPTION,
        epilog=f"options of an action: {command} ACTION --help\n\n{RUN_EXAMPLES}",
    )
    actions = parser.add_subparsers(dest="action", required=True, title="actions", metavar="ACTION", prog=command)
    installing = actions.add_parser(
        "install", help="create .venv and build Horovod", usage=f"{command} install [options]"
    )
    install.add_arguments(installing)
    run = actions.add_parser(
        "run",
        help="start a module on N ranks of this machine or others",
        usage=f"{command} run [-np N] [options] MODULE -- ITS FLAGS",
        description="Start a module on N ranks, with threads and binding set for this machine.",
        epilog=RUN_EXAMPLES,
    )
    _add_launch(run, module_needed=False)
    _add_hosts(run)
    run.set_defaults(parser=run)
    actions.add_parser("doctor", help="print what this installation can do, and test it on two ranks")
    for name, text in (("slurm", "print a Slurm batch script"), ("k8s", "print a Kubernetes MPIJob")):
        example = f"{command} {name} --nodes 2 -np 8 vaecf.train -- --data data/mine --run-dir runs/a"
        target = actions.add_parser(
            name,
            help=text,
            usage=f"{command} {name} [--nodes N] [-np N] [options] MODULE -- ITS FLAGS",
            epilog=f"example:\n  {example}",
        )
        _add_launch(target)
        _add_cluster(target)
    return parser


def _default_ranks(args: argparse.Namespace, on_gpus: int) -> int:
    given = getattr(args, "hosts", None)
    return sum(host.slots for host in hosts.parsed(given)) if given else on_gpus or cores()


def _launch(args: argparse.Namespace, gpus_here: int = 0) -> Launch:
    """The launch that the flags ask for.

    Args:
        gpus_here: GPUs that ranks on this machine take, one each; 0 where they take none.
    """
    return Launch(
        ranks=_default_ranks(args, gpus_here) if args.ranks is None else args.ranks,
        module=args.module or "",
        arguments=tuple(args.arguments),
        hosts=getattr(args, "hosts", None),
        gloo=args.gloo,
        threads=args.threads,
        timeline=args.timeline,
        network=getattr(args, "network", None),
        restarts=getattr(args, "restarts", 0),
    )


def _cluster(args: argparse.Namespace) -> Cluster:
    return Cluster(
        nodes=args.nodes,
        cores_per_rank=args.cores_per_rank,
        gpus_per_node=args.gpus_per_node,
        hours=args.hours,
        image=args.image,
        volume_claim=args.volume_claim,
        name=args.name,
    )


def _run(args: argparse.Namespace) -> int:
    if args.check:
        return check.main(_launch(args))
    if not args.module:
        args.parser.error("module is missing")
    launch = _launch(args, gpus.taken(args.module, os.environ))
    restarts.check(launch)
    starting.refuse_several_launchers(os.environ)
    if args.dry_run:
        print("\n".join(starting.dry_run(launch)))
        return 0
    if launch.is_one_process() and not launch.restarts:
        return starting.replace_this_process(launch)
    return restarts.run(launch)


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    try:
        if args.action == "install":
            return install.main(args)
        if args.action == "doctor":
            return doctor.main()
        if args.action == "run":
            return _run(args)
        print(
            slurm(_launch(args), _cluster(args)) if args.action == "slurm" else mpi_job(_launch(args), _cluster(args)),
            end="",
        )
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except FileNotFoundError as error:
        print(f"error: {error.filename} is not installed; run: make setup", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # while the hosts are asked; ranks that run are in `jobs.supervise`
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
