"""Mult-VAE and NeuMF in plain PyTorch, for the comparison with ours. Needs the extra `peers`.

Dense histories made with `toarray`, dense layers, `log_softmax`, `torch.optim.Adam`; NeuMF with `nn.Embedding`, a
batch's negatives drawn by `torch.randint`. Started by `peers` as a process of its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.random_pairs import random_pairs
from benchmarks.shapes import HIDDEN, LATENT, NEGATIVES, SHAPES
from recsys_core.dataset import Dataset


class MultVae(nn.Module):
    """Mult-VAE of Liang et al. 2018, I - H - L - H - I."""

    def __init__(self, n_items: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(n_items, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, 2 * LATENT))
        self.decoder = nn.Sequential(nn.Linear(LATENT, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, n_items))

    def forward(self, histories: Tensor) -> Tensor:
        """Loss [] of histories [B, I]."""
        x = F.dropout(F.normalize(histories), 0.5)
        mean, log_variance = self.encoder(x).chunk(2, dim=1)
        code = mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)
        chances = F.log_softmax(self.decoder(code).float(), dim=1)
        nll = -(chances * histories).sum(dim=1).mean()
        kl = 0.5 * (log_variance.exp() + mean**2 - 1 - log_variance).float().sum(dim=1).mean()
        return nll + 0.2 * kl


class NeuMf(nn.Module):
    """NeuMF of He et al. 2017."""

    def __init__(self, shape: Any) -> None:
        super().__init__()
        half = shape.tower[0] // 2
        self.gmf_users, self.gmf_items = (nn.Embedding(n, shape.factors) for n in (shape.users, shape.items))
        self.mlp_users, self.mlp_items = (nn.Embedding(n, half) for n in (shape.users, shape.items))
        layers: list[nn.Module] = []
        for wide, narrow in zip(shape.tower[:-1], shape.tower[1:], strict=True):
            layers += [nn.Dropout(shape.dropout), nn.Linear(wide, narrow), nn.ReLU()]
        self.tower = nn.Sequential(*layers)
        self.output = nn.Linear(shape.factors + shape.tower[-1], 1)

    def forward(self, users: Tensor, items: Tensor, labels: Tensor) -> Tensor:
        """Loss [] of samples [B]."""
        product = self.gmf_users(users) * self.gmf_items(items)
        deep = self.tower(torch.cat([self.mlp_users(users), self.mlp_items(items)], dim=1))
        logits = self.output(torch.cat([product, deep], dim=1)).squeeze(1)
        return F.binary_cross_entropy_with_logits(logits.float(), labels)


def vae_batches(data: Path, batch: int) -> tuple[int, Callable[[], tuple[Tensor, ...]]]:
    """Items, and what makes the next batch."""
    matrix = Dataset.open(data).train.to_scipy()
    rng, place = np.random.default_rng(0), 0
    order = rng.permutation(matrix.shape[0])

    def following() -> tuple[Tensor, ...]:
        nonlocal order, place
        if place + batch > len(order):
            order, place = rng.permutation(matrix.shape[0]), 0
        rows = order[place : place + batch]
        place += batch
        return (torch.from_numpy(matrix[rows].toarray().astype(np.float32, copy=False)),)

    return matrix.shape[1], following


def ncf_batches(name: str, batch: int) -> Callable[[], tuple[Tensor, ...]]:
    """What makes the next batch: positives in random order, each with its negatives."""
    shape, train = SHAPES[name], random_pairs(SHAPES[name])
    items = torch.from_numpy(np.asarray(train.indices, np.int64))
    users = torch.arange(shape.users).repeat_interleave(torch.from_numpy(np.diff(train.indptr)))
    pairs = batch // (1 + NEGATIVES)
    labels = torch.cat([torch.ones(pairs), torch.zeros(pairs * NEGATIVES)])
    order, place = torch.randperm(len(items)), 0

    def following() -> tuple[Tensor, ...]:
        nonlocal order, place
        if place + pairs > len(order):
            order, place = torch.randperm(len(items)), 0
        some = order[place : place + pairs]
        place += pairs
        drawn = torch.randint(shape.items, (pairs * NEGATIVES,))
        return users[some].repeat(1 + NEGATIVES), torch.cat([items[some], drawn]), labels

    return following


def measure(model: nn.Module, following: Callable[[], tuple[Tensor, ...]], bf16: bool, seconds: float) -> float:
    """Steps/s after two steps of warm-up."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def step() -> None:
        batch = following()
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16) if bf16 else nullcontext():
            loss = model(*batch)
        loss.backward()
        optimizer.step()

    for _ in range(2):
        step()
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        step()
        count += 1
    return count / (time.perf_counter() - start)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.torch_peer", description=__doc__)
    parser.add_argument("--model", choices=("vae", *SHAPES), required=True)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--threads", type=int, default=0)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    if args.model == "vae":
        n_items, following = vae_batches(args.data, args.batch_size)
        model: nn.Module = MultVae(n_items)
        examples = args.batch_size
    else:
        following, model = ncf_batches(args.model, args.batch_size), NeuMf(SHAPES[args.model])
        examples = args.batch_size // (1 + NEGATIVES) * (1 + NEGATIVES)
    rate = examples * measure(model, following, args.precision == "bf16", args.seconds)
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print("RESULT " + json.dumps({"examples_per_second": rate, "peak_bytes": peak, "torch": torch.__version__}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
