"""A store summed up: what a model listens to in general."""

import dataclasses
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from lime_jax.errors import StoreError
from lime_jax.runs import parquet, sql_views
from lime_jax.runs.representatives import representatives
from lime_jax.runs.store import Store

NUM_BINS = 20
"""Of a distribution of fidelities."""


@dataclasses.dataclass(frozen=True, eq=False)
class Summary:
    """Tables about a store, as `pyarrow.Table`; see docs/store-schema.md for their columns.

    Rows whose `group` is null are about all groups together. Only explanations whose status is OK
    count, but in `outputs`.

    Attributes:
      outputs: per output and group how many explanations there are, and of which status.
      components: per output, group and component the mean, median, spread and sign of its weight
        and how often it is the most important one.
      faithfulness: per output and group how the surrogates' predictions follow the model's, and
        how their fidelities are distributed.
      fidelities: the same as counts in `NUM_BINS` bins.
      items: faithfulness per item and output, where items have several snippets.
      cells: per label and predicted output, how often which component is the most important.
      representatives: explanations that together show what there is, per output.
      stability: per explanation, over several stores of the same data set: U_n and N_ce.
    """

    outputs: Any
    components: Any
    faithfulness: Any
    fidelities: Any
    items: Any
    cells: Any
    representatives: Any
    stability: Any

    def tables(self) -> dict[str, Any]:
        """Returns all tables by name, empty ones left out."""
        named = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: table for name, table in named.items() if table.num_rows}


def aggregate(store: Store, *, compare: Sequence[Store] = (), num_picked: int = 5) -> Summary:
    """Sums up a store without holding its rows in Python.

    Args:
      store: the store.
      compare: further stores of the same data set, which ask the same question with other seeds,
        fills or numbers of samples.
      num_picked: how many representative explanations of every output.

    Raises:
      StoreError: if a store is damaged or empty, or one to compare has other items.
    """
    with connect(store) as connection:

        def query(text):
            return connection.sql(text).to_arrow_table()

        return Summary(
            outputs=query(_OUTPUTS),
            components=query(_COMPONENTS),
            faithfulness=query(_FAITHFULNESS),
            fidelities=query(_FIDELITIES),
            items=query(_ITEMS),
            cells=query(_CELLS),
            representatives=representatives(connection, num_picked),
            stability=_stability(connection, compare),
        )


@contextmanager
def connect(store: Store) -> Iterator[Any]:
    """Yields a connection to a store that holds results, with the views that summaries need.

    `explained` has the rows of status OK with their `group`, `weights` one row per component.

    Raises:
      StoreError: if there are none, or something is damaged.
    """
    with sql_views.connect(store) as connection:
        [(number,)] = connection.execute("SELECT count(*) FROM results").fetchall()
        if not number:
            raise StoreError(
                f"`{store.folder}` holds no results yet. Run `lime-jax run` to the end first."
            )
        [(grouped,)] = connection.execute('SELECT count("group") FROM items').fetchall()
        # With groups every row counts twice: in its group and in all of them together.
        whole = """SELECT results.*, CAST(NULL AS VARCHAR) AS "group" FROM results"""
        split = 'SELECT results.*, items."group" FROM results JOIN items USING (id)'
        split += ' WHERE items."group" IS NOT NULL'
        connection.execute(
            f"CREATE VIEW judged AS {whole}{f' UNION ALL {split}' if grouped else ''}"
        )
        for view in (_EXPLAINED, _WEIGHTS):
            connection.execute(view)
        [(number,)] = connection.execute("SELECT count(*) FROM explained").fetchall()
        if not number:
            raise StoreError(
                f"`{store.folder}` holds no explanation with the status OK. Look at `status` in "
                "its results."
            )
        yield connection


