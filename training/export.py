"""Writes a trained network as ONNX: float, and int8 with QDQ nodes.

`python export.py upscale|denoise --weights FILE.pt [--int8-weights FILE.pt] --data FOLDER
--out FOLDER`
The float file must give torch's output within 1e-4. The int8 file is
calibrated on training patches, or has the weights and ranges of quantise.py.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import (CalibrationDataReader, CalibrationMethod, QuantFormat,
                                      QuantType, quantize_static)
from torch import nn

from data import SEED
from models import TASKS, Network, Upscaler
from train import denoise_batches, upscale_batches

OPSET, IR_VERSION = 17, 8
NAMES = {"upscale": "kinora-upscale2", "denoise": "kinora-denoise3"}
CALIBRATION_BATCHES = 16
TOLERANCE = 1e-4


class GraphWriter:
    """Collects the nodes and the constants of one ONNX graph."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, value: NDArray) -> str:
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def node(self, operator: str, inputs: list[str], output: str, **attributes: object) -> str:
        self.nodes.append(
            helper.make_node(operator, inputs, [output], name=output, **attributes)
        )
        return output

    def convolution(self, conv: nn.Conv2d, source: str, output: str) -> str:
        weight = self.constant(f"{output}.weight", conv.weight.detach().numpy())
        bias = self.constant(f"{output}.bias", conv.bias.detach().numpy())
        return self.node(
            "Conv", [source, weight, bias], output,
            kernel_shape=conv.kernel_size, strides=conv.stride,
            pads=conv.padding * 2, dilations=conv.dilation,
        )

    def slice_channels(self, source: str, first: int, end: int, output: str) -> str:
        bounds = [self.constant(f"{output}.{name}", np.array([value], np.int64))
                  for name, value in (("first", first), ("end", end), ("axis", 1))]
        return self.node("Slice", [source, *bounds], output)

    def shuffle(self, source: str, output: str) -> str:
        return self.node("DepthToSpace", [source], output, blocksize=2, mode="CRD")


def aligned(tail: nn.Conv2d) -> nn.Conv2d:
    """The last convolution with outputs of zero added: int8 kernels need multiples of 16."""
    wide = nn.Conv2d(tail.in_channels, 16, tail.kernel_size, padding=tail.padding)
    for old, new in ((tail.weight, wide.weight), (tail.bias, wide.bias)):
        new.data.zero_()
        new.data[: len(old)] = old.data
    return wide


def to_onnx(network: Network, for_int8: bool = False) -> onnx.ModelProto:
    graph = GraphWriter()
    body = list(network.body)
    outputs = body[-1].out_channels
    if for_int8:
        body[-1] = aligned(body[-1])
    pads = graph.constant("pads", np.array([0, 0, 2, 2, 0, 0, 2, 2], np.int64))
    padded = graph.node("Pad", ["x", pads], "padded", mode="edge")
    last = padded
    for index, layer in enumerate(body):
        if isinstance(layer, nn.Conv2d):
            last = graph.convolution(layer, last, f"conv{index // 2}")
        else:
            last = graph.node("Relu", [last], f"relu{index // 2}")
    if for_int8:
        last = graph.slice_channels(last, 0, outputs, "used")
    if isinstance(network, Upscaler):
        kernel = graph.constant("bicubic.weight", network.bicubic.numpy())
        bicubic = graph.node("Conv", [padded, kernel], "bicubic", kernel_shape=[5, 5])
        graph.shuffle(graph.node("Add", [bicubic, last], "phases"), "y")
    else:
        middle = graph.slice_channels("x", 1, 2, "middle")
        graph.node("Add", [middle, graph.shuffle(last, "residual")], "y")
    s = network.scale
    size = ["h", "w"] if s == 1 else [f"{s}h", f"{s}w"]
    model = helper.make_model(
        helper.make_graph(
            graph.nodes, type(network).__name__,
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, network.frames, "h", "w"])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, *size])],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION, producer_name="kinora",
    )
    onnx.checker.check_model(model, full_check=True)
    return model


class Patches(CalibrationDataReader):
    def __init__(self, inputs: Iterator[NDArray]) -> None:
        self.inputs = inputs

    def get_next(self) -> dict[str, NDArray] | None:
        patch = next(self.inputs, None)
        return None if patch is None else {"x": patch}


def calibration_patches(task: str, folder: Path) -> Iterator[NDArray]:
    rng = np.random.default_rng(SEED + 1)
    batch = (upscale_batches if task == "upscale" else denoise_batches)(folder, rng)
    for _ in range(CALIBRATION_BATCHES):
        for patch in batch()[0]:
            yield patch[None].numpy()


def quantise(
    network: Network, task: str, folder: Path, output: Path, bounds: list[float]
) -> None:
    """Weights to int8 per channel, activations to uint8. The residual path and the first
    convolution stay in float: with so few input channels int8 would be slower. `bounds`
    are the upper ends of the activations after each ReLU where quantise.py has set them."""
    logging.disable(logging.WARNING)
    source = output.with_suffix(".float.onnx")
    onnx.save(to_onnx(network, for_int8=True), source)
    quantize_static(
        source, output, Patches(calibration_patches(task, folder)),
        quant_format=QuantFormat.QDQ, per_channel=True,
        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
        # Without VNNI, products of 8-bit weights overflow ONNX Runtime's 16-bit sums.
        reduce_range=True,
        op_types_to_quantize=["Conv", "Relu"], nodes_to_exclude=["bicubic", "conv0", "relu0"],
        calibrate_method=CalibrationMethod.MinMax,
        extra_options={
            "TensorQuantOverrides": {
                f"relu{index}": [{"scale": np.array(bound / 255, np.float32),
                                  "zero_point": np.array(0, np.uint8)}]
                for index, bound in enumerate(bounds)
            },
        },
    )
    source.unlink()


def check(network: Network, path: Path) -> float:
    """The largest difference between torch and ONNX Runtime on a random picture."""
    x = torch.rand(1, network.frames, 90, 134, generator=torch.Generator().manual_seed(SEED))
    with torch.no_grad():
        expected = network(x).numpy()
    model = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    return float(np.abs(model.run(None, {"x": x.numpy()})[0] - expected).max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=list(TASKS))
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--int8-weights", type=Path, help="of quantise.py, for the int8 file")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)

    network = TASKS[arguments.task]()
    network.load_state_dict(torch.load(arguments.weights))
    network = network.fold()
    float_path = arguments.out / f"{NAMES[arguments.task]}.onnx"
    onnx.save(to_onnx(network), float_path)
    difference = check(network, float_path)
    print(f"{float_path.name}: differs from torch by at most {difference:.1e}")
    if difference > TOLERANCE:
        raise SystemExit("the exported network differs from torch")
    int8_path = float_path.with_stem(f"{float_path.stem}-int8")
    bounds: list[float] = []
    if arguments.int8_weights:
        tuned = torch.load(arguments.int8_weights)
        network.load_state_dict(tuned["state"])
        bounds = tuned["bounds"]
    quantise(network, arguments.task, arguments.data, int8_path, bounds)


if __name__ == "__main__":
    main()
