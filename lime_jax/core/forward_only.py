"""Values that have derivatives forwards but not backwards, and say so in our words."""

from typing import Any, Never, TypeVar

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

T = TypeVar("T")


def forward_only(tree: T) -> T:
    """Returns the same values, whose reverse derivative says what to do instead."""

    def pass_on(x: Any) -> Any:
        return _same.bind(x) if jnp.issubdtype(jnp.result_type(x), jnp.floating) else x

    return jax.tree.map(pass_on, tree)


def _refuse(_: Any, __: Any) -> Never:
    raise ValueError(
        "`lj.auto` with targets draws masks until they are met, so it has no reverse derivative. "
        "Take a plain number of samples, for example that in `explanation.num_evaluations`, or "
        "forward mode: `jax.jvp`, `jax.jacfwd`."
    )


_same = Primitive("forward_only")
_same.def_impl(lambda x: x)
_same.def_abstract_eval(lambda x: x)
mlir.register_lowering(_same, lambda _, x: [x])
batching.defvectorized(_same)
ad.deflinear2(_same, _refuse)
