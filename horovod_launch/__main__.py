"""Command line: ``python -m horovod_launch install|run|doctor|slurm|k8s``."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

from horovod_launch import doctor, install
from horovod_launch.command import Launch, command, cores_here, environment, shown
from horovod_launch.templates import Cluster, mpi_job, slurm


def _add_launch(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-np", "--ranks", type=int, default=cores_here(), help="processes (default: one a core)")
    parser.add_argument("-H", "--hosts", help="host:slots,host:slots (default: this machine)")
    parser.add_argument("--gloo", action="store_true", help="Gloo instead of MPI")
    parser.add_argument("--threads", type=int, help="threads a rank (default: the cores shared evenly)")
    parser.add_argument("--timeline", metavar="FILE", help="write Horovod's timeline there")
    parser.add_argument("module", help="what to start, as vaecf.train")
    parser.add_argument("arguments", nargs="*", help="its arguments, after --")


def _add_cluster(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--nodes", type=int, default=1)
    parser.add_argument("--cores-per-rank", type=int, default=4)
    parser.add_argument("--gpus-per-node", type=int, default=0)
    parser.add_argument("--hours", type=int, default=4, help="time limit (Slurm)")
    parser.add_argument("--image", default="recsys-scale:latest", help="container image (k8s)")
    parser.add_argument("--volume-claim", default="recsys-data", help="volume mounted at /data (k8s)")
    parser.add_argument("--name", default="vaecf", help="name of the job")


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m horovod_launch",
        description="Start training on ranks: here, on Slurm, on Kubernetes.",
        epilog="example: python -m horovod_launch run -np 4 vaecf.train -- --data data/ml-1m --run-dir runs/first",
    )
    actions = parser.add_subparsers(dest="action", required=True)
    install.add_arguments(actions.add_parser("install", help="create .venv and build Horovod"))
    run = actions.add_parser("run", help="start a module on N ranks of this machine or others")
    _add_launch(run)
    run.add_argument("--dry-run", action="store_true", help="print the command and start nothing")
    actions.add_parser("doctor", help="print what this installation can do, and test it on two ranks")
    for name, text in (("slurm", "print a Slurm batch script"), ("k8s", "print a Kubernetes MPIJob")):
        target = actions.add_parser(name, help=text)
        _add_cluster(target)
        _add_launch(target)
    return parser


def _launch(args: argparse.Namespace) -> Launch:
    return Launch(
        ranks=args.ranks,
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
    launch, cores = _launch(args), cores_here()
    env = environment(launch, cores, os.environ)
    line = command(launch, cores, env, os.geteuid() == 0)
    if args.dry_run:
        print(f"OMP_NUM_THREADS={env['OMP_NUM_THREADS']} {shown(line)}")
        return 0
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
