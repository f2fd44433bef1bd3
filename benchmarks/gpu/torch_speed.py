"""Mult-VAE and NeuMF in PyTorch on one GPU, as fast as plain PyTorch gets: the peer of our compiled step.

Training data lie in device memory; histories are scattered there; `torch.compile`, fused Adam. Started as a file, by a
Python that may have PyTorch and NumPy only: it imports nothing of this project. A setting is a JSON object with all
sizes (`benchmarks.gpu.parts.peer_words`).
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

WINDOWS, STEPS = 3, 10
Batches = Iterator[tuple[Tensor, ...]]


class MultVae(nn.Module):
    """Mult-VAE of Liang et al. 2018, I - H - L - H - I."""

    def __init__(self, n_items: int, hidden: int, latent: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(n_items, hidden), nn.Tanh(), nn.Linear(hidden, 2 * latent))
        self.decoder = nn.Sequential(nn.Linear(latent, hidden), nn.Tanh(), nn.Linear(hidden, n_items))

    def forward(self, histories: Tensor, counts: Tensor) -> Tensor:
        """Loss [] of histories [B, I] of zeros and ones, with counts [B, 1] ones in a row."""
        scaled = F.dropout(histories * counts.rsqrt().to(histories.dtype), 0.5)
        mean, log_variance = self.encoder(scaled).float().chunk(2, dim=1)
        code = mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)
        log_chances = F.log_softmax(self.decoder(code).float(), dim=1)
        nll = -(log_chances * histories).sum(dim=1).mean()
        kl = 0.5 * (log_variance.exp() + mean**2 - 1 - log_variance).sum(dim=1).mean()
        return nll + 0.2 * kl


class NeuMf(nn.Module):
    """NeuMF of He et al. 2017."""

    def __init__(self, users: int, items: int, factors: int, tower: list[int], dropout: float) -> None:
        super().__init__()
        half = tower[0] // 2
        self.gmf_users, self.gmf_items = nn.Embedding(users, factors), nn.Embedding(items, factors)
        self.mlp_users, self.mlp_items = nn.Embedding(users, half), nn.Embedding(items, half)
        layers: list[nn.Module] = []
        for wide, narrow in itertools.pairwise(tower):
            layers += [nn.Dropout(dropout), nn.Linear(wide, narrow), nn.ReLU()]
        self.tower = nn.Sequential(*layers)
        self.output = nn.Linear(factors + tower[-1], 1)

    def forward(self, users: Tensor, items: Tensor, labels: Tensor) -> Tensor:
        """Loss [] of samples [B]."""
        product = self.gmf_users(users) * self.gmf_items(items)
        deep = self.tower(torch.cat([self.mlp_users(users), self.mlp_items(items)], dim=1))
        logits = self.output(torch.cat([product, deep], dim=1)).squeeze(1)
        return F.binary_cross_entropy_with_logits(logits.float(), labels)


def vae_batches(data: Path, n_items: int, batch: int, device: torch.device, dtype: torch.dtype) -> Batches:
    """Histories [B, I] and counts [B, 1] of random users, scattered on the device.

    The host knows how many items a batch has, so no step waits for the device to say it.
    """
    indptr = np.load(data / "train.indptr.npy").astype(np.int64)
    items = torch.from_numpy(np.load(data / "train.indices.npy").astype(np.int64)).to(device)
    starts = torch.from_numpy(indptr[:-1]).to(device)
    lengths = np.diff(indptr)
    device_lengths, rng = torch.from_numpy(lengths).to(device), np.random.default_rng(0)
    while True:
        order = rng.permutation(len(lengths))
        for place in range(0, max(len(order) - batch + 1, 1), batch):
            chosen = order[place : place + batch]
            total = int(lengths[chosen].sum())
            users = torch.from_numpy(chosen).to(device, non_blocking=True)
            counts = device_lengths[users]
            first = torch.repeat_interleave(counts.cumsum(0) - counts, counts, output_size=total)
            rows = torch.repeat_interleave(torch.arange(len(chosen), device=device), counts, output_size=total)
            where = starts[users][rows] + torch.arange(total, device=device) - first
            histories = torch.zeros(len(chosen), n_items, device=device, dtype=dtype)
            histories[rows, items[where]] = 1.0
            yield histories, counts[:, None].float().clamp(min=1.0)


def ncf_batches(setting: dict[str, Any], device: torch.device) -> Batches:
    """Users, items and labels [B]: positives in random order, each with its negatives, drawn on the device."""
    users, items, negatives = setting["users"], setting["items"], setting["negatives"]
    each = setting["pairs"] // users
    owner = torch.arange(users, device=device).repeat_interleave(each)
    wanted = torch.randint(items, (len(owner),), device=device)
    pairs = setting["batch"] // (1 + negatives)
    labels = torch.cat([torch.ones(pairs), torch.zeros(pairs * negatives)]).to(device)
    while True:
        order = torch.randperm(len(owner), device=device)
        for place in range(0, len(order) - pairs + 1, pairs):
            some = order[place : place + pairs]
            drawn = torch.randint(items, (pairs * negatives,), device=device)
            yield owner[some].repeat(1 + negatives), torch.cat([wanted[some], drawn]), labels


def made(setting: dict[str, Any], data: Path, device: torch.device) -> tuple[nn.Module, Batches, int]:
    """The model, its batches, and the examples of a step."""
    if setting["model"] == "vae":
        n_items = int(json.loads((data / "manifest.json").read_text())["counts"]["items"])
        dtype = torch.bfloat16 if setting["precision"] == "bf16" else torch.float32
        batches = vae_batches(data, n_items, setting["batch"], device, dtype)
        return MultVae(n_items, setting["hidden"], setting["latent"]).to(device), batches, setting["batch"]
    sizes = {name: setting[name] for name in ("users", "items", "factors", "tower", "dropout")}
    examples = setting["batch"] // (1 + setting["negatives"]) * (1 + setting["negatives"])
    return NeuMf(**sizes).to(device), ncf_batches(setting, device), examples


def stepping(model: nn.Module, batches: Batches, device: torch.device, bf16: bool, *, compiled: bool) -> Callable:
    """A function that takes one step and returns its loss [] on the device."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    forward = torch.compile(model, dynamic=False) if compiled else model

    def step() -> Tensor:
        batch = next(batches)
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            loss = forward(*batch)
        loss.backward()
        optimizer.step()
        return loss

    return step


