"""Memory that does not grow with the number of samples, measured from outside."""

import subprocess
import sys

import pytest

EXPLAIN = """
import sys
import jax, jax.numpy as jnp, lime_jax as lj
stems = lj.from_stems(jax.random.normal(jax.random.key(0), (40, 1000)))
weights = jax.random.normal(jax.random.key(1), (1000, 10)) / 30
predict = jax.tree_util.Partial(lambda w, x: jax.nn.sigmoid(x @ w), weights)
explanation = lj.explain(
    predict, stems, lj.lime(int(sys.argv[1])), key=jax.random.key(2), batch_size=256
)
assert explanation.num_evaluations == int(sys.argv[1])
jax.block_until_ready(explanation)
# Not `ru_maxrss`, which starts from the peak of the process that started this one.
(line,) = (line for line in open("/proc/self/status") if line.startswith("VmHWM:"))
print(line.split()[1])
"""

SHORT_OF_MEMORY = """
import resource, warnings
import jax, jax.numpy as jnp, lime_jax as lj
stems = lj.from_stems(jnp.ones((3, 8)))
def widen(x):
    wide = jnp.cumsum(jnp.tile(x, (1, 1 << 20)), axis=1)
    return jnp.flip(wide, axis=1).max(axis=1, keepdims=True)
lj.explain(widen, stems, lj.exhaustive(), batch_size=1)
with open("/proc/self/statm") as file:
    address_space = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (address_space + (300 << 20),) * 2)
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    explanation = lj.explain(widen, stems, lj.exhaustive(), batch_size=8)
print(len(said), said[0].message, explanation.coefficients.shape)
"""


def run(code, *arguments):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.slow
def test_peak_memory_is_flat_in_the_number_of_samples():
    # Compiling takes a little more memory in one run than in the next.
    few, many = (
        min(int(run(EXPLAIN, num_samples)) for _ in range(2)) for num_samples in (1_000, 70_000)
    )
    print(f"peak resident memory: {few / 1024:.0f} MiB, {many / 1024:.0f} MiB")
    assert many < 1.1 * few


@pytest.mark.slow
def test_a_device_that_runs_out_of_memory_goes_on_with_smaller_batches():
    said = run(SHORT_OF_MEMORY)
    assert said.startswith("1 out of memory with `batch_size` = 8; went on with")
