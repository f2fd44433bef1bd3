"""What the tests of the GPU compare; read by the tests and by `tests.gpu.program`."""

STEPS = 50
PRECISIONS = ("fp32", "bf16", "fp16")
MODELS = ("vae:200", "he2017-8:5000")
METRICS = ("ndcg@100", "recall@20", "recall@50")
