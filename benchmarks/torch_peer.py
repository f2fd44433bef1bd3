"""Mult-VAE and NeuMF in PyTorch, for the comparison with ours. Needs the extra `peers`.

Dense histories made with `toarray` or sparse ones in an `nn.EmbeddingBag`, dense layers, `log_softmax`; NeuMF with
`nn.Embedding`, a batch's negatives drawn by `torch.randint`. `WAYS` has the optimisers. Started by `peers` as a process
of its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.random_pairs import random_pairs
from benchmarks.shapes import HIDDEN, LATENT, NEGATIVES, SHAPES
from recsys_core.dataset import Dataset
from recsys_core.measuring.rounds import WarmUp, warm_up

WAYS = ("adam", "fused", "compiled", "bag", "sparse")
"""torch.optim.Adam; the same, fused; the model compiled besides; histories in an `nn.EmbeddingBag` (VAE-CF); embeddings
with sparse gradients and `torch.optim.SparseAdam` (NeuMF). The last three have the fused Adam too."""
Batches = Callable[[], tuple[Tensor, ...]]
"""Makes the next batch."""


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


class SparseVae(MultVae):
    """The same, with the items of histories instead of dense rows, in the first layer and in the loss."""

    def __init__(self, n_items: int) -> None:
        super().__init__(n_items)
        self.first = nn.EmbeddingBag(n_items, HIDDEN, mode="sum")
        self.bias = nn.Parameter(torch.zeros(HIDDEN))
        self.encoder = self.encoder[1:]

    def forward(self, items: Tensor, starts: Tensor, rows: Tensor, counts: Tensor) -> Tensor:  # type: ignore[override]
        """Loss [] of items [E] of the users [E] `rows`, those of a user from starts [B]; counts [B] items a user."""
        weights = F.dropout(counts.rsqrt()[rows], 0.5)
        mean, log_variance = self.encoder(self.first(items, starts, weights) + self.bias).chunk(2, dim=1)
        code = mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)
        logits = self.decoder(code).float()
        nll = (counts * logits.logsumexp(dim=1)).mean() - logits[rows, items].sum() / len(counts)
        kl = 0.5 * (log_variance.exp() + mean**2 - 1 - log_variance).float().sum(dim=1).mean()
        return nll + 0.2 * kl


class NeuMf(nn.Module):
    """NeuMF of He et al. 2017."""

    def __init__(self, shape: Any, sparse: bool = False) -> None:
        super().__init__()
        half = shape.tower[0] // 2
        sizes = (shape.users, shape.items)
        self.gmf_users, self.gmf_items = (nn.Embedding(n, shape.factors, sparse=sparse) for n in sizes)
        self.mlp_users, self.mlp_items = (nn.Embedding(n, half, sparse=sparse) for n in sizes)
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


def dense(rows: Any) -> tuple[Tensor, ...]:
    """Histories [B, I] of a batch of rows."""
    return (torch.from_numpy(rows.toarray().astype(np.float32, copy=False)),)


def sparse(rows: Any) -> tuple[Tensor, ...]:
    """The arguments of `SparseVae.forward`."""
    starts = torch.from_numpy(rows.indptr[:-1].astype(np.int64))
    counts = torch.from_numpy(np.diff(rows.indptr).astype(np.int64))
    users = torch.arange(len(counts)).repeat_interleave(counts)
    return torch.from_numpy(rows.indices.astype(np.int64)), starts, users, counts.float()


def vae_batches(data: Path, batch: int, form: Callable[[Any], tuple[Tensor, ...]]) -> tuple[int, Batches]:
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
        return form(matrix[rows])

    return matrix.shape[1], following


def ncf_batches(name: str, batch: int) -> Batches:
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


def optimizers(model: nn.Module, way: str) -> list[torch.optim.Optimizer]:
    """Adam of all parameters; of the tables whose gradients are sparse, Adam of the rows that were looked up."""
    if way != "sparse":
        return [torch.optim.Adam(model.parameters(), lr=1e-3, fused=way != "adam" or None)]
    tables = [part.weight for part in model.modules() if isinstance(part, nn.Embedding)]
    rest = [p for p in model.parameters() if all(p is not table for table in tables)]
    return [torch.optim.SparseAdam(tables, lr=1e-3), torch.optim.Adam(rest, lr=1e-3, fused=True)]


def measure(model: nn.Module, following: Batches, bf16: bool, seconds: float, way: str) -> tuple[float, WarmUp]:
    """Steps/s after the warm-up."""
    all_optimizers = optimizers(model, way)
    loss_of = torch.compile(model) if way == "compiled" else model

    def step() -> None:
        batch = following()
        for optimizer in all_optimizers:
            optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16) if bf16 else nullcontext():
            loss = loss_of(*batch)
        loss.backward()
        for optimizer in all_optimizers:
            optimizer.step()

    def rate(lasting: float) -> float:
        start, count = time.perf_counter(), 0
        while count == 0 or time.perf_counter() - start < lasting:
            step()
            count += 1
        return count / (time.perf_counter() - start)

    warmed = warm_up(lambda: rate(seconds / 8))
    return rate(seconds), warmed


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.torch_peer", description=__doc__)
    parser.add_argument("--model", choices=("vae", *SHAPES), required=True)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--way", choices=WAYS, default="adam")
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--threads", type=int, default=0)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    if args.model == "vae":
        is_sparse = args.way == "bag"
        n_items, following = vae_batches(args.data, args.batch_size, sparse if is_sparse else dense)
        model: nn.Module = SparseVae(n_items) if is_sparse else MultVae(n_items)
        examples = args.batch_size
    else:
        following, model = ncf_batches(args.model, args.batch_size), NeuMf(SHAPES[args.model], args.way == "sparse")
        examples = args.batch_size // (1 + NEGATIVES) * (1 + NEGATIVES)
    steps, warmed = measure(model, following, args.precision == "bf16", args.seconds, args.way)
    found = {"examples_per_second": examples * steps, "torch": torch.__version__, "warm_up": asdict(warmed)}
    found["peak_bytes"] = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print("RESULT " + json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
