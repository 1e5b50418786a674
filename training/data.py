"""Training tensors from films, photographs and drawn test charts.

`python data.py --films FOLDER [FOLDER ...] --out FOLDER` finds the material of
material.toml by SHA-256 below the given folders and writes, always the same:

- clips.npy   [n, 7, 256, 384]       clean sequences
- lowres.npy  [n, 8, 2, 128, 192]    frames 2 and 5 down-scaled by two, in eight degradations
- noisy.npy   [n, 2, 7, 256, 384]    the sequences with noise, after H.264
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from degrade import (NOISES, RAW_OUTPUT, Frames, downscaled, from_yuv420, h264, noisy_frames,
                     run_ffmpeg)

SEED = 20240607
LENGTH, HEIGHT, WIDTH = 7, 256, 384
LOWRES_FRAMES = (2, 5)
LOWRES_VARIANTS, UNCODED_VARIANTS = 8, 3
NOISY_VARIANTS = 2
CHARTS = 32
KERNEL_WEIGHTS = {"bicubic": 0.25, "area": 0.2, "lanczos": 0.25, "bilinear": 0.15, "blurred": 0.15}


def find_material(folders: list[Path], role: str) -> dict[str, tuple[dict[str, Any], Path]]:
    """The entries of material.toml with this role and their files; exits if one is missing."""
    material = tomllib.loads((Path(__file__).parent / "material.toml").read_text())
    wanted = [dict(entry, kind=kind) for kind, entries in material.items() for entry in entries]
    wanted = [entry for entry in wanted if entry["role"] == role]
    sizes = {entry["bytes"] for entry in wanted}
    by_hash: dict[str, Path] = {}
    for folder in folders:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            if path.stat().st_size in sizes:
                by_hash[hashlib.sha256(path.read_bytes()).hexdigest()] = path
    missing = [entry for entry in wanted if entry["sha256"] not in by_hash]
    for entry in missing:
        print(f"missing {entry['name']} ({entry['sha256']}): {entry['source']}", file=sys.stderr)
    if missing:
        raise SystemExit(1)
    return {entry["name"]: (entry, by_hash[entry["sha256"]]) for entry in wanted}


def film_luma(path: Path, width: int, height: int, start: float = 0, frames: int = 0) -> Frames:
    """Luma of a film scaled to width x height; 10-bit films are cut to 8 bits as they are."""
    only = ["-frames:v", str(frames)] if frames else []
    scale = ["-vf", f"scale={width}:{height}:flags=bicubic+accurate_rnd,format=yuv420p"]
    source = ["-noautorotate", "-ss", str(start), "-i", str(path)]
    return from_yuv420(run_ffmpeg([*source, *scale, *only, *RAW_OUTPUT]), width, height)


def film_clip(film: Frames, rng: np.random.Generator) -> Frames:
    step = int(rng.integers(1, 3))
    start = rng.integers(0, len(film) - step * LENGTH)
    y = rng.integers(0, film.shape[1] - HEIGHT + 1)
    x = rng.integers(0, film.shape[2] - WIDTH + 1)
    return film[start : start + step * LENGTH : step, y : y + HEIGHT, x : x + WIDTH]


def photo_luma(path: Path) -> Tensor:
    grey = np.asarray(Image.open(path).convert("L"))
    return torch.from_numpy(grey.copy()).float()[None, None]


def draw_chart(rng: np.random.Generator) -> Tensor:
    """Text, lines, shapes, gradients and a zone plate: what photographs have little of."""
    size = (1800, 1200)
    ramp = np.linspace(*rng.uniform(0, 255, 2), size[0]) + np.linspace(0, 60, size[1])[:, None]
    y, x = np.mgrid[0 : size[1], 0 : size[0]]
    centre = rng.uniform(200, 1000, 2)
    radius2 = (x - centre[0]) ** 2 + (y - centre[1]) ** 2
    plate = 127.5 + 120 * np.cos(radius2 / rng.uniform(600, 1500))
    canvas = np.where(radius2 < 300**2, plate, ramp).clip(0, 255).astype(np.uint8)
    image = Image.fromarray(canvas)
    draw = ImageDraw.Draw(image)
    for _ in range(60):
        ink = int(rng.integers(0, 256))
        x0, y0 = int(rng.integers(0, size[0])), int(rng.integers(0, size[1]))
        x1, y1 = x0 + int(rng.integers(10, 400)), y0 + int(rng.integers(10, 300))
        shape = rng.integers(0, 5)
        if shape == 0:
            draw.line((x0, y0, x1, y1), fill=ink, width=int(rng.integers(2, 12)))
        elif shape == 1:
            draw.ellipse((x0, y0, x1, y1), outline=ink, width=int(rng.integers(2, 12)))
        elif shape == 2:
            draw.polygon((x0, y0, x1, y0, x0, y1), fill=ink)
        else:
            letters = rng.integers(33, 127, int(rng.integers(4, 30)))
            font = ImageFont.load_default(int(rng.integers(20, 90)))
            draw.text((x0, y0), "".join(map(chr, letters)), fill=ink, font=font)
    return torch.from_numpy(np.asarray(image).copy()).float()[None, None]


def pan(photo: Tensor, rng: np.random.Generator) -> Tensor:
    """[LENGTH, HEIGHT, WIDTH]: a camera that pans, zooms and turns over a still picture."""
    largest = min(photo.shape[2] / HEIGHT, photo.shape[3] / WIDTH)
    zoom = rng.uniform(1, max(1.05, min(largest, 5.0)))  # source pixels per output pixel
    reduce = int(zoom)
    photo = F.avg_pool2d(photo, reduce)
    zoom /= reduce
    height, width = photo.shape[2:]
    room_y, room_x = max(height - zoom * HEIGHT, 0), max(width - zoom * WIDTH, 0)
    centre = np.array([rng.uniform(-0.5, 0.5) * room_x, rng.uniform(-0.5, 0.5) * room_y])
    speed = rng.normal(0, 1, 2) * rng.choice([0, 0.7, 2.5, 6])
    zooming, turning = rng.normal(0, 0.004), rng.normal(0, 0.004)
    y, x = np.mgrid[0 : 2 * HEIGHT, 0 : 2 * WIDTH]
    y, x = (y + 0.5) / 2 - HEIGHT / 2, (x + 0.5) / 2 - WIDTH / 2
    grids = []
    for t in range(LENGTH):
        scale, angle = zoom * (1 + zooming) ** t, turning * t
        u = scale * (x * np.cos(angle) - y * np.sin(angle)) + centre[0] + speed[0] * t
        v = scale * (x * np.sin(angle) + y * np.cos(angle)) + centre[1] + speed[1] * t
        grids.append(np.stack([u / (width / 2), v / (height / 2)], axis=-1))
    grid = torch.from_numpy(np.stack(grids)).float()
    many = photo.expand(LENGTH, -1, -1, -1)
    # Twice the resolution, then averaged: a sharp picture without aliasing.
    fine = F.grid_sample(many, grid, "bicubic", "reflection", align_corners=False)
    return F.avg_pool2d(fine, 2)[:, 0]


def moving_mask(rng: np.random.Generator) -> Tensor:
    """[LENGTH, HEIGHT, WIDTH] of 0..1: a soft-edged disc that moves over the picture."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    centre, speed = rng.uniform((0, 0), (WIDTH, HEIGHT)), rng.normal(0, 6, 2)
    radius = rng.uniform(30, 110)
    steps = np.arange(LENGTH)[:, None, None]
    distance = np.hypot(x - centre[0] - speed[0] * steps, y - centre[1] - speed[1] * steps)
    return torch.from_numpy(radius - distance).float().clamp(-0.5, 0.5) + 0.5


