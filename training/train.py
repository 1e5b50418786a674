"""Trains one network on the tensors of data.py and writes its averaged weights.

`python train.py upscale|denoise --data FOLDER --out FILE.pt`
Seeds are fixed and one thread is used: the same machine gives the same file.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import Callable

import numpy as np
import torch
from torch import Tensor

from data import LENGTH, LOWRES_FRAMES, LOWRES_VARIANTS, NOISY_VARIANTS, SEED
from degrade import NOISES, add_noise
from models import TASKS

BATCH = 16
STEPS = {"upscale": 18000, "denoise": 10000}
PEAK_RATE, WARM_UP = 1e-3, 500
AVERAGING = 0.999
EPSILON = 1e-3  # of the Charbonnier loss

CODED, CLEAN, CLEAN_WEIGHT = 3, 5, 2.0  # of a denoising batch

Batch = tuple[Tensor, Tensor, Tensor]  # inputs, targets, weight of each sample


def turned(patch: np.ndarray, turn: int) -> np.ndarray:
    """One of the eight flips and quarter turns of the last two axes."""
    if turn & 1:
        patch = patch[..., ::-1]
    if turn & 2:
        patch = patch[..., ::-1, :]
    return patch.swapaxes(-1, -2) if turn & 4 else patch


def to_tensor(patches: list[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(patches)).float() / 255


def upscale_batches(folder: Path, rng: np.random.Generator) -> Callable[[], Batch]:
    clips, lowres = np.load(folder / "clips.npy"), np.load(folder / "lowres.npy")
    size = 48

    def batch() -> Batch:
        inputs, targets = [], []
        for _ in range(BATCH):
            clip, variant = rng.integers(len(clips)), rng.integers(LOWRES_VARIANTS)
            frame, turn = rng.integers(len(LOWRES_FRAMES)), int(rng.integers(8))
            y, x = (rng.integers(side - size + 1) for side in lowres.shape[-2:])
            low = lowres[clip, variant, frame, y : y + size, x : x + size]
            high = clips[clip, LOWRES_FRAMES[frame]]
            high = high[2 * y : 2 * (y + size), 2 * x : 2 * (x + size)]
            inputs.append(turned(low, turn)[None])
            targets.append(turned(high, turn)[None])
        return to_tensor(inputs), to_tensor(targets), torch.ones(BATCH)

    return batch


def denoise_batches(folder: Path, rng: np.random.Generator) -> Callable[[], Batch]:
    """Some samples are coded after noise, some clean, the rest has fresh noise of two kinds.

    Many clean samples, and heavy ones: fine texture is easily taken for noise.
    """
    clips, noisy = np.load(folder / "clips.npy"), np.load(folder / "noisy.npy")
    generator = torch.Generator().manual_seed(SEED)
    size = 96
    weights = torch.ones(BATCH)
    weights[CODED : CODED + CLEAN] = CLEAN_WEIGHT

    def triple() -> tuple[np.ndarray, np.ndarray]:
        """Three consecutive frames, clean and coded; sometimes across a scene cut."""
        turn, backwards = int(rng.integers(8)), rng.random() < 0.5
        cut = rng.random()

        def pick() -> np.ndarray:
            clip, variant = rng.integers(len(clips)), rng.integers(NOISY_VARIANTS)
            middle = rng.integers(1, LENGTH - 1)
            y, x = (rng.integers(side - size + 1) for side in clips.shape[-2:])
            window = np.s_[middle - 1 : middle + 2, y : y + size, x : x + size]
            both = np.stack([clips[clip][window], noisy[clip, variant][window]])
            return turned(both[:, ::-1] if backwards else both, turn)

        both = pick()
        if cut < 0.08:
            both, other = both.copy(), pick()
            both[:, 0] = other[:, 0]
            if cut < 0.02:
                both[:, 2] = other[:, 2]
        return both[0], both[1]

    def batch() -> Batch:
        triples = [triple() for _ in range(BATCH)]
        clean, after_codec = (to_tensor(list(kind)) for kind in zip(*triples))
        inputs = clean.clone()
        inputs[:CODED] = after_codec[:CODED]
        for group in torch.arange(CODED + CLEAN, BATCH).chunk(2):
            sigma = torch.from_numpy(3 * 10 ** rng.uniform(0, 1, len(group))).float()
            inputs[group] = add_noise(inputs[group], sigma, str(rng.choice(NOISES)), generator)
        for sample in np.flatnonzero(rng.random(BATCH) < 0.1):
            # At the ends of a film and in repeated frames the neighbour is this very frame.
            inputs[sample, rng.choice([0, 2])] = inputs[sample, 1]
        return inputs, clean[:, 1:2], weights

    return batch


def learning_rate(step: int, steps: int) -> float:
    if step < WARM_UP:
        return PEAK_RATE * (step + 1) / WARM_UP
    progress = (step - WARM_UP) / (steps - WARM_UP)
    return PEAK_RATE * (0.002 + 0.998 * (1 + math.cos(math.pi * progress)) / 2)


def descend(network: torch.nn.Module, optimiser: torch.optim.Optimizer, batch: Batch) -> float:
    """One step of the optimiser; the Charbonnier loss before it."""
    inputs, targets, weights = batch
    error = network(inputs) - targets
    charbonnier = (error.square() + EPSILON**2).sqrt()
    loss = (charbonnier * weights[:, None, None, None]).mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=list(TASKS))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, help="instead of the task's own number")
    arguments = parser.parse_args()

    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(SEED)
    rng = np.random.default_rng(SEED)
    steps = arguments.steps or STEPS[arguments.task]
    batches = {"upscale": upscale_batches, "denoise": denoise_batches}
    batch = batches[arguments.task](arguments.data, rng)

    network = TASKS[arguments.task]()
    averaged = {k: v.clone() for k, v in network.state_dict().items()}
    optimiser = torch.optim.Adam(network.parameters())
    losses, begun = [], time.monotonic()
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, steps)
        loss = descend(network, optimiser, batch())
        decay = min(AVERAGING, (step + 1) / (step + 10))
        with torch.no_grad():
            for name, value in network.state_dict().items():
                averaged[name].lerp_(value, 1 - decay)
        losses.append(loss)
        if (step + 1) % 500 == 0:
            mean, minutes = np.mean(losses[-500:]) * 255, (time.monotonic() - begun) / 60
            print(f"step {step + 1}/{steps}  loss {mean:.4f}/255  {minutes:.1f} min", flush=True)
        if (step + 1) % 2000 == 0 or step + 1 == steps:
            torch.save(averaged, arguments.out)


if __name__ == "__main__":
    main()
