"""The kinds of model: their tables, inputs and layers, and from these their bytes and operations. No framework.

Where DeepRecSys (Gupta et al. 2020) departs from a model's paper, or says nothing, the class says what stands here.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, kw_only=True)
class Table:
    """An embedding table and how it is read."""

    name: str
    rows: int
    width: int
    lookups: int = 1
    """Ids whose rows are summed."""

    def __post_init__(self) -> None:
        for field in ("rows", "width", "lookups"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field} of table {self.name} is {getattr(self, field)}, expected at least 1")

    @property
    def bytes(self) -> int:
        """In float32."""
        return 4 * self.rows * self.width


class Feature(NamedTuple):
    """An input of a model, without its batch axis."""

    name: str
    shape: tuple[int, ...]
    rows: tuple[int, ...] = ()
    """Of the tables that its ids go to: one for all of them or one for each along the first axis. Empty: no ids."""


class Product(NamedTuple):
    """A product with a matrix that an example needs."""

    name: str
    inputs: int
    outputs: int
    times: int = 1
    output_parameters: int = 0
    """Parameters that belong to its outputs: biases, and slopes of PReLU."""
    learnt: bool = True
    """The matrix is made of parameters, not computed from the example."""

    @property
    def parameters(self) -> int:
        return self.learnt * self.inputs * self.outputs + self.output_parameters

    @property
    def operations(self) -> int:
        return 2 * self.times * self.inputs * self.outputs


def mlp(name: str, widths: Sequence[int], *, times: int = 1, slopes: bool = False) -> list[Product]:
    """Layers from the first width to the last. `slopes`: PReLU after all but the last."""
    pairs = list(itertools.pairwise(widths))
    counts = [b * (1 + (slopes and k < len(pairs) - 1)) for k, (_, b) in enumerate(pairs)]
    return [Product(f"{name}_{k}", *pair, times, counts[k]) for k, pair in enumerate(pairs)]


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """What every model has."""

    name: str
    tables: tuple[Table, ...]
    target_ms: float
    """Tail latency (95th percentile) that DeepRecSys aims at."""
    target_is_published: bool = False
    """The number stands in a file of DeepRecSys's repository. The others are those of the paper's table of models from
    memory: the repository does not hold them and we could not read the table, so verify before use."""

    def features(self) -> tuple[Feature, ...]:
        """The inputs, in a fixed order."""
        raise NotImplementedError

    def products(self) -> list[Product]:
        """All products with matrices behind the tables."""
        raise NotImplementedError

    @property
    def outputs(self) -> int:
        """Scores of an example."""
        return 1

    @property
    def table_bytes(self) -> int:
        return sum(table.bytes for table in self.tables)

    @property
    def dense_parameters(self) -> int:
        """Everything that is not in a table."""
        return sum(product.parameters for product in self.products())

    @property
    def dense_bytes(self) -> int:
        """In float32."""
        return 4 * self.dense_parameters

    @property
    def parameters(self) -> int:
        return self.table_bytes // 4 + self.dense_parameters

    @property
    def operations(self) -> int:
        """Multiplications and additions of an example's products with matrices. Lookups and their sums do not count."""
        return sum(product.operations for product in self.products())


@dataclass(frozen=True, kw_only=True)
class Dlrm(Configuration):
    """DLRM (Naumov et al. 2019) in the sizes of Gupta et al. 2020. The interaction is "cat", as configured there."""

    dense: int
    """Dense features: the first number of the published bottom MLP."""
    bottom: tuple[int, ...]
    top: tuple[int, ...]

    def features(self) -> tuple[Feature, ...]:
        rows = tuple(table.rows for table in self.tables)
        return Feature("dense", (self.dense,)), Feature("ids", (len(rows), self.tables[0].lookups), rows)

    def products(self) -> list[Product]:
        interaction = self.bottom[-1] + sum(table.width for table in self.tables)
        return mlp("bottom", (self.dense, *self.bottom)) + mlp("top", (interaction, *self.top))


@dataclass(frozen=True, kw_only=True)
class Ncf(Configuration):
    """NeuMF (He et al. 2017): tables of users and items for the GMF, then users and items for the MLP.

    DeepRecSys adds the GMF's embeddings up instead of multiplying them, reads two user tables for the GMF and two item
    tables for the MLP, and ends in 64 ReLU units. Here they are multiplied, each part has a user and an item table, and
    the output is one sigmoid.
    """

    hidden: tuple[int, ...]

    def features(self) -> tuple[Feature, ...]:
        return Feature("user", (), (self.tables[0].rows,)), Feature("item", (), (self.tables[1].rows,))

    def products(self) -> list[Product]:
        width = self.tables[2].width + self.tables[3].width
        return mlp("mlp", (width, *self.hidden)) + mlp("output", (self.tables[0].width + self.hidden[-1], 1))


