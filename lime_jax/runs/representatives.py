"""A few explanations that together show what a model listens to.

SP-LIME covers every component that matters by an explanation that uses it. With a handful of stems
any explanation uses all of them, so here a component and sign is covered as far as the best of the
picked explanations is about it. This is submodular too, so taking the best one again and again is
within 1 - 1/e of the best choice.

References:
  Ribeiro et al., "Why Should I Trust You?", 2016, Algorithm 2.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float

_MOST_ROWS, _LEAST_FIDELITY = 100_000, 0.5

_COLUMNS = (
    "id, snippet, start, duration, output, output_index, prediction, local_prediction, fidelity, "
    "coefficients, top_components, layout"
)

# By a hash of the name, so that the sample does not depend on the order of the files.
_SAMPLED = """
    SELECT {columns} FROM explained
    WHERE "group" IS NULL AND output_index = {index} AND {condition}
    ORDER BY md5(concat(id, '#', snippet)), id, snippet LIMIT {limit}"""


@dataclasses.dataclass(frozen=True, eq=False)
class Sample:
    """Some explanations of one output.

    Attributes:
      rows: a `pyarrow.Table` with columns of `results.parquet`.
      weights: of every row, zero for components that its layout does not have.
      names: of the components, in the order in which layouts have them.
    """

    rows: Any
    weights: Float[np.ndarray, "num_rows num_names"]
    names: tuple[str, ...]


def sample(connection: Any, index: int, limit: int, condition: str = "true") -> Sample:
    """Returns some explanations of an output, the same ones whatever files they are in.

    Args:
      connection: with the view `explained`.
      index: of the output.
      limit: how many at most.
      condition: SQL over the columns.
    """
    text = _SAMPLED.format(columns=_COLUMNS, index=index, condition=condition, limit=limit)
    rows = connection.sql(text).to_arrow_table()
    layouts = rows["layout"].to_pylist()
    components = _component_names(connection, set(layouts))
    names = tuple(dict.fromkeys(name for of_layout in components.values() for name in of_layout))
    weights = np.zeros((rows.num_rows, len(names)), np.float32)
    coefficients = rows["coefficients"].combine_chunks()
    flat, offsets = coefficients.values.to_numpy(), coefficients.offsets.to_numpy()
    for layout, of_layout in components.items():
        indices = np.flatnonzero(np.array(layouts) == layout)
        values = flat[offsets[indices][:, None] + np.arange(len(of_layout))]
        weights[indices[:, None], [names.index(name) for name in of_layout]] = values
    return Sample(rows, weights, names)


def representatives(connection: Any, num_picked: int) -> Any:
    """Returns the picked explanations of every output in their order, as a `pyarrow.Table`.

    Args:
      connection: with the view `explained`.
      num_picked: of every output.
    """
    import pyarrow as pa

    query = "SELECT DISTINCT output_index FROM results ORDER BY output_index"
    indices = [index for (index,) in connection.execute(query).fetchall()]
    return pa.concat_tables([_pick(connection, index, num_picked) for index in indices])


def pick(
    weights: Float[np.ndarray, "num_rows num_components"], num: int
) -> Iterator[tuple[int, float]]:
    """Greedily chooses rows that cover the components, positive and negative apart.

    How much a row is about a component is its share of the row's absolute weight; how much a
    component matters is the root of its absolute weight over all rows.

    Yields:
      The row and the share of all that matters which is covered with it, until `num` rows are
      chosen or nothing is gained.
    """
    signed = np.concatenate([np.maximum(weights, 0), np.maximum(-weights, 0)], axis=1)
    importance = np.sqrt(signed.sum(axis=0, dtype=np.float64))
    share = signed / np.maximum(np.abs(weights).sum(axis=1, keepdims=True), 1e-30)
    most = float(importance @ share.max(axis=0, initial=0.0)) or 1.0
    covered = np.zeros_like(importance)
    for _ in range(min(num, len(weights))):
        gain = np.maximum(share - covered, 0) @ importance
        row = int(gain.argmax())
        if gain[row] <= 1e-12 * most:
            return
        covered = np.maximum(covered, share[row])
        yield row, float(importance @ covered) / most


def _pick(connection: Any, index: int, num_picked: int) -> Any:
    import pyarrow as pa

    candidates = sample(connection, index, _MOST_ROWS, f"fidelity > {_LEAST_FIDELITY}")
    picks = list(pick(candidates.weights, num_picked))
    return (
        candidates.rows.take(pa.array([row for row, _ in picks], pa.int64()))
        .append_column("rank", pa.array(range(len(picks)), pa.int64()))
        .append_column("coverage", pa.array([share for _, share in picks], pa.float64()))
    )


def _component_names(connection: Any, layouts: set[str]) -> dict[str, list[str]]:
    rows = connection.execute(
        "SELECT layout, list(name ORDER BY index) FROM "
        "(SELECT DISTINCT layout, index, name FROM components) GROUP BY layout ORDER BY layout"
    ).fetchall()
    return {layout: names for layout, names in rows if layout in layouts}
