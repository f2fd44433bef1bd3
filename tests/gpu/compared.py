"""What the tests of the GPU compare; read by the tests and by `tests.gpu.program`."""

STEPS = 50
PRECISIONS = ("fp32", "bf16", "fp16")
MODELS = ("vae:200", "he2017-8:5000")
METRICS = ("ndcg@100", "recall@20", "recall@50")
NCF_METRICS = ("hr@10/sampled", "ndcg@10/sampled", "auc/sampled", "recall@20/all", "ndcg@20/all")
