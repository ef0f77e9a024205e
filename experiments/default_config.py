"""The values of each network's own program, for programs that take any network."""

import importlib
import importlib.util
from typing import Any

from lth_tf.cli import flags
from lth_tf.config import ExperimentConfig


def asked_network(argv: list[str]) -> str:
    """Returns the network of a command line; the defaults of its other flags depend on it.

    Example:
    >>> asked_network(["program", "--levels=3", "--network=conv2"]), asked_network(["program"])
    ('conv2', 'lenet')
    """
    return flags.asked(argv, "network", ExperimentConfig().network)


def default_config(network: str) -> tuple[ExperimentConfig, dict[str, dict[str, Any]]]:
    """Returns the config and the presets of a network's own program.

    A network that has no program gets the defaults of `ExperimentConfig`.

    Example:
    >>> default_config("conv2")[0].learning_rate
    0.0002
    """
    if network.isidentifier() and importlib.util.find_spec(f"{__package__}.{network}"):
        module = importlib.import_module(f"{__package__}.{network}")
        config = getattr(module, "CONFIG", None)
        if isinstance(config, ExperimentConfig) and config.network == network:
            return config, getattr(module, "PRESETS", {})
    return ExperimentConfig(network=network), {}
