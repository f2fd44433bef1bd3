"""Start training on any machine: environment, launch commands, self-test. Standard library only, nothing of ours.

python -m horovod_launch install     create .venv with every pinned package and build Horovod
python -m horovod_launch run         start a module on N ranks with threads and binding set for this machine
python -m horovod_launch doctor      print what this installation can do and prove that gradients are reduced
python -m horovod_launch slurm|k8s   print the batch script or the Kubernetes MPIJob for the same run
"""
