"""The Trainer of this library, dense and masked."""

import sys

from lth_tf.cli import tf_logging

from . import INTERVAL, READY, TEST_EVERY


def main() -> None:
    """Runs it as the peers are run; its batches are its own."""
    tf_logging.import_tensorflow()
    from ..suites.setups import config_of, model_of, trainer_of, trainer_rate

    config = config_of("lenet")
    trainer = trainer_of(
        config, model_of(config), 5_000, INTERVAL, test_interval=INTERVAL * TEST_EVERY
    )
    trainer_rate(trainer, 0.1)()
    print(READY, flush=True)
    for line in sys.stdin:
        print(trainer_rate(trainer, float(line))(), flush=True)


if __name__ == "__main__":
    main()
