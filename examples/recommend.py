"""Recommend from a saved model: for a new customer by what is in the basket, with articles excluded, and similar ones.

    python -m examples.recommend

Takes about 15 seconds on 2 CPU cores. Expect kitchen articles and red ones for the basket, and no tray in the second
list.
"""

from __future__ import annotations

import tempfile

from examples.shop import purchases
from recsys_core import Dataset, Trainer, load
from vaecf import MultVae

BASKET = ["red mug", "red bowl", "blue teapot"]


def main() -> None:
    """Train and save a model, load it, and recommend."""
    data = Dataset.from_frame(purchases(), user="customer", item="article").split("users", held_out=0.15)
    with tempfile.TemporaryDirectory() as folder:
        trained = MultVae(data, preset="shallow")
        Trainer(epochs=10).fit(trained, data)
        trained.save(f"{folder}/model")
        model = load(f"{folder}/model")  # without a data set it knows the articles, and no customer
    print(model.recommend(histories={"a new customer": BASKET}, k=5))
    trays = [article for article in model.data.items["item_id"] if article.endswith("tray")]
    print(model.recommend(histories={"a new customer": BASKET}, k=5, deny=trays))
    print(model.similar_items("red mug", k=5))


if __name__ == "__main__":
    main()
