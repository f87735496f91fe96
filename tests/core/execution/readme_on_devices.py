"""Meshes as users make them, and explanations inside a user's own `jax.shard_map`."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec

import lime_jax as lj

KEY, METHOD = jax.random.key(0), lj.lime(20)
STEMS = jax.random.normal(jax.random.key(1), (8, 5, 16))
ITEMS = jax.vmap(lj.from_stems)(STEMS)


def model(inputs):
    return jnp.tanh(inputs[:, :2])


def main():
    mesh = jax.make_mesh((8,), ("devices",))
    expected = lj.explain_batch(model, ITEMS, METHOD, key=KEY)
    found = lj.explain_batch(model, ITEMS, METHOD, key=KEY, mesh=mesh)
    np.testing.assert_allclose(found.coefficients, expected.coefficients, atol=1e-5)

    one = lj.explain(model, lj.from_stems(STEMS[0]), lj.lime(4000), key=KEY)
    shared = lj.explain(model, lj.from_stems(STEMS[0]), lj.lime(4000), key=KEY, mesh=mesh)
    np.testing.assert_allclose(shared.coefficients, one.coefficients, atol=1e-5)

    stream = [lj.from_stems(stems) for stems in STEMS]
    alone = list(lj.explain_stream(model, stream, METHOD, key=KEY, num_items=8))
    together = lj.explain_stream(model, stream, METHOD, key=KEY, num_items=8, mesh=mesh)
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one.coefficients, other.coefficients, atol=1e-5)

    def explain(stems, key):
        return lj.explain(model, lj.from_stems(stems), METHOD, key=key).coefficients

    keys, spec = jax.random.split(KEY, 8), PartitionSpec("devices")
    own = jax.sharding.Mesh(jax.devices(), ("devices",))
    inside = jax.jit(jax.shard_map(jax.vmap(explain), mesh=own, in_specs=spec, out_specs=spec))
    np.testing.assert_allclose(inside(STEMS, keys), expected.coefficients, atol=1e-5)
    print(f"{jax.device_count()} devices agree")


if __name__ == "__main__":
    main()
