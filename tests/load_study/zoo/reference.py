"""The eight models again, from their papers: NumPy in float64, one example at a time. Shares no code with the zoo.

`example` of every function holds the inputs of one example by name, `w` the weights of the Keras model by path.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from load_study.zoo.models import ZooModel

Array = npt.NDArray[np.float64]
Weights = dict[str, Array]
Example = dict[str, Any]


def weights_of(zoo_model: ZooModel) -> Weights:
    return {v.path: v.numpy().astype(np.float64) for v in zoo_model.model.variables}


def sigmoid(x: Any) -> Any:
    return 1.0 / (1.0 + np.exp(-x))


def relu(x: Array) -> Array:
    return np.where(x > 0, x, 0.0)


def layers(w: Weights, name: str, x: Array, count: int, between: str = "relu", last: str = "linear") -> Array:
    """Dense layers 0 to count - 1 of the block whose path is `name`."""
    block = name.split("/")[-1]
    for k in range(count):
        x = w[f"{name}/{block}_{k}/kernel"].T @ x + w[f"{name}/{block}_{k}/bias"]
        kind = last if k == count - 1 else between
        if kind == "relu":
            x = relu(x)
        elif kind == "prelu":
            x = np.where(x > 0, x, w[f"{name}/{block}_{k}_prelu/alpha"] * x)
    return x


def separate(w: Weights, rows: Sequence[int]) -> list[Array]:
    """The tables that lie below each other in one variable."""
    parts, start = [], 0
    for n in rows:
        parts.append(w["tables/rows"][start : start + n])
        start += n
    assert start == len(w["tables/rows"])
    return parts


def dlrm(w: Weights, e: Example, c: Any) -> Array:
    """Naumov et al. 2019 with the interaction "cat"."""
    parts = [layers(w, "bottom", e["dense"], len(c.bottom), last="relu")]
    for table, ids in zip(separate(w, [t.rows for t in c.tables]), e["ids"], strict=True):
        bag = np.zeros(table.shape[1])
        for k in ids:
            bag += table[k]
        parts.append(bag)
    return sigmoid(layers(w, "top", np.concatenate(parts), len(c.top))[0])


def ncf(w: Weights, e: Example, c: Any) -> Array:
    """He et al. 2017, equations 8, 10 and 12."""
    user, item = e["user"], e["item"]
    gmf = w["table_gmf_user/rows"][user] * w["table_gmf_item/rows"][item]
    both = np.concatenate([w["table_mlp_user/rows"][user], w["table_mlp_item/rows"][item]])
    hidden = layers(w, "mlp", both, len(c.hidden), last="relu")
    return sigmoid(np.concatenate([gmf, hidden]) @ w["output/output_0/kernel"][:, 0] + w["output/output_0/bias"][0])


def wide_and_deep(w: Weights, e: Example, c: Any) -> Any:
    """Cheng et al. 2016, equation 3, for each task."""
    tables = separate(w, [t.rows for t in c.tables[:-1]])
    deep = np.concatenate([e["dense"], *(table[k] for table, k in zip(tables, e["ids"], strict=True))])
    shared = layers(w, "shared", deep, len(c.shared), last="relu")
    first, second = (int(e["ids"][k]) for k in c.crossed)
    wide = w["wide/rows"][(first * 2_654_435_761 + second) % len(w["wide/rows"])]
    scores = [sigmoid(layers(w, f"task{k}", shared, len(c.tower))[0] + wide[k]) for k in range(c.tasks)]
    return scores if c.tasks > 1 else scores[0]


def bag(w: Weights, name: str, ids: Any) -> Array:
    """The sum of one row or several of a table."""
    return w[f"table_{name}/rows"][np.atleast_1d(ids)].sum(axis=0)


def activation(w: Weights, path: str, behaviours: Array, ad: Array) -> Array:
    """Zhou et al. 2018, equation 3: [W] from behaviours [N, W] and the ad [W]."""
    total = np.zeros_like(ad)
    for behaviour in behaviours:
        pair = np.concatenate([behaviour, ad, behaviour - ad, behaviour * ad])
        total += layers(w, path, pair, 2, between="prelu")[0] * behaviour
    return total


def click(w: Weights, parts: Sequence[Array], count: int) -> Any:
    """Probability of the first of two classes."""
    logits = layers(w, "top", np.concatenate(parts), count, between="prelu")
    return np.exp(logits[0]) / np.exp(logits).sum()


def din(w: Weights, e: Example, c: Any) -> Any:
    """Zhou et al. 2018."""
    behaviours = np.array([bag(w, "behaviours", ids) for ids in e["behaviours"]])
    ad = bag(w, "ad", e["ad"])
    interest = activation(w, "activation/attention", behaviours, ad)
    return click(w, [bag(w, "user", e["user"]), interest, ad, bag(w, "context", e["context"])], len(c.top))


def gru_step(w: Weights, name: str, h: Array, x: Array, attention: float = 1.0) -> Array:
    """Zhou et al. 2019: a step of the GRU, or of the AUGRU, whose update gate is u' = a u."""
    update, reset, candidate = np.split(w[f"{name}/kernel"], 3, axis=1)
    from_update, from_reset, from_candidate = np.split(w[f"{name}/recurrent"], 3, axis=1)
    of_update, of_reset, of_candidate = np.split(w[f"{name}/bias"], 3)
    u = sigmoid(update.T @ x + from_update.T @ h + of_update)
    r = sigmoid(reset.T @ x + from_reset.T @ h + of_reset)
    new = np.tanh(candidate.T @ x + r * (from_candidate.T @ h) + of_candidate)
    scaled = attention * u
    return (1.0 - scaled) * h + scaled * new


def dien(w: Weights, e: Example, c: Any) -> Any:
    """Zhou et al. 2019."""
    ad, states = bag(w, "ad", e["ad"]), [np.zeros(c.hidden)]
    for k in e["behaviours"]:
        states.append(gru_step(w, "interest", states[-1], bag(w, "behaviours", k)))
    energies = np.array([h @ w["relevance/kernel"].T @ ad for h in states[1:]])
    attention = np.exp(energies) / np.exp(energies).sum()
    last = np.zeros(c.hidden)
    for h, a in zip(states[1:], attention, strict=True):
        last = gru_step(w, "evolution", last, h, a)
    return click(w, [bag(w, "user", e["user"]), last, ad, bag(w, "context", e["context"])], len(c.top))


FORWARD: dict[str, Callable[[Weights, Example, Any], Any]] = {
    "rmc1": dlrm,
    "rmc2": dlrm,
    "rmc3": dlrm,
    "ncf": ncf,
    "wnd": wide_and_deep,
    "mtwnd": wide_and_deep,
    "din": din,
    "dien": dien,
}


def scores(zoo_model: ZooModel, inputs: dict[str, npt.NDArray]) -> Array:
    """[B] or [B, T] for a whole batch."""
    w, batch = weights_of(zoo_model), len(next(iter(inputs.values())))
    forward = FORWARD[zoo_model.name]
    examples = ({name: values[k] for name, values in inputs.items()} for k in range(batch))
    return np.array([forward(w, example, zoo_model.configuration) for example in examples])
