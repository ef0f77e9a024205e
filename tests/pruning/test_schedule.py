"""How many weights a training that prunes keeps at which step."""

import pytest

from lth_tf.pruning.schedule import Schedule, count

# What PolynomialDecay(0.0, 0.9, 10, 110, frequency=10), PolynomialDecay(0.25, 0.9, 20, 95,
# frequency=25) and ConstantSparsity(0.5, 10) of tensorflow-model-optimization 0.8 keep.
TFMOT = [
    (
        Schedule(10, 110, 10, 1.0, 0.1),
        {
            235_200: [235_200, 177_835, 131_900, 96_126, 69_243, 49_980]
            + [37_068, 29_235, 25_213, 23_732, 23_520],
            400: [400, 302, 224, 163, 118, 85, 63, 50, 43, 40, 40],
            15: [15, 11, 8, 6, 4, 3, 2, 2, 2, 2, 2],
            4: [4, 3, 2, 2, 1, 1, 1, 1, 1, 1, 1],
        },
    ),
    (Schedule(20, 95, 25, 0.75, 0.1), {400: [300, 117, 50, 40], 2560: [1920, 749, 318, 256]}),
    (Schedule(10, 10, 100, 1.0, 0.5, "constant"), {15: [8], 235_200: [117_600]}),
]


@pytest.mark.parametrize("schedule, expected", TFMOT)
def test_layers_keep_what_those_of_tfmot_keep(schedule, expected):
    prunings = [step for step in range(1, 131) if schedule.last_due(step) == step]
    for size, counts in expected.items():
        assert [count(size, schedule.density(step)) for step in prunings] == counts
