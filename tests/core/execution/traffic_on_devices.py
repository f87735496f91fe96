"""Run by test_meshed.py in a process of its own: what travels between devices, as JSON."""

import json
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

import lime_jax as lj
from lime_jax.core.execution import meshed
from lime_jax.core.predictor import as_predictor

D, N, ITEMS = 11, 50_000, 16
COLLECTIVES = (
    "all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter|collective-broadcast"
)
SIZES = {"pred": 1, "s8": 1, "u8": 1, "s32": 4, "u32": 4, "f32": 4, "s64": 8, "f64": 8}


def traffic(text):
    """Bytes of all results of collectives in a compiled program, with their names."""
    found = []
    for line in text.splitlines():
        match = re.search(rf"= (.*?) ({COLLECTIVES})(-start)?\(", line)
        if match:
            shapes = re.findall(r"(\w+)\[([\d,]*)\]", match.group(1))
            number = sum(
                SIZES[kind] * math.prod(int(n) for n in shape.split(",") if n)
                for kind, shape in shapes
            )
            found.append([match.group(2), number])
    return found


def model(inputs):
    return jnp.tanh(inputs[:, :3])


def main():
    mesh = Mesh(np.array(jax.devices()), ("devices",))
    one = lj.from_stems(jnp.ones((D, N)))
    many = jax.vmap(lj.from_stems)(jnp.ones((ITEMS, D, N)))
    key, keys = jax.random.key(0), jax.random.split(jax.random.key(0), ITEMS)
    programs = {
        "masks": (meshed.explain_one, one, key),
        "items": (meshed.explain_many, many, keys),
    }
    result = {"devices": len(jax.devices()), "input": D * N * 4}
    for name, (explain, components, key) in programs.items():
        lowered = explain.lower(
            as_predictor(model), components, lj.lime(3000), key, batch_size=64, mesh=mesh
        )
        result[name] = traffic(lowered.compile().as_text())
    print(json.dumps(result))


if __name__ == "__main__":
    main()
