"""Torch-Pruning's channel groups on the networks of `export.channel_benchmark`.

    python export/peers/torch_pruning_channels.py 30 50 70

Run it where torch and torch-pruning are installed; lth_tf need not be. Prints a line of JSON for
each network and percentage: parameters and multiply-adds before and after.

Source:
    Fang et al. 2023, arXiv:2301.12900 (DepGraph).
"""

import json
import sys

import torch
import torch_pruning
from torch import nn


def main() -> None:
    """Runs the peer."""
    for name, (build, size) in NETWORKS.items():
        for percentage in map(float, sys.argv[1:] or ("30", "50", "70")):
            torch.manual_seed(0)
            model, example = build().eval(), torch.rand(1, 3, size, size)
            before = torch_pruning.utils.count_ops_and_params(model, example)
            last = [part for part in model.modules() if isinstance(part, nn.Linear)]
            torch_pruning.pruner.BasePruner(
                model,
                example,
                importance=torch_pruning.importance.GroupMagnitudeImportance(p=1),
                pruning_ratio=percentage / 100,
                ignored_layers=last,
            ).step()
            after = torch_pruning.utils.count_ops_and_params(model, example)
            found = {"network": name, "pruned": percentage}
            found |= {"parameters": int(after[1]), "dense_parameters": int(before[1])}
            found |= {"multiply_adds": int(after[0]), "dense_multiply_adds": int(before[0])}
            print(json.dumps(found), flush=True)


def _convolution(
    inputs: int, outputs: int, size: int = 3, strides: int = 1, groups: int = 1, relu: bool = True
) -> nn.Sequential:
    layer = nn.Conv2d(inputs, outputs, size, strides, size // 2, groups=groups, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs), *([nn.ReLU()] if relu else []))


def _classifier(features: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(features, 10)]


def _vgg() -> nn.Module:
    stack: list[nn.Module] = []
    before = 3
    for filters in (64, 128, 256):
        stack += [_convolution(before, filters), _convolution(filters, filters), nn.MaxPool2d(2)]
        before = filters
    return nn.Sequential(*stack, *_classifier(before))


class _Residual(nn.Module):
    def __init__(self, body: nn.Module, shortcut: nn.Module, relu: bool):
        super().__init__()
        self.body, self.shortcut, self.relu = body, shortcut, relu

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        total = self.body(inputs) + self.shortcut(inputs)
        return torch.relu(total) if self.relu else total


def _resnet20() -> nn.Module:
    stack: list[nn.Module] = [_convolution(3, 16)]
    before = 16
    for stage, filters in enumerate((16, 32, 64)):
        for block in range(3):
            strides = 2 if stage and not block else 1
            body = nn.Sequential(
                _convolution(before, filters, strides=strides),
                _convolution(filters, filters, relu=False),
            )
            projected = _convolution(before, filters, 1, strides, relu=False)
            shortcut = projected if strides > 1 else nn.Identity()
            stack.append(_Residual(body, shortcut, relu=True))
            before = filters
    return nn.Sequential(*stack, *_classifier(before))


def _mobilenet_v2() -> nn.Module:
    stack: list[nn.Module] = [_convolution(3, 32, strides=2)]
    before = 32
    blocks = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1))
    for expansion, filters, count, first in (*blocks, (6, 160, 3, 2), (6, 320, 1, 1)):
        for strides in (first, *(1,) * (count - 1)):
            inner = before * expansion
            body = nn.Sequential(
                *([_convolution(before, inner, 1)] if expansion > 1 else []),
                _convolution(inner, inner, 3, strides, groups=inner),
                _convolution(inner, filters, 1, relu=False),
            )
            joined = strides == 1 and before == filters
            stack.append(_Residual(body, nn.Identity(), relu=False) if joined else body)
            before = filters
    return nn.Sequential(*stack, _convolution(before, 1280, 1), *_classifier(1280))


NETWORKS = {"vgg": (_vgg, 32), "resnet20": (_resnet20, 32), "mobilenet_v2": (_mobilenet_v2, 96)}


if __name__ == "__main__":
    main()
