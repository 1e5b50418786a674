"""Measures the models on held-out films: Markdown on stdout, JSON with --json.

`python evaluate.py --films FOLDER [FOLDER ...] --models FOLDER [--json FILE]`
The upscaler is compared with ffmpeg's Lanczos, the denoiser with ffmpeg's
nlmeans and hqdn3d at their defaults; all on 8-bit luma.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort
import torch
import torch.nn.functional as F

from data import SEED, film_luma, find_material
from degrade import Frames, downscaled, filtered, h264, noisy_frames

LENGTH, MEASURED = 16, (3, 7, 11)
# Clip: film, start in seconds, width, height of the reference frames.
CLIPS: dict[str, tuple[str, float, int, int]] = {
    "lake": ("four-shots", 2, 640, 360),
    "marathon": ("four-shots", 11, 640, 360),
    "dog": ("four-shots", 17, 640, 360),
    "cockatoo": ("four-shots", 27, 640, 360),
    "phone-roof": ("phone-roof", 5, 480, 272),
    "seattle": ("seattle", 4, 480, 272),
    "hlg-roof": ("hlg-roof", 0.5, 640, 360),
    "hdr10-roof": ("hdr10-roof", 1, 360, 640),
}
KERNELS = ("bicubic", "area", "lanczos")
CODERS = {"none": 0, "QP 18": 18, "QP 24": 24, "QP 30": 30}
LANCZOS = "scale={w}:{h}:flags=lanczos+accurate_rnd"
UPSCALERS = ("kinora-upscale2", "kinora-upscale2-int8")
DENOISERS = ("kinora-denoise3", "kinora-denoise3-int8")
BASELINES = {"nlmeans": MEASURED, "hqdn3d": range(LENGTH)}  # and the frames that it needs

Scores = dict[str, list[float]]  # method -> [PSNR, SSIM]
Table = dict[str, dict[str, Scores]]  # degradation -> clip -> scores


def session(path: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def apply_model(model: ort.InferenceSession, frames: Frames) -> Frames:
    """[frames, height, width] as one input of that many channels -> [height, width]."""
    (output,) = model.run(None, {"x": frames[None].astype(np.float32) / 255})
    return (output[0, 0].clip(0, 1) * 255).round().astype(np.uint8)


def scores(reference: Frames, output: Frames) -> list[float]:
    """PSNR (at most 60 dB, for the means) and SSIM (11x11 Gaussian window) of one frame."""
    a, b = (torch.from_numpy(f.astype(np.float64))[None, None] for f in (reference, output))
    error = (a - b).square().mean().item()
    psnr = 10 * np.log10(min(255**2 / max(error, 1e-9), 1e6))
    tap = torch.exp(-(torch.arange(-5, 6, dtype=torch.float64) ** 2) / (2 * 1.5**2))
    tap /= tap.sum()
    stack = torch.cat([a, b, a * a, b * b, a * b])
    means = F.conv2d(F.conv2d(stack, tap.view(1, 1, 1, -1)), tap.view(1, 1, -1, 1))
    ma, mb, aa, bb, ab = means[:, 0]
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    top = (2 * ma * mb + c1) * (2 * (ab - ma * mb) + c2)
    bottom = (ma**2 + mb**2 + c1) * (aa - ma**2 + bb - mb**2 + c2)
    return [psnr, (top / bottom).mean().item()]


def mean_scores(clean: Frames, restore: Callable[[int], Frames]) -> list[float]:
    return np.mean([scores(clean[t], restore(t)) for t in MEASURED], axis=0).round(4).tolist()


def upscaling(references: dict[str, Frames], folder: Path) -> Table:
    models = {name: session(folder / f"{name}.onnx") for name in UPSCALERS}
    table: Table = {}
    for kernel in KERNELS:
        for coder, qp in CODERS.items():
            rows = table.setdefault(f"{kernel}, {coder}", {})
            for clip, clean in references.items():
                low = downscaled(clean, kernel)
                low = h264(low, qp) if qp else low
                height, width = clean.shape[1:]
                lanczos = filtered(low, LANCZOS.format(w=width, h=height), width, height)
                rows[clip] = {"Lanczos": mean_scores(clean, lambda t: lanczos[t])}
                for name, model in models.items():
                    rows[clip][name] = mean_scores(
                        clean, lambda t: apply_model(model, low[t : t + 1])
                    )
    return table


def denoising(references: dict[str, Frames], folder: Path) -> Table:
    models = {name: session(folder / f"{name}.onnx") for name in DENOISERS}
    conditions = [("clean", 0.0, "gaussian", 0)]
    conditions += [(f"Gaussian, sigma {s}", float(s), "gaussian", 0) for s in (5, 10, 20)]
    conditions += [("signal-dependent, sigma 10", 10.0, "signal", 0)]
    conditions += [("correlated, sigma 10", 10.0, "correlated", 0)]
    conditions += [("Gaussian, sigma 10, then H.264 QP 23", 10.0, "gaussian", 23)]
    conditions += [("H.264 QP 23 without noise", 0.0, "gaussian", 23)]
    generator = torch.Generator().manual_seed(SEED)
    table: Table = {}
    for condition, sigma, kind, qp in conditions:
        rows = table.setdefault(condition, {})
        for clip, clean in references.items():
            noisy = noisy_frames(clean, sigma, kind, generator) if sigma else clean
            noisy = h264(noisy, qp) if qp else noisy
            rows[clip] = {"input": mean_scores(clean, lambda t: noisy[t])}
            for name, needed in BASELINES.items():
                output = dict(zip(needed, filtered(noisy[list(needed)], name)))
                rows[clip][name] = mean_scores(clean, lambda t: output[t])
            for name, model in models.items():
                rows[clip][name] = mean_scores(
                    clean, lambda t: apply_model(model, noisy[t - 1 : t + 2])
                )
    return table


def milliseconds(path: Path, channels: int, width: int, height: int) -> float:
    """The median of 15 runs on one thread."""
    model = session(path)
    x = np.random.default_rng(0).random((1, channels, height, width), np.float32)
    runs = []
    for _ in range(17):
        begun = time.perf_counter()
        model.run(None, {"x": x})
        runs.append((time.perf_counter() - begun) * 1000)
    return round(float(np.median(runs[2:])), 1)


def clip_mean(rows: dict[str, Scores], method: str) -> list[float]:
    return np.mean([row[method] for row in rows.values()], axis=0).tolist()


def markdown(table: Table) -> str:
    """One line per degradation: the means over the clips, PSNR in dB / SSIM."""
    methods = list(next(iter(next(iter(table.values())).values())))
    lines = ["| degradation | " + " | ".join(methods) + " |", "| --- |" + " --- |" * len(methods)]
    for degradation, rows in table.items():
        cells = ["{:.2f} / {:.4f}".format(*clip_mean(rows, method)) for method in methods]
        lines.append(f"| {degradation} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def clip_markdown(table: Table) -> str:
    """One line per clip: the means over the degradations."""
    turned: Table = {}
    for degradation, rows in table.items():
        for clip, row in rows.items():
            turned.setdefault(clip, {})[degradation] = row
    return markdown(turned).replace("degradation", "clip", 1)


def measure(films: list[Path], folder: Path, tasks: list[str]) -> dict[str, Table]:
    material = find_material(films, "heldout")
    references = {
        clip: film_luma(material[film][1], width, height, start, LENGTH)
        for clip, (film, start, width, height) in CLIPS.items()
    }
    measures = {"upscale": upscaling, "denoise": denoising}
    return {task: measures[task](references, folder) for task in tasks}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--films", type=Path, nargs="+", required=True)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--task", choices=["upscale", "denoise"], help="only this one")
    arguments = parser.parse_args()
    torch.set_num_threads(1)

    tasks = [arguments.task] if arguments.task else ["upscale", "denoise"]
    tables = measure(arguments.films, arguments.models, tasks)
    for task, table in tables.items():
        print(f"## {task}: PSNR (dB) / SSIM, mean of the clips\n\n{markdown(table)}\n")
        print(f"## {task}: the same by clip, mean of the degradations\n\n{clip_markdown(table)}\n")
    names = [n for task in tasks for n in (UPSCALERS if task == "upscale" else DENOISERS)]
    print("## Milliseconds for a 640x360 input, one thread\n")
    for name in names:
        channels = 1 if name in UPSCALERS else 3
        print(f"- {name}: {milliseconds(arguments.models / f'{name}.onnx', channels, 640, 360)}")
    if arguments.json:
        arguments.json.write_text(json.dumps(tables, indent=1) + "\n")


if __name__ == "__main__":
    main()
