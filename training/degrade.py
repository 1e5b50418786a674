"""Degradations: down-scaling, H.264 and sensor noise on 8-bit luma sequences.

Down-scaling and coding are done by ffmpeg itself, so that training and
evaluation see exactly what users' files went through. Sequences are uint8
arrays [frames, height, width] with even height and width.
"""

from __future__ import annotations

import subprocess

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

Frames = NDArray[np.uint8]

DOWNSCALERS = {
    "bicubic": "scale={w}:{h}:flags=bicubic+accurate_rnd",
    "area": "scale={w}:{h}:flags=area+accurate_rnd",
    "lanczos": "scale={w}:{h}:flags=lanczos+accurate_rnd",
    "bilinear": "scale={w}:{h}:flags=bilinear+accurate_rnd",
    "blurred": "gblur=sigma=0.7,scale={w}:{h}:flags=bicubic+accurate_rnd",
}
NOISES = ("gaussian", "signal", "correlated")


def run_ffmpeg(arguments: list[str], data: bytes = b"") -> bytes:
    command = ["ffmpeg", "-v", "error", "-nostdin", "-threads", "1", *arguments]
    done = subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True)
    return done.stdout


def to_yuv420(frames: Frames) -> bytes:
    """Grey chroma is added because ffmpeg takes `gray` for full range and would convert."""
    count, height, width = frames.shape
    chroma = np.full((count, height * width // 2), 128, np.uint8)
    return np.concatenate([frames.reshape(count, -1), chroma], axis=1).tobytes()


def from_yuv420(data: bytes, width: int, height: int) -> Frames:
    planes = np.frombuffer(data, np.uint8).reshape(-1, height * width * 3 // 2)
    return planes[:, : height * width].reshape(-1, height, width).copy()


def raw_input(frames: Frames) -> list[str]:
    _, height, width = frames.shape
    size = f"{width}x{height}"
    return ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", size, "-r", "25", "-i", "-"]


RAW_OUTPUT = ["-pix_fmt", "yuv420p", "-vsync", "passthrough", "-f", "rawvideo", "-"]


def filtered(frames: Frames, filters: str, width: int = 0, height: int = 0) -> Frames:
    """The sequence through an ffmpeg filter chain that gives frames of width x height."""
    data = run_ffmpeg([*raw_input(frames), "-vf", filters, *RAW_OUTPUT], to_yuv420(frames))
    return from_yuv420(data, width or frames.shape[2], height or frames.shape[1])


def downscaled(frames: Frames, kernel: str) -> Frames:
    width, height = frames.shape[2] // 2, frames.shape[1] // 2
    return filtered(frames, DOWNSCALERS[kernel].format(w=width, h=height), width, height)


def h264(frames: Frames, qp: int, interval: int = 250) -> Frames:
    """The sequence after libx264 at a constant quantiser and decoding; `interval` is the
    length of its closed groups of pictures."""
    gop = ["-g", str(interval), "-keyint_min", str(interval), "-sc_threshold", "0"]
    coder = ["-c:v", "libx264", "-threads", "1", "-qp", str(qp), *gop, "-f", "h264", "-"]
    stream = run_ffmpeg([*raw_input(frames), *coder], to_yuv420(frames))
    decoded = run_ffmpeg(["-f", "h264", "-i", "-", *RAW_OUTPUT], stream)
    return from_yuv420(decoded, frames.shape[2], frames.shape[1])


def add_noise(clean: Tensor, sigma: Tensor, kind: str, generator: torch.Generator) -> Tensor:
    """Sensor noise on luma 0..1 [n,f,h,w], rounded to 8 bits; `sigma` [n] is of 255.

    "signal" is Poisson-Gaussian: the variance rises with the luma and is
    sigma^2 at mid-grey. "correlated" is blurred as by demosaicing.
    """
    noise = torch.randn(clean.shape, generator=generator)
    if kind == "correlated":
        side = 0.1 + 0.2 * torch.rand(1, generator=generator).item()
        tap = torch.tensor([side, 1.0, side])
        tap /= tap.square().sum().sqrt()
        kernel = torch.outer(tap, tap)[None, None].expand(clean.shape[1], 1, 3, 3)
        noise = F.conv2d(noise, kernel, padding=1, groups=clean.shape[1])
    elif kind == "signal":
        noise = noise * (0.2 + 1.6 * clean).sqrt()
    noisy = clean + noise * (sigma / 255)[:, None, None, None]
    return (noisy.clamp(0, 1) * 255).round() / 255


def noisy_frames(frames: Frames, sigma: float, kind: str, generator: torch.Generator) -> Frames:
    clean = torch.from_numpy(frames)[None].float() / 255
    noisy = add_noise(clean, torch.tensor([sigma]), kind, generator)
    return (noisy[0] * 255).round().to(torch.uint8).numpy()
