"""Checks the shipped models: hashes and form, and with --films the recorded metrics.

`python verify.py --models FOLDER [--films FOLDER ...]`
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tomllib
from pathlib import Path
from typing import Any

import onnx
import torch

from evaluate import clip_mean, measure

TOLERANCE_DB, TOLERANCE_SSIM = 0.05, 0.002
MAX_OPSET = 17


def file_faults(entry: dict[str, Any], folder: Path) -> list[str]:
    data = (folder / entry["file"]).read_bytes()
    faults = []
    if hashlib.sha256(data).hexdigest() != entry["sha256"] or len(data) != entry["bytes"]:
        faults.append("not the file that the manifest records")
    model = onnx.load_model_from_string(data)
    onnx.checker.check_model(model, full_check=True)
    if any(opset.domain or opset.version > MAX_OPSET for opset in model.opset_import):
        faults.append(f"needs more than opset {MAX_OPSET}")
    if any(tensor.external_data for tensor in model.graph.initializer):
        faults.append("has external data")
    return faults


def metric_faults(films: list[Path], folder: Path) -> list[str]:
    recorded = json.loads((folder / "metrics.json").read_text())
    measured = measure(films, folder, list(recorded))
    faults = []
    for task, table in recorded.items():
        for degradation, rows in table.items():
            for method in next(iter(rows.values())):
                before = clip_mean(rows, method)
                now = clip_mean(measured[task][degradation], method)
                psnr, ssim = (abs(a - b) for a, b in zip(before, now))
                if psnr > TOLERANCE_DB or ssim > TOLERANCE_SSIM:
                    faults.append(f"{task}, {degradation}, {method}: {before} became {now}")
    return faults


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--films", type=Path, nargs="+", help="also measure again")
    arguments = parser.parse_args()
    torch.set_num_threads(1)

    manifest = tomllib.loads((arguments.models / "manifest.toml").read_text())
    faults = []
    for entry in manifest["model"]:
        found = file_faults(entry, arguments.models)
        print(entry["file"], "; ".join(found) or "as recorded")
        faults += found
    if arguments.films:
        found = metric_faults(arguments.films, arguments.models)
        print("\n".join(found) or "metrics as recorded")
        faults += found
    raise SystemExit(1 if faults else 0)


if __name__ == "__main__":
    main()
