"""Ranking metrics, the evaluator that shards users over ranks, baselines, and the gate that judges a run."""
