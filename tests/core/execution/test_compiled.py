"""Compiling is counted: once for all items of a shape, and not again in the next process."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

import lime_jax as lj
from lime_jax.core.execution import compiled

CODE = """
import sys
import jax, jax.numpy as jnp, lime_jax as lj

hits = []
jax.monitoring.register_event_listener(lambda name, **_: hits.append(name))
stems = lj.from_stems(jnp.arange(24.0).reshape(6, 4))
network = lambda inputs: jnp.tanh(inputs)
jax.block_until_ready(lj.explain(network, stems, lj.lime(200), key=jax.random.key(0)))
print(sum(name.endswith("/cache_hits") for name in hits))
print(sum(name.endswith("/cache_misses") for name in hits))
"""


@pytest.mark.slow
@pytest.mark.parametrize("method", [lj.lime(200), lj.shapley()], ids=["lime", "shapley"])
def test_a_hundred_items_compile_one_program(method):
    def network(inputs):
        return jnp.tanh(inputs)

    before = compiled.explain_one._cache_size()
    for seed in range(100):
        key = jax.random.key(seed)
        lj.explain(network, lj.from_stems(jax.random.normal(key, (6, 4))), method, key=key)
    assert compiled.explain_one._cache_size() - before == 1


@pytest.mark.slow
def test_the_next_process_compiles_nothing(tmp_path):
    environment = os.environ | {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    command = [sys.executable, "-c", CODE]

    def run():
        return subprocess.run(
            command, capture_output=True, text=True, check=True, env=environment
        ).stdout.split()

    (_, first_misses), (hits, misses) = run(), run()
    assert int(first_misses) > 0
    assert int(misses) == 0 and int(hits) >= int(first_misses)
