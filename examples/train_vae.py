"""Train VAE-CF: hold out customers, train Mult-VAE, compare it with popularity and EASE, look at the curves.

    python -m examples.train_vae

Takes about 20 seconds on 2 CPU cores. Expect test NDCG@100 of about 0.50, popularity 0.26, EASE 0.47.
"""

from __future__ import annotations

from examples.shop import purchases
from recsys_core import Dataset, Trainer
from vaecf import MultVae


def main() -> None:
    """Train and print the results."""
    data = Dataset.from_frame(purchases(), user="customer", item="article", time="bought_at")
    data = data.split("users", held_out=0.15)  # 15 % of the customers for validation, as many for the test
    model = MultVae(data, preset="paper", latent=64)  # settings of the model, by their names
    # Without run_dir="runs/a" the folder of the run is temporary.
    trainer = Trainer(epochs=20, evaluate_every=2, baselines=("ease",))
    run = trainer.fit(model, data)
    print(run.history[["epoch", "loss", "ndcg@100"]].round(3).to_string(index=False))
    print(run.test.table().round(3))
    print("passed its gate:", run.passed)  # by default: better than popularity on the validation customers


if __name__ == "__main__":
    main()