@dataclass(frozen=True, kw_only=True)
class WideAndDeep(Configuration):
    """Wide&Deep (Cheng et al. 2016), with one task or several.

    The deep part takes the dense features and all embeddings side by side. The wide part, which DeepRecSys leaves out,
    is the paper's: a weight for each value of one cross-product of two features. Its table comes last; the paper
    gives no size and the configuration no such table, so its rows are our choice, and ids are hashed into it.

    With several tasks each has a tower of its own on the shared layers and its own wide weights. DeepRecSys runs one
    task, and its tower ends in 128 units. Four tasks are what its paper names (clicks, comments, likes, ratings): from
    memory, its configuration has no such number.
    """

    dense: int
    shared: tuple[int, ...]
    tower: tuple[int, ...]
    """Layers of each task, on the last shared one."""
    tasks: int = 1
    crossed: tuple[int, int] = (0, 1)
    """Tables whose ids the wide part crosses."""

    def features(self) -> tuple[Feature, ...]:
        rows = tuple(table.rows for table in self.tables[:-1])
        return Feature("dense", (self.dense,)), Feature("ids", (len(rows),), rows)

    def products(self) -> list[Product]:
        width = self.dense + sum(table.width for table in self.tables[:-1])
        towers = [mlp(f"task{k}", (self.shared[-1], *self.tower)) for k in range(self.tasks)]
        return mlp("shared", (width, *self.shared)) + list(itertools.chain(*towers))

    @property
    def outputs(self) -> int:
        return self.tasks


@dataclass(frozen=True, kw_only=True)
class Din(Configuration):
    """DIN (Zhou et al. 2018): behaviours weighted by how they relate to the candidate ad, without a softmax.

    Tables: user profile, behaviours, ad, context. All behaviours are looked up in one table, as in the paper.
    DeepRecSys means a table of 100,000 rows for each of 250 behaviours (and by an oversight makes one only): their rows
    are one table here. A behaviour, as everything else, is the sum of three rows, as configured there.

    The activation unit is the paper's, of 36 PReLU units; it sees behaviour, ad, their difference and their product, as
    in the authors' code. PReLU and Dice are both in the paper; this is PReLU. The score is the first of two softmax
    outputs.
    """

    behaviours: int
    attention: tuple[int, ...] = (36, 1)
    top: tuple[int, ...] = (200, 80, 2)

    def features(self) -> tuple[Feature, ...]:
        return _of_behaviours(self.tables, self.behaviours)

    def products(self) -> list[Product]:
        width = self.tables[1].width
        weights = mlp("attention", (4 * width, *self.attention), times=self.behaviours, slopes=True)
        pooling = Product("pooling", self.behaviours, width, learnt=False)
        return [*weights, pooling, *mlp("top", (4 * width, *self.top), slopes=True)]


@dataclass(frozen=True, kw_only=True)
class Dien(Configuration):
    """DIEN (Zhou et al. 2019): a GRU over behaviours, attention of its states to the ad, a GRU whose update gate that
    attention scales (AUGRU). DeepRecSys runs two plain tanh recurrences.

    Tables as in DIN. The length is that of DeepRecSys, whose 43 tables are a user's, 40 of one behaviour each, an ad's
    and a context's; the rows of the 40 are one table here. The top sees user, last state, ad and context, as in the
    paper (the authors' code adds the behaviours' sum).
    """

    behaviours: int
    """Length of the history. The recurrences are unrolled: operators and time grow with it."""
    hidden: int
    top: tuple[int, ...] = (200, 80, 2)

    def features(self) -> tuple[Feature, ...]:
        return _of_behaviours(self.tables, self.behaviours)

    def products(self) -> list[Product]:
        user, behaviour, ad, context = (table.width for table in self.tables)
        states = (
            Product("attention", ad, self.hidden),
            Product("relevance", self.behaviours, self.hidden, learnt=False),
        )
        interest = self._recurrence_products("interest", behaviour)
        evolution = self._recurrence_products("evolution", self.hidden)
        top = mlp("top", (user + self.hidden + ad + context, *self.top), slopes=True)
        return [*interest, *states, *evolution, *top]

    def _recurrence_products(self, name: str, width: int) -> list[Product]:
        gates = 3 * self.hidden
        return [
            Product(f"{name}_input", width, gates, self.behaviours, gates),
            Product(f"{name}_recurrent", self.hidden, gates, self.behaviours),
        ]


def _of_behaviours(tables: Sequence[Table], length: int) -> tuple[Feature, ...]:
    """Inputs of a model whose tables are user, behaviours, ad and context."""
    shapes = {"behaviours": (length,)}
    bags = [(table.lookups,) if table.lookups > 1 else () for table in tables]
    return tuple(
        Feature(table.name, shapes.get(table.name, ()) + bag, (table.rows,))
        for table, bag in zip(tables, bags, strict=True)
    )
