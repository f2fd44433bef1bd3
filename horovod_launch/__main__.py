"""Command line: ``python -m horovod_launch install|run|doctor|slurm|k8s``."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

from horovod_launch import doctor, gpus, install
from horovod_launch.command import Launch, command, cores_here, environment, shown
from horovod_launch.output import run_without_prefix
from horovod_launch.parser import LaunchParser
from horovod_launch.templates import Cluster, mpi_job, slurm

RUN_EXAMPLES = """examples:
  python -m horovod_launch run -np 4 vaecf.train -- --data data/mine --run-dir runs/a
  python -m horovod_launch run -np 8 -H node1:4,node2:4 vaecf.train -- --data data/mine --run-dir runs/b

exit status: that of the module (horovodrun, with --gloo, turns every failure into 1); 2 bad input"""
DESCRIPTION = """Start training on ranks: here, on Slurm, on Kubernetes.

`run` starts mpirun itself. Prefer it to horovodrun: it divides the cores among the ranks, binds them,
keeps the exit status of the module, and prints its lines as they are. horovodrun writes [1,0]<stderr>:
or [0]<stderr>: before every line and has no flag against it; --gloo removes that prefix too."""


RANKS = "one a GPU of this machine, or one a core where there is none"


def _add_launch(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("module", help="what to start, as vaecf.train")
    parser.add_argument("arguments", nargs="*", help="its flags, after --")
    add = parser.add_argument
    add("-np", "--ranks", type=int, metavar="N", help=f"processes (default: {RANKS})")
    add("-H", "--hosts", metavar="LIST", help="host:slots,host:slots (default: this machine)")
    add("--gloo", action="store_true", help="Gloo instead of MPI: needs no MPI, slower on CPUs")
    add("--threads", type=int, metavar="N", help="threads a rank (default: the cores shared evenly)")
    add("--timeline", metavar="FILE", help="write Horovod's timeline there")


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
    _add_launch(run)
    run.add_argument("--dry-run", action="store_true", help="print the command and start nothing")
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


def _launch(args: argparse.Namespace, gpus_here: int = 0) -> Launch:
    """The launch that the flags ask for.

    Args:
        gpus_here: GPUs that ranks on this machine take, one each; 0 where they take none.
    """
    return Launch(
        ranks=(gpus_here or cores_here()) if args.ranks is None else args.ranks,
        module=args.module,
        arguments=tuple(args.arguments),
        hosts=args.hosts,
        gloo=args.gloo,
        threads=args.threads,
        timeline=args.timeline,
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
    gpus_here = gpus.taken(args.module, os.environ)
    launch, cores = _launch(args, gpus_here), cores_here()
    if launch.is_local():
        gpus.refuse_sharing(launch.ranks, gpus_here)
    env = environment(launch, cores, os.environ)
    line = command(launch, cores, env, os.geteuid() == 0)
    if args.dry_run:
        print(f"OMP_NUM_THREADS={env['OMP_NUM_THREADS']} {shown(line)}")
        return 0
    if line[0] == "horovodrun":
        return run_without_prefix(line, env)
    return subprocess.run(line, env=env, check=False).returncode


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
    return 0


if __name__ == "__main__":
    sys.exit(main())
