"""Products in float32 unless someone asked for less."""

import jax
import jax.numpy as jnp
import pytest

import lime_jax as lj


def precisions_of(**options):
    """The precision that the model's product was traced with."""
    precisions = []

    def network(inputs):
        def product(x):
            return x @ jnp.ones((3, 1))

        equation = jax.make_jaxpr(product)(jnp.ones((2, 3))).eqns[-1]
        precisions.append(str(equation.params["precision"]))
        return product(inputs)

    components = lj.from_stems(jnp.ones((2, 3)))
    lj.explain(network, components, lj.exhaustive(), **options)
    return precisions[-1]


def test_float32_is_the_default():
    assert "HIGHEST" in precisions_of()


def test_default_leaves_it_to_the_device():
    assert "HIGHEST" not in precisions_of(precision="default")


@pytest.mark.slow
def test_the_setting_of_jax_holds_unless_precision_is_given():
    with jax.default_matmul_precision("tensorfloat32"):
        assert "HIGH" in precisions_of() and "HIGHEST" not in precisions_of()
        assert "HIGHEST" in precisions_of(precision="float32")


def test_another_name_is_refused():
    with pytest.raises(ValueError, match="`precision` must be one of float32, default"):
        precisions_of(precision="half")