_EXPLAINED = """
    CREATE VIEW explained AS
    SELECT *,
        CASE WHEN list_max(coefficients) > 0
            THEN list_position(coefficients, list_max(coefficients)) - 1 END AS top_positive,
        CASE WHEN list_min(coefficients) < 0
            THEN list_position(coefficients, list_min(coefficients)) - 1 END AS top_negative,
        CASE WHEN list_max(coefficients) >= -list_min(coefficients)
            THEN list_position(coefficients, list_max(coefficients)) - 1
            ELSE list_position(coefficients, list_min(coefficients)) - 1 END AS top_absolute
    FROM judged WHERE status = 'OK'"""

_WEIGHTS = """
    CREATE VIEW weights AS
    SELECT parts.*, name
    FROM (
        SELECT "group", output, output_index, layout, top_positive, top_negative, top_absolute,
            unnest(coefficients) AS weight,
            unnest(std_error) AS std_error,
            unnest(range(len(coefficients))) AS index
        FROM explained
    ) AS parts
    JOIN (SELECT DISTINCT layout, index, name FROM components) AS described USING (layout, index)"""

_OUTPUTS = """
    SELECT output, output_index, "group", status, count(*) AS num_explanations,
        avg(prediction) AS mean_prediction
    FROM judged GROUP BY ALL ORDER BY output_index, "group" NULLS FIRST, status"""

_COMPONENTS = """
    SELECT output, output_index, "group", name AS component,
        count(*) AS num_explanations,
        avg(weight) AS mean,
        median(weight) AS median,
        stddev_samp(weight) AS std,
        quantile_cont(weight, 0.25) AS lower_quartile,
        quantile_cont(weight, 0.75) AS upper_quartile,
        avg(std_error) AS mean_std_error,
        avg(CAST(weight > 0 AS DOUBLE)) AS positive_share,
        greatest(avg(CAST(weight > 0 AS DOUBLE)), avg(CAST(weight < 0 AS DOUBLE)))
            AS sign_consistency,
        avg(CAST(coalesce(top_positive = index, false) AS DOUBLE)) AS top_positive_share,
        avg(CAST(coalesce(top_negative = index, false) AS DOUBLE)) AS top_negative_share,
        avg(CAST(top_absolute = index AS DOUBLE)) AS top_absolute_share
    FROM weights GROUP BY output, output_index, "group", name
    ORDER BY output_index, "group" NULLS FIRST, mean DESC, name"""

# R² of the surrogates' predictions as they stand: no line is fitted between the two.
_FAITHFUL = """
        count(*) AS num_explanations,
        avg(prediction) AS mean_prediction,
        avg(local_prediction) AS mean_local_prediction,
        avg(abs(prediction - local_prediction)) AS mean_absolute_difference,
        CASE WHEN stddev_pop(prediction) > 0 AND stddev_pop(local_prediction) > 0
            THEN corr(prediction, local_prediction) END AS correlation,
        CASE WHEN var_pop(prediction) > 0
            THEN 1 - avg(power(prediction - local_prediction, 2)) / var_pop(prediction)
            END AS r2,
        avg(fidelity) AS mean_fidelity"""

_FAITHFULNESS = f"""
    SELECT output, output_index, "group", {_FAITHFUL},
        median(fidelity) AS median_fidelity,
        quantile_cont(fidelity, 0.1) AS fidelity_decile,
        quantile_cont(fidelity, 0.9) AS fidelity_upper_decile
    FROM explained GROUP BY output, output_index, "group"
    ORDER BY output_index, "group" NULLS FIRST"""

_FIDELITIES = f"""
    SELECT output, output_index, "group",
        greatest(0, least({NUM_BINS - 1}, floor(CAST(fidelity AS DOUBLE) * {NUM_BINS})))
            / {NUM_BINS} AS low,
        count(*) AS num_explanations
    FROM explained WHERE isfinite(fidelity) GROUP BY ALL
    ORDER BY output_index, "group" NULLS FIRST, low"""

_ITEMS = f"""
    SELECT id, output, output_index, {_FAITHFUL}
    FROM explained WHERE "group" IS NULL AND num_snippets > 1
    GROUP BY id, output, output_index ORDER BY id, output_index"""

