"""The Trainer of this library, dense and masked."""

import sys

from lth_tf.cli import tf_logging
from lth_tf.lazy import lazy_imports

from . import INTERVAL, READY, TEST_EVERY

with lazy_imports():
    from ..suites import setups


def main() -> None:
    """Runs it as the peers are run; its batches are its own."""
    tf_logging.import_tensorflow()
    config = setups.config_of("lenet")
    trainer = setups.trainer_of(
        config, setups.model_of(config), 5_000, INTERVAL, test_interval=INTERVAL * TEST_EVERY
    )
    setups.trainer_rate(trainer, 0.1)()
    print(READY, flush=True)
    for line in sys.stdin:
        print(setups.trainer_rate(trainer, float(line))(), flush=True)


if __name__ == "__main__":
    main()
