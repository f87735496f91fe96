"""A linear front end applied to the components equals the same applied to every mask."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lime_jax as lj

N, S = 64, 3
WAVEFORMS = np.random.default_rng(0).standard_normal((S, N), np.float32)


@jax.jit
def frames(x):
    """A short-time Fourier transform with half overlapping frames."""
    inside = np.arange(0, N - 15, 8)[:, None] + np.arange(16)
    return jnp.fft.rfft(x[:, inside] * np.hanning(16).astype(np.float32)[None, None])


LINEAR = {
    "stft": frames,
    "every second sample": jax.jit(lambda x: x[:, ::2]),
    "matrix": jax.jit(lambda x: x @ (np.arange(N * 7, dtype=np.float32).reshape(N, 7) / N)),
}
COMPONENTS = {
    "stems": lj.from_stems(WAVEFORMS),
    "stems with a fill": lj.from_stems(WAVEFORMS, fill=np.full((S, 1), 0.3)),
    "time": lj.from_labels(WAVEFORMS[0], lj.equal_segments(N, S), S),
    "time with a fill": lj.from_labels(WAVEFORMS[0], lj.equal_segments(N, S), S, fill=WAVEFORMS[1]),
    "stems × time": lj.cross(lj.from_stems(WAVEFORMS), lj.equal_segments(N, 5), 5),
}


PAIRS = [("stft", kind) for kind in COMPONENTS] + [
    (name, "stems × time") for name in LINEAR if name != "stft"
]


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_recomposing_commutes_with_the_map(name, kind):
    linear, components = LINEAR[name], COMPONENTS[kind]
    masks = np.random.default_rng(0).random((9, components.num_components)) < 0.5
    masks[0], masks[1] = True, False
    before = np.asarray(linear(_recomposed(components, masks)))
    after = _recomposed(lj.map_linear(linear, components), masks)
    np.testing.assert_allclose(after, before, atol=1e-5 * np.abs(before).max())


_recomposed = jax.jit(jax.vmap(lj.recompose, (None, 0)))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["stems × time", "time with a fill"])
def test_the_explanation_is_the_same(kind):
    components = COMPONENTS[kind]

    def rest(x):
        return jnp.log1p(jnp.abs(x)).sum(axis=(1, 2))[:, None]

    method = lj.lime(200)
    key = jax.random.key(1)
    whole = lj.explain(lambda x: rest(frames(x)), components, method, key=key)
    hoisted = lj.explain(rest, lj.map_linear(frames, components), method, key=key)
    np.testing.assert_allclose(hoisted.coefficients, whole.coefficients, atol=1e-4)
    np.testing.assert_allclose(hoisted.prediction, whole.prediction, rtol=1e-5)


@pytest.mark.parametrize(
    "curved",
    [*map(jax.jit, (lambda x: jnp.abs(frames(x)), jnp.square, lambda x: jnp.log1p(jnp.abs(x))))],
    ids=["magnitude", "power", "logarithm"],
)
def test_what_is_not_linear_is_refused(curved):
    for kind in ("stems with a fill", "time"):
        with pytest.raises(ValueError, match="`linear` is not linear"):
            lj.map_linear(curved, COMPONENTS[kind])


def test_linear_maps_work_inside_jit_and_vmap():
    stems = np.stack([WAVEFORMS, 2 * WAVEFORMS])
    many = jax.jit(jax.vmap(lambda x: lj.map_linear(frames, lj.from_stems(x))))(stems)
    alone = lj.map_linear(frames, lj.from_stems(stems[1]))
    np.testing.assert_allclose(np.asarray(many.sources)[1], alone.sources, atol=1e-5)
