# Training on CPUs. Build: docker build -t recsys-scale .   Run: docker run -v $PWD/runs:/app/runs recsys-scale
FROM python:3.11-slim
RUN apt-get update && apt-get install -y --no-install-recommends g++ make git openssh-server \
    && rm -rf /var/lib/apt/lists/* && mkdir -p /run/sshd
# What Kubeflow's mpi-operator needs: ranks are started over ssh with mounted keys.
RUN printf 'StrictHostKeyChecking no\nUserKnownHostsFile /dev/null\n' >> /etc/ssh/ssh_config \
    && sed -i 's/#\?StrictModes .*/StrictModes no/' /etc/ssh/sshd_config
WORKDIR /app
COPY setup.cfg pyproject.toml README.md LICENSE Makefile ./
COPY horovod_launch horovod_launch
COPY data_prep data_prep
COPY recsys_core recsys_core
COPY vaecf vaecf
COPY ncf_tf ncf_tf
COPY serving serving
COPY benchmarks benchmarks
COPY load_study load_study
RUN make setup && rm -rf ~/.cache
ENV VIRTUAL_ENV=/app/.venv OPAL_PREFIX=/app/.venv PATH=/app/.venv/bin:$PATH \
    OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
# root, because the mpi-operator's sshd and its keys want it; `docker run --user` works for a single container.
CMD ["make", "train"]
