"""Evaluate a saved model offline: other metrics than in training, beside baselines, and customer by customer.

    python -m examples.evaluate

Takes about 20 seconds on 2 CPU cores. Expect test MAP@10 of about 0.22 for the model, 0.20 for EASE and 0.06 for
popularity, and intervals of the differences that leave 0 out.
"""

from __future__ import annotations

import tempfile

from examples.shop import purchases
from recsys_core import Dataset, Trainer, load
from recsys_core.baselines import Ease, Popularity
from recsys_core.evaluation.significance import compare, per_user
from vaecf import MultVae


def main() -> None:
    """Train and save a model, load it, and evaluate it."""
    table = Dataset.from_frame(purchases(), user="customer", item="article")
    data = table.split("users", held_out=0.15)  # the same split each time: it depends on the table and a seed
    with tempfile.TemporaryDirectory() as folder:
        trained = MultVae(data, preset="shallow")
        Trainer(epochs=20).fit(trained, data)
        trained.save(f"{folder}/model")
        model = load(f"{folder}/model", data)
    popularity, ease = Popularity(data), Ease(data)
    for baseline in (popularity, ease):
        baseline.solve()  # in closed form, without a training
    models = {"popularity": popularity, "ease": ease, "model": model}
    for metric in ("map@10", "recall@20"):
        print(f"{metric}, and the difference to popularity with its 95 % interval:")
        print(compare(models, data, metric, reference="popularity").round(3).to_string())
    print("customers with the lowest recall@20:")
    print(per_user(model, data, "recall@20").nsmallest(3).round(3))


if __name__ == "__main__":
    main()
