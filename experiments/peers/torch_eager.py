"""PyTorch: eager, with fused Adam, data in memory."""

import numpy as np
import torch

from . import RATE, initial_weights, serve, splits


def main() -> None:
    """Runs the peer."""
    data = {
        name: (torch.from_numpy(images), torch.from_numpy(labels.astype(np.int64)))
        for name, (images, labels) in splits().items()
    }
    model = _model()
    optimizer = torch.optim.Adam(model.parameters(), RATE, eps=1e-7, fused=True)
    measure = torch.nn.CrossEntropyLoss()
    images, labels = data["train"]

    def interval(order: np.ndarray, tested: bool) -> None:
        for rows in torch.from_numpy(order):
            optimizer.zero_grad(set_to_none=True)
            measure(model(images[rows].float() / 255), labels[rows]).backward()
            optimizer.step()
        with torch.no_grad():
            held_out, answers = data["validation"]
            measure(model(held_out.float() / 255), answers).item()
            if tested:
                inputs, answers = data["test"]
                (model(inputs.float() / 255).argmax(1) == answers).float().mean().item()

    serve(interval)


def _model() -> torch.nn.Module:
    layers = []
    for kernel, bias in initial_weights():
        layer = torch.nn.Linear(*kernel.shape)
        layer.weight.data = torch.from_numpy(kernel.T.copy())
        layer.bias.data = torch.from_numpy(bias)
        layers += [layer, torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])


if __name__ == "__main__":
    main()
