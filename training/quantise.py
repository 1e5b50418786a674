"""Quantisation-aware fine-tuning: makes a trained network ready for its int8 file.

`python quantise.py upscale|denoise --weights FILE.pt --data FOLDER --out FILE.pt`
The convolutions after the first one are trained on with weights rounded to 7 bits per
channel and activations to 8 bits, just as the int8 file computes them.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data import SEED
from models import TASKS, Network
from train import denoise_batches, descend, upscale_batches

STEPS, PEAK_RATE = 2400, 4e-4
CALIBRATION_BATCHES, QUANTILE = 8, 0.9999
WEIGHT_LEVELS = 64  # 7 bits: ONNX Runtime's `reduce_range`


def rounded(x: Tensor) -> Tensor:
    """Rounds, but lets the gradient through."""
    return x + (x.round() - x).detach()


def rounded_weight(weight: Tensor) -> Tensor:
    step = weight.detach().abs().amax(dim=(1, 2, 3), keepdim=True) / WEIGHT_LEVELS
    return rounded(weight / step) * step


class RoundedConv(nn.Module):
    """A convolution of unsigned activations, whose input is clipped to `bound` and rounded."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv
        self.register_buffer("bound", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        if self.bound > 0:
            step = self.bound / 255
            x = rounded(torch.minimum(x, self.bound) / step) * step
        c = self.conv
        weight = rounded_weight(c.weight)
        return F.conv2d(x, weight, c.bias, c.stride, c.padding, c.dilation)


def calibrate(network: Network, layers: list[RoundedConv], batches: list[Tensor]) -> None:
    seen: list[list[float]] = [[] for _ in layers]
    hooks = [
        layer.register_forward_pre_hook(
            lambda _, inputs, values=values: values.append(
                float(np.quantile(inputs[0].numpy(), QUANTILE))
            )
        )
        for layer, values in zip(layers, seen)
    ]
    with torch.no_grad():
        for inputs in batches:
            network(inputs)
    for hook, layer, values in zip(hooks, layers, seen):
        hook.remove()
        layer.bound.fill_(max(values))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=list(TASKS))
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    rng = np.random.default_rng(SEED + 2)
    make_batches = upscale_batches if arguments.task == "upscale" else denoise_batches
    batch = make_batches(arguments.data, rng)

    network = TASKS[arguments.task]()
    network.load_state_dict(torch.load(arguments.weights))
    network = network.fold()
    first, *rest = network.body
    layers = [RoundedConv(m) if isinstance(m, nn.Conv2d) else m for m in rest]
    network.body = nn.Sequential(first, *layers)
    quantised = [layer for layer in layers if isinstance(layer, RoundedConv)]
    calibrate(network, quantised, [batch()[0] for _ in range(CALIBRATION_BATCHES)])

    optimiser = torch.optim.Adam(network.parameters())
    losses = []
    for step in range(STEPS):
        for group in optimiser.param_groups:
            group["lr"] = PEAK_RATE * (1 + math.cos(math.pi * step / STEPS)) / 2
        losses.append(descend(network, optimiser, batch()))
        if (step + 1) % 100 == 0:
            print(f"step {step + 1}/{STEPS}  loss {np.mean(losses[-100:]) * 255:.4f}/255",
                  flush=True)
    convs = [m.conv if isinstance(m, RoundedConv) else m for m in network.body]
    network.body = nn.Sequential(*convs)
    bounds = [float(layer.bound) for layer in quantised]
    torch.save({"state": network.state_dict(), "bounds": bounds}, arguments.out)


if __name__ == "__main__":
    main()