def measure(setting: dict[str, Any], data: Path, seconds: float, device: torch.device) -> dict[str, Any]:
    """The figures of a setting. The loss is read once in `STEPS` steps, so the device never waits for the host."""
    torch.manual_seed(0)
    torch.set_float32_matmul_precision("high" if setting["precision"] == "tf32" else "highest")
    on_gpu = device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    model, batches, examples = made(setting, data, device)
    step = stepping(model, batches, device, setting["precision"] == "bf16", compiled=on_gpu)
    start = time.perf_counter()
    first = float(step())
    first_s = time.perf_counter() - start
    last = [float(step()) for _ in range(3)][-1]
    rates = []
    for _ in range(WINDOWS):
        start, count = time.perf_counter(), 0
        while time.perf_counter() - start < seconds:
            for _ in range(STEPS):
                loss = step()
            last, count = float(loss), count + STEPS
        rates.append(count * examples / (time.perf_counter() - start))
    figures = {
        "batch_size": examples,
        "examples_per_second": rates,
        "step_ms": [1e3 * examples / rate for rate in rates],
        "first_step_s": first_s,
        "losses": [first, last],
    }
    return figures | ({"peak_gib": torch.cuda.max_memory_allocated() / 2**30} if on_gpu else {})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("settings", nargs="+", type=json.loads)
    args = parser.parse_args()
    if args.device == "cpu":
        torch.set_num_threads(1)  # the CPU only tries the program, beside other work
    failed = 0
    for setting in args.settings:
        about = {name: setting[name] for name in ("model", "precision")} | {"batch_size": setting["batch"]}
        try:
            figures = measure(setting, args.data, args.seconds, torch.device(args.device))
        except Exception as error:  # the other settings may still run
            failed += 1
            figures = {"failed": [f"{type(error).__name__}: {str(error)[:300]}"]}
        print("RESULT " + json.dumps({"kind": "gpu-peer", **about, "torch": torch.__version__, **figures}), flush=True)
        gc.collect()
        torch.compiler.reset()
        if args.device == "cuda":
            torch.cuda.empty_cache()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
