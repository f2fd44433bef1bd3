"""The same run as a Slurm batch script and as a Kubernetes MPIJob (Kubeflow mpi-operator, v2beta1)."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass

from horovod_launch.command import PASSED_ON, PASSED_ON_PREFIXES, SILENCE_S, Launch, keepalive, transport

GRACE_S = 180
"""Time that ranks have to save a checkpoint before they are ended."""


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


def _refuse_gloo(launch: Launch) -> None:
    if launch.gloo:
        raise ValueError("--gloo is for run: the script starts ranks by MPI")


def _mpirun(launch: Launch, cluster: Cluster, flags: str = "") -> str:
    """Lines of a shell that start the ranks as `run` does, and ask them to save a checkpoint when SIGTERM comes.

    The prefix of Open MPI is that of the image or environment: /app/.venv in the one for CPUs, another in NVIDIA's.
    """
    per_node, several = cluster.ranks_per_node(launch), cluster.nodes > 1
    settings = keepalive(SILENCE_S) if several else {}
    if launch.timeline:
        settings["HOROVOD_TIMELINE"] = shlex.quote(launch.timeline)
    exports = "".join(f"export {name}={value}\n" for name, value in settings.items())
    names = "|".join([*sorted(PASSED_ON), *(f"{prefix}.*" for prefix in PASSED_ON_PREFIXES)])
    return f"""{exports}passed_on=()
for name in $(compgen -e | grep -Ex '{names}'); do passed_on+=(-x "$name"); done
prefix="${{OPAL_PREFIX:-$(dirname "$(dirname "$(command -v mpirun)")")}}"
mpirun {flags}-np {launch.ranks} --map-by ppr:{per_node}:node --bind-to none \\
    --prefix "$prefix" "${{passed_on[@]}}" {" ".join(transport(several))} \\
    python -m {shlex.join([launch.module, *launch.arguments])} &
ranks=$!
trap 'kill -USR1 "$ranks"' TERM
status=0
wait "$ranks" || status=$?
if kill -0 "$ranks" 2>/dev/null; then status=0; wait "$ranks" || status=$?; fi
exit "$status"
"""


def slurm(launch: Launch, cluster: Cluster) -> str:
    """A batch script for sbatch."""
    _refuse_gloo(launch)
    per_node = cluster.ranks_per_node(launch)
    gpus = f"#SBATCH --gpus-per-node={cluster.gpus_per_node}\n" if cluster.gpus_per_node else ""
    threads = launch.threads or "${SLURM_CPUS_PER_TASK}"
    return f"""#!/usr/bin/env bash
#SBATCH --job-name={cluster.name}
#SBATCH --nodes={cluster.nodes}
#SBATCH --ntasks-per-node={per_node}
#SBATCH --cpus-per-task={cluster.cores_per_rank}
{gpus}#SBATCH --time={cluster.hours:02d}:00:00
#SBATCH --signal=B:TERM@{GRACE_S}
# Three minutes before the end the ranks are told to save a checkpoint; submit again with --resume to go on.
set -euo pipefail
cd "${{SLURM_SUBMIT_DIR}}"
source .venv/bin/activate
export OPAL_PREFIX="${{VIRTUAL_ENV}}"
export OMP_NUM_THREADS="{threads}"
{_mpirun(launch, cluster)}"""


def mpi_job(launch: Launch, cluster: Cluster) -> str:
    """A Kubeflow MPIJob as JSON, which kubectl reads as it reads YAML (no quoting can go wrong)."""
    _refuse_gloo(launch)
    per_node = cluster.ranks_per_node(launch)
    limits: dict[str, object] = {"cpu": cluster.cores_per_rank * per_node}
    if cluster.gpus_per_node:
        limits["nvidia.com/gpu"] = cluster.gpus_per_node
    mount = {"name": "data", "mountPath": "/data"}
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": cluster.volume_claim}}
    run = ["bash", "-euo", "pipefail", "-c", _mpirun(launch, cluster, "--allow-run-as-root ")]
    threads = [{"name": "OMP_NUM_THREADS", "value": str(launch.threads or cluster.cores_per_rank)}]

    def template(container: dict[str, object]) -> dict[str, object]:
        return {
            "metadata": {"annotations": {"sidecar.istio.io/inject": "false"}},
            "spec": {"containers": [container], "volumes": [volume], "terminationGracePeriodSeconds": GRACE_S},
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
