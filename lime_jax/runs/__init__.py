"""Whole data sets: explanations of every item, resumable, stored as Parquet, and summed up."""

from lime_jax.runs.config import RunConfig
from lime_jax.runs.dataset_layouts import items_of
from lime_jax.runs.driver import RunResult, run
from lime_jax.runs.items import Item
from lime_jax.runs.manifest import read_manifest, write_manifest
from lime_jax.runs.progress import Progress
from lime_jax.runs.store import Store, open_store

__all__ = [
    "Item",
    "Progress",
    "RunConfig",
    "RunResult",
    "Store",
    "items_of",
    "open_store",
    "read_manifest",
    "run",
    "write_manifest",
]
