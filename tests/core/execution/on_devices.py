"""Run by test_meshed.py in processes of their own: a mesh gives the answer of one device.

Usage: on_devices.py [COORDINATOR NUM_PROCESSES PROCESS]
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

import lime_jax as lj

D, N, L, ITEMS = 11, 24, 3, 5
FIELDS = ("coefficients", "intercept", "fidelity", "prediction", "std_error", "status")


def network(params, inputs):
    return jax.nn.sigmoid(jnp.matmul(inputs, params, precision="highest"))


def same(one, other):
    for field in FIELDS:
        ours, theirs = (np.asarray(getattr(x, field)) for x in (one, other))
        np.testing.assert_allclose(ours, theirs, atol=1e-5, err_msg=field)


def main():
    if len(sys.argv) > 1:
        coordinator, num_processes, process = sys.argv[1:]
        jax.distributed.initialize(coordinator, int(num_processes), int(process))
    stems = jax.random.normal(jax.random.key(0), (ITEMS, D, N))
    predict = jax.tree_util.Partial(network, jax.random.normal(jax.random.key(1), (N, L)) / 4)
    components = jax.vmap(lj.from_stems)(stems)
    one = jax.tree.map(lambda x: x[2], components)
    key = jax.random.key(3)
    half = len(jax.devices()) // 2
    meshes = [
        Mesh(np.array(jax.devices()), ("devices",)),
        Mesh(np.array(jax.devices()).reshape(2, half), ("hosts", "devices")),
    ]
    # Rows with a table, rows without, pairs that must stay together, more devices than rows.
    methods = [lj.exhaustive(), lj.lime(3000), lj.lime(301), lj.kernel_shap(320), lj.lime(3)]
    for method in methods:
        alone = lj.explain(predict, one, method, key=key, batch_size=64)
        batch_alone = lj.explain_batch(predict, components, method, key=key, batch_size=64)
        for mesh in meshes:
            same(lj.explain(predict, one, method, key=key, batch_size=64, mesh=mesh), alone)
            batch = lj.explain_batch(predict, components, method, key=key, batch_size=64, mesh=mesh)
            same(batch, batch_alone)
    print(len(jax.devices()), "devices agree")


if __name__ == "__main__":
    main()