def still_clip(photo: Tensor, other: Tensor, rng: np.random.Generator) -> Frames:
    """A pan over a photograph; in every third clip another one moves in front of it."""
    clip = pan(photo, rng)
    if rng.random() < 1 / 3:
        mask = moving_mask(rng)
        clip = clip * (1 - mask) + pan(other, rng) * mask
    if rng.random() < 2 / 3:  # video range; the rest stays in full range
        clip = 16 + clip * (219 / 255)
    return clip.clamp(0, 255).round().to(torch.uint8).numpy()


def clean_clips(folders: list[Path], rng: np.random.Generator) -> Frames:
    material = find_material(folders, "train")
    clips: list[Frames] = []
    photos: list[tuple[Tensor, int]] = []
    for entry, path in material.values():
        if entry["kind"] == "film":
            film = film_luma(path, entry["width"], entry["height"])
            clips += [film_clip(film, rng) for _ in range(entry["clips"])]
        else:
            photos.append((photo_luma(path), entry["clips"]))
    photos += [(draw_chart(rng), 1) for _ in range(CHARTS)]
    for photo, count in photos:
        others = rng.integers(0, len(photos), count)
        clips += [still_clip(photo, photos[other][0], rng) for other in others]
    return np.stack(clips)


def by_setting(
    clips: Frames, settings: NDArray, apply: Callable[[Frames, Any], Frames]
) -> Frames:
    """`apply` on the clips of each setting, strung together: few runs of ffmpeg."""
    parts: dict[int, Frames] = {}
    for setting in np.unique(settings):
        chosen = np.flatnonzero(settings == setting)
        output = apply(clips[chosen].reshape(-1, *clips.shape[2:]), setting)
        parts |= zip(chosen, output.reshape(len(chosen), LENGTH, *output.shape[1:]))
    return np.stack([parts[index] for index in range(len(clips))])