# The predicted output of a sound is the one of highest prediction.
_CELLS = """
    WITH highest AS (
        SELECT id, snippet, output_index FROM judged WHERE "group" IS NULL
        QUALIFY row_number() OVER (
            PARTITION BY id, snippet ORDER BY prediction DESC, output_index) = 1
    ), predicted AS (
        SELECT id, layout, top_positive, output AS predicted
        FROM explained JOIN highest USING (id, snippet, output_index) WHERE "group" IS NULL
    ), counted AS (
        SELECT label, predicted, described.name AS component, count(*) AS num_explanations
        FROM predicted JOIN items USING (id)
        LEFT JOIN (SELECT DISTINCT layout, index, name FROM components) AS described
            ON described.layout = predicted.layout AND described.index = top_positive
        GROUP BY ALL
    )
    SELECT *, num_explanations / sum(num_explanations) OVER (PARTITION BY label, predicted)
        AS share
    FROM counted ORDER BY label NULLS FIRST, predicted, num_explanations DESC, component"""

_NO_STABILITY = """
    SELECT id, snippet, output, CAST(0 AS BIGINT) AS num_stores, CAST(0 AS BIGINT) AS u_n,
        CAST(0.0 AS DOUBLE) AS n_ce
    FROM explained LIMIT 0"""

_STABILITY = """
    WITH tops AS ({every}), first AS (SELECT * FROM tops WHERE store = 0)
    SELECT id, snippet, output, count(*) AS num_stores,
        len(list_distinct(flatten(list(tops.top_components)))) AS u_n,
        avg(CASE WHEN tops.store > 0
            THEN len(list_intersect(tops.top_components, first.top_components)) END) AS n_ce
    FROM tops JOIN first USING (id, snippet, output)
    GROUP BY id, snippet, output HAVING count(*) = {number} ORDER BY id, snippet, output"""


def _stability(connection: Any, compare: Sequence[Store]) -> Any:
    """Counts the components in the top lists of all stores, and those in common with the first."""
    if not compare:
        return connection.sql(_NO_STABILITY).to_arrow_table()
    names = ["results"]
    for number, other in enumerate(compare, start=1):
        names.append(f"results_{number}")
        sql_views.add_view(connection, names[-1], other)
    every = " UNION ALL ".join(
        f"SELECT {number} AS store, id, snippet, output, top_components FROM {name} "
        "WHERE status = 'OK'"
        for number, name in enumerate(names)
    )
    text = _STABILITY.format(every=every, number=len(names))
    table = connection.sql(text).to_arrow_table()
    if not table.num_rows:
        folders = ", ".join(f"`{other.folder}`" for other in compare)
        raise StoreError(f"{folders}: no explanation is in all of the stores to compare.")
    return table


def encode_tables(summary: Summary) -> dict[str, bytes]:
    """Returns every table of a summary as a Parquet and a CSV file, by file name."""
    files = {}
    for name, table in summary.tables().items():
        files[f"{name}.parquet"] = parquet.encode_table(table)
        files[f"{name}.csv"] = _csv(table)
    return files


def _csv(table: Any) -> bytes:
    from pyarrow import csv

    buffer = io.BytesIO()
    csv.write_csv(_escape_formulas(table), buffer)
    return buffer.getvalue()


def _escape_formulas(table: Any) -> Any:
    """Puts an apostrophe before text that a spreadsheet would take for a formula."""
    import pyarrow as pa

    def safe(text):
        return f"'{text}" if text and text[0] in "=+-@\t\r" else text

    for number, field in enumerate(table.schema):
        column = table.column(number)
        if pa.types.is_dictionary(field.type):
            column = column.cast(pa.string())
        if pa.types.is_string(column.type):
            column = pa.array([safe(text) for text in column.to_pylist()], pa.string())
        elif pa.types.is_list(column.type):
            column = pa.array([None if v is None else str(v) for v in column.to_pylist()])
        table = table.set_column(number, field.name, column)
    return table
