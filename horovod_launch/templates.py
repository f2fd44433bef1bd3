"""The same run as a Slurm batch script and as a Kubernetes MPIJob (Kubeflow mpi-operator, v2beta1)."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass

from horovod_launch.command import Launch

PREFIX = "/app/.venv"
"""Where Open MPI lies in our CPU image (Dockerfile)."""


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Where the run goes."""

    nodes: int = 1
    cores_per_rank: int = 4
    gpus_per_node: int = 0
    hours: int = 4
    image: str = "recsys-scale:latest"
    volume_claim: str = "recsys-data"
    name: str = "vaecf"

    def ranks_per_node(self, launch: Launch) -> int:
        """Ranks on each node.

        Raises:
            ValueError: they cannot be shared evenly, or have to share GPUs.
        """
        if self.nodes < 1 or launch.ranks % self.nodes:
            raise ValueError(f"-np {launch.ranks} cannot be shared evenly by --nodes {self.nodes}")
        ranks, gpus = launch.ranks // self.nodes, self.gpus_per_node
        if 0 < gpus < ranks:
            raise ValueError(
                f"--gpus-per-node is {gpus}, fewer than the {ranks} ranks of a node, and each rank needs a GPU of its "
                f"own: take -np {gpus * self.nodes} or --gpus-per-node {ranks}"
            )
        return ranks


def slurm(launch: Launch, cluster: Cluster) -> str:
    """A batch script for sbatch."""
    per_node = cluster.ranks_per_node(launch)
    gpus = f"#SBATCH --gpus-per-node={cluster.gpus_per_node}\n" if cluster.gpus_per_node else ""
    arguments = shlex.join(launch.arguments)
    return f"""#!/usr/bin/env bash
#SBATCH --job-name={cluster.name}
#SBATCH --nodes={cluster.nodes}
#SBATCH --ntasks-per-node={per_node}
#SBATCH --cpus-per-task={cluster.cores_per_rank}
{gpus}#SBATCH --time={cluster.hours:02d}:00:00
#SBATCH --signal=B:TERM@180
# Three minutes before the end the ranks are told to save a checkpoint; submit again with --resume to go on.
set -euo pipefail
cd "${{SLURM_SUBMIT_DIR}}"
source .venv/bin/activate
export OPAL_PREFIX="${{VIRTUAL_ENV}}"
export OMP_NUM_THREADS="${{SLURM_CPUS_PER_TASK}}"
mpirun -np {launch.ranks} --map-by ppr:{per_node}:node --bind-to none \\
    --prefix "${{VIRTUAL_ENV}}" -x PATH -x OPAL_PREFIX -x OMP_NUM_THREADS \\
    --mca pml ob1 --mca btl ^openib \\
    python -m {launch.module} {arguments} &
ranks=$!
trap 'kill -USR1 "$ranks"' TERM
status=0
wait "$ranks" || status=$?
if kill -0 "$ranks" 2>/dev/null; then status=0; wait "$ranks" || status=$?; fi
exit "$status"
"""


def mpi_job(launch: Launch, cluster: Cluster) -> str:
    """A Kubeflow MPIJob as JSON, which kubectl reads as it reads YAML (no quoting can go wrong)."""
    per_node = cluster.ranks_per_node(launch)
    limits: dict[str, object] = {"cpu": cluster.cores_per_rank * per_node}
    if cluster.gpus_per_node:
        limits["nvidia.com/gpu"] = cluster.gpus_per_node
    mount = {"name": "data", "mountPath": "/data"}
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": cluster.volume_claim}}
    run = [
        "mpirun", "--allow-run-as-root", "-np", str(launch.ranks), "--bind-to", "none", "--map-by", "slot",
        "--prefix", PREFIX, "-x", "LD_LIBRARY_PATH", "-x", "PATH", "-x", "OPAL_PREFIX", "-x", "OMP_NUM_THREADS",
        "--mca", "pml", "ob1", "--mca", "btl", "^openib",
        "python", "-m", launch.module, *launch.arguments,
    ]  # fmt: skip
    threads = [
        {"name": "OMP_NUM_THREADS", "value": str(cluster.cores_per_rank)},
        {"name": "OPAL_PREFIX", "value": PREFIX},
    ]

    def template(container: dict[str, object]) -> dict[str, object]:
        return {
            "metadata": {"annotations": {"sidecar.istio.io/inject": "false"}},
            "spec": {"containers": [container], "volumes": [volume]},
        }

    common = {"image": cluster.image, "env": threads, "volumeMounts": [mount]}
    job = {
        "apiVersion": "kubeflow.org/v2beta1",
        "kind": "MPIJob",
        "metadata": {"name": cluster.name},
        "spec": {
            "slotsPerWorker": per_node,
            "runPolicy": {"cleanPodPolicy": "Running"},
            "mpiReplicaSpecs": {
                "Launcher": {"replicas": 1, "template": template({"name": "launcher", **common, "command": run})},
                "Worker": {
                    "replicas": cluster.nodes,
                    "template": template({"name": "worker", **common, "resources": {"limits": limits}}),
                },
            },
        },
    }
    return json.dumps(job, indent=2) + "\n"