def coded(clips: Frames, qps: NDArray) -> Frames:
    return by_setting(clips, qps, lambda frames, qp: h264(frames, int(qp), interval=LENGTH))


def lowres_variant(
    clips: Frames, with_codec: bool, rng: np.random.Generator, noise: torch.Generator
) -> Frames:
    kernels = rng.choice(list(KERNEL_WEIGHTS), len(clips), p=list(KERNEL_WEIGHTS.values()))
    small = by_setting(clips, kernels, lambda frames, kernel: downscaled(frames, str(kernel)))
    for index in np.flatnonzero(rng.random(len(clips)) < 0.15):
        small[index] = noisy_frames(small[index], rng.uniform(0.5, 3), "gaussian", noise)
    if with_codec:
        small = coded(small, rng.integers(18, 33, len(clips)))
    return small[:, list(LOWRES_FRAMES)]


def noisy_variant(clips: Frames, rng: np.random.Generator, noise: torch.Generator) -> Frames:
    sigmas = 3 * 10 ** rng.uniform(0, 1, len(clips))
    kinds = rng.choice(NOISES, len(clips))
    noisy = [noisy_frames(c, s, k, noise) for c, s, k in zip(clips, sigmas, kinds)]
    return coded(np.stack(noisy), rng.integers(18, 29, len(clips)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--films", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    rng, noise = np.random.default_rng(SEED), torch.Generator().manual_seed(SEED)

    clips = clean_clips(arguments.films, rng)
    np.save(arguments.out / "clips.npy", clips)
    lowres = [lowres_variant(clips, variant >= UNCODED_VARIANTS, rng, noise)
              for variant in range(LOWRES_VARIANTS)]
    np.save(arguments.out / "lowres.npy", np.stack(lowres, axis=1))
    noisy = [noisy_variant(clips, rng, noise) for _ in range(NOISY_VARIANTS)]
    np.save(arguments.out / "noisy.npy", np.stack(noisy, axis=1))
    for name in ("clips", "lowres", "noisy"):
        path = arguments.out / f"{name}.npy"
        print(path.name, hashlib.sha256(path.read_bytes()).hexdigest())


if __name__ == "__main__":
    main()
