"""What every model of this project shares: data set, input pipeline, ranks, training loop, evaluation.

No model lives here. Shape legend of this package: U users, I items, B users in a batch, N interactions in a batch,
K top-k, M metrics, H hidden units, L latent units.
"""

import os

# Read by TensorFlow when it is imported, so set here, before any module of ours can import it.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# TensorFlow leaves its oneDNN kernels off on CPUs without AVX-512; there too they multiply matrices 1.2 to 1.9 times
# as fast as its own (`python -m benchmarks train`, with TF_ENABLE_ONEDNN_OPTS=0 and 1).
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
