"""Train NCF: hold out the last purchases of each customer, train NeuMF, rank 99 other articles against them.

    python -m examples.train_ncf

Takes about 25 seconds on 2 CPU cores. Expect test HR@10 among 100 candidates of about 0.48, popularity 0.23.
"""

from __future__ import annotations

from examples.shop import purchases
from ncf_tf import NeuMf
from recsys_core import Dataset, Trainer


def main() -> None:
    """Train and print the results."""
    table = purchases()
    data = Dataset.from_frame(table, user="customer", item="article", time="bought_at").split("leave-one-out")
    model = NeuMf(data, preset="he2017", factors=8)
    run = Trainer(epochs=24).fit(model, data)
    # "sampled": among the held-out article and 99 others. "all": among all articles that the customer has not bought.
    print(run.test.table().round(3))
    print("passed its gate:", run.passed)
    print(model.recommend([table["customer"][0]], k=5))  # NCF knows the customers that it was trained on, no others


if __name__ == "__main__":
    main()
