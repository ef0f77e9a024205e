"""ResNet-50 on ImageNet, one-shot pruning rewound to epoch 5, on data larger than memory.

The protocol that tickets of this size are sought with: 90 epochs in batches of 1,024, momentum,
5 epochs of warm-up, rates divided by 10 at epochs 30, 60 and 80, the dense network trained once and
pruned at once to each of the densities. Examples are streamed: random parts of images, flipped, for
training, and the middle of each for evaluation. Validation examples come out of the training set;
ImageNet's own validation images are the test set. Shortcuts and the output layer are not pruned.

    python -m experiments.resnet50 --data_dir=/data/tensorflow_datasets
    python -m experiments.resnet50 --dataset=folder --data_dir=/data/imagenet
    python -m experiments.resnet50 --dataset=folder --data_dir=FOLDER --preset=small

A folder holds train/CLASS/*.jpg and test/CLASS/*.jpg, or CLASS/*.jpg alone. Epochs are iterations
of ImageNet's 1,281,167 images; the preset has those of 8,000 images in batches of 64. Level k
keeps 0.8 ** k of the weights. Pixels are divided by 255 alone: batch normalization follows.

Expected (Frankle et al. 2020, arXiv:1912.05671): tickets as good as the dense network down to 20 to
30 % of the weights. Never run here: a level takes days on one accelerator.
"""

from lth_tf.config import ExperimentConfig, RunOptions

from . import cli

# Of 1,024 images; 5,000 of ImageNet's are set aside.
EPOCH = 1_246

CONFIG = ExperimentConfig(
    network="resnet50",
    dataset="imagenet2012",
    iterations=90 * EPOCH,
    batch_size=1_024,
    optimizer="momentum",
    learning_rate=0.4,
    momentum=0.9,
    warmup_iterations=5 * EPOCH,
    lr_drops=(30 * EPOCH, 60 * EPOCH, 80 * EPOCH),
    weight_decay=1e-4,
    augment=True,
    method="oneshot",
    levels=8,
    scope="global",
    prune_rate_conv=0.2,
    prune_rate_fc=0.0,
    prune_rate_output=0.0,
    eval_interval=EPOCH,
).replace(rewind_iteration=5 * EPOCH)

# 90 epochs of 8,000 images.
PRESETS = {
    "small": {
        "iterations": 11_250,
        "batch_size": 64,
        "learning_rate": 0.025,
        "warmup_iterations": 625,
        "rewind_iteration": 625,
        "lr_drops": (3_750, 7_500, 10_000),
        "eval_interval": 125,
    }
}

if __name__ == "__main__":
    cli.main("resnet50", CONFIG, __doc__, PRESETS, options=RunOptions(input="stream"))
