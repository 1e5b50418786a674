"""What Python makes of the same frames, and what this machine can compute: one JSON object on standard output.

    ai.py identity OUT            writes a model that changes nothing
    ai.py measure CLIP MODELS     frames a second of each model in MODELS, and floating point operations a second
"""

import json
import subprocess
import sys
import time
from pathlib import Path


def field(number: int, value: bytes) -> bytes:
    length = len(value)
    size = bytes([length]) if length < 128 else bytes([length & 127 | 128, length >> 7])
    return bytes([number << 3 | 2]) + size + value


def identity() -> bytes:
    node = field(1, b"x") + field(2, b"y") + field(4, b"Identity")
    sides = b"".join(field(1, side) for side in (b"\x08\x01", field(2, b"c"), field(2, b"h"), field(2, b"w")))
    kind = field(1, b"\x08\x01" + field(2, sides))
    ports = [field(11, field(1, b"x") + field(2, kind)), field(12, field(1, b"y") + field(2, kind))]
    graph = field(1, node) + field(2, b"g") + b"".join(ports)
    return b"\x08\x08" + field(8, field(1, b"") + b"\x10\x0d") + field(7, graph)


def measure(clip: Path, models: Path) -> dict:
    import numpy as np
    import onnxruntime

    probe = ["ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "stream=width,height", "-of", "csv=p=0"]
    width, height = map(int, subprocess.check_output([*probe, str(clip)], text=True).strip().split(",")[:2])
    sizes = [(height, width), (height // 2, width // 2), (height // 2, width // 2)]

    def planes(picture):
        at = 0
        for rows, columns in sizes:
            yield picture[at : at + rows * columns].reshape(rows, columns)
            at += rows * columns

    def whole(name, seen, session):
        """A film through a model as one would write it: ffmpeg, Python, ffmpeg."""
        scale = 2 if seen == 1 else 1
        decode = ["ffmpeg", "-v", "error", "-i", str(clip), "-pix_fmt", "yuv420p", "-f", "rawvideo", "-"]
        encode = ["ffmpeg", "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{width * scale}x{height * scale}"]
        encode += ["-r", "30", "-i", "-", "-c:v", "libx264", "-preset", "ultrafast", "-f", "mp4", "/dev/null"]
        bytes_of = lambda y: (np.clip(y[0, 0], 0, 1) * 255 + 0.5).astype(np.uint8).tobytes()
        run = lambda window: bytes_of(session.run(None, {"x": np.stack(window)[None].astype(np.float32) / 255})[0])
        source = subprocess.Popen(decode, stdout=subprocess.PIPE)
        sink = subprocess.Popen(encode, stdin=subprocess.PIPE)
        window, count = [], 0
        while len(raw := source.stdout.read(width * height * 3 // 2)) == width * height * 3 // 2:
            window = [*window, list(planes(np.frombuffer(raw, np.uint8)))][-seen:]
            if len(window) < seen:
                continue
            count += 1
            if scale == 2:
                luma, *chroma = window[0]
                out = [run([luma]), *(plane.repeat(2, 0).repeat(2, 1).tobytes() for plane in chroma)]
            else:
                out = [run([picture[n] for picture in window]) for n in range(3)]
            for plane in out:
                sink.stdin.write(plane)
        sink.stdin.close()
        sink.wait()
        return count

    made, films = {}, {}
    raw = subprocess.check_output(["ffmpeg", "-v", "error", "-i", str(clip), "-pix_fmt", "gray", "-f", "rawvideo", "-"])
    frames = np.frombuffer(raw, np.uint8).reshape(-1, height, width)[:60]
    for name, seen in [("kinora-upscale2", 1), ("kinora-upscale2-int8", 1), ("kinora-denoise3", 3), ("kinora-denoise3-int8", 3)]:
        session = onnxruntime.InferenceSession(str(models / f"{name}.onnx"), providers=["CPUExecutionProvider"])
        run = lambda at: session.run(None, {"x": frames[at : at + seen][None].astype(np.float32) / 255})
        run(0)
        count = len(frames) - seen + 1
        began = time.perf_counter()
        for at in range(count):
            run(at)
        made[name] = count / (time.perf_counter() - began)
        began = time.perf_counter()
        films[name] = whole(name, seen, session) / (time.perf_counter() - began)
    side = 2048
    a, b = (np.random.default_rng(n).random((side, side), np.float32) for n in (1, 2))
    a @ b
    best = min(timed(lambda: a @ b) for _ in range(5))
    return {"fps": made, "whole_fps": films, "gflops": 2 * side**3 / best / 1e9, "frames": len(frames)}


def timed(work) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    if sys.argv[1] == "identity":
        Path(sys.argv[2]).write_bytes(identity())
    else:
        print(json.dumps(measure(Path(sys.argv[2]), Path(sys.argv[3]))))
