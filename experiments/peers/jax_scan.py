"""JAX: the updates of an interval and its evaluations in one compiled call, data on the device."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from . import RATE, initial_weights, serve, splits


def main() -> None:
    """Runs the peer."""
    data = {name: tuple(map(jnp.asarray, split)) for name, split in splits().items()}
    weights = jax.tree.map(jnp.asarray, initial_weights())
    zeros = jax.tree.map(jnp.zeros_like, weights)
    state = [weights, zeros, jax.tree.map(jnp.zeros_like, weights), jnp.float32(0)]

    def interval(order: np.ndarray, tested: bool) -> None:
        state[:], results = _interval(state, data, order, tested)
        jax.block_until_ready(results)

    serve(interval)


def _logits(weights: list[Any], images: jax.Array) -> jax.Array:
    values = images.astype(jnp.float32) / 255
    for number, (kernel, bias) in enumerate(weights):
        values = values @ kernel + bias
        values = jax.nn.relu(values) if number < len(weights) - 1 else values
    return values


def _loss(weights: list[Any], images: jax.Array, labels: jax.Array) -> jax.Array:
    logs = jax.nn.log_softmax(_logits(weights, images))
    return -jnp.take_along_axis(logs, labels[:, None], axis=1).mean()


@functools.partial(jax.jit, static_argnames="tested", donate_argnums=0)
def _interval(
    state: list[Any], data: dict[str, Any], order: jax.Array, tested: bool
) -> tuple[list[Any], list[jax.Array]]:
    images, labels = data["train"]

    def update(state: list[Any], rows: jax.Array) -> tuple[list[Any], jax.Array]:
        weights, first, second, made = state
        loss, slopes = jax.value_and_grad(_loss)(weights, images[rows], labels[rows])
        made += 1
        first = jax.tree.map(lambda m, g: m + (g - m) * 0.1, first, slopes)
        second = jax.tree.map(lambda v, g: v + (g * g - v) * 0.001, second, slopes)
        rate = RATE * jnp.sqrt(1 - 0.999**made) / (1 - 0.9**made)
        weights = jax.tree.map(
            lambda w, m, v: w - rate * m / (jnp.sqrt(v) + 1e-7), weights, first, second
        )
        return [weights, first, second, made], loss

    state, losses = jax.lax.scan(update, state, order)
    results = [losses.mean(), _loss(state[0], *data["validation"])]
    if tested:
        images, labels = data["test"]
        results.append((_logits(state[0], images).argmax(1) == labels).mean())
    return state, results


if __name__ == "__main__":
    main()
