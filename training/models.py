"""The two networks: luma x2 super-resolution and three-frame luma denoising.

Both are plain chains of 3x3 convolutions with ReLU, which ONNX Runtime fuses
into one kernel each in float and in int8. During training every convolution
is over-parameterised (3x3 into a wide space, then 1x1, plus an identity path
where the widths agree) and collapsed into one kernel on the fly; `fold()`
gives the plain network that is exported.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EXPANSION = 64


class CollapsibleConv(nn.Module):
    """A linear block k x k -> 1x1 (+ identity) that is applied as one convolution."""

    def __init__(self, inputs: int, outputs: int, kernel: int, **conv: int) -> None:
        super().__init__()
        wide = nn.Conv2d(inputs, EXPANSION, kernel, bias=False)
        narrow = nn.Conv2d(EXPANSION, outputs, 1)
        self.wide = nn.Parameter(wide.weight.detach().clone())
        self.narrow = nn.Parameter(narrow.weight.detach()[:, :, 0, 0].clone())
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.conv = conv
        identity = torch.zeros(outputs, inputs, kernel, kernel)
        if inputs == outputs:
            for channel in range(inputs):
                identity[channel, channel, kernel // 2, kernel // 2] = 1.0
        self.register_buffer("identity", identity)

    def weight(self) -> Tensor:
        shape = self.identity.shape
        return (self.narrow @ self.wide.flatten(1)).view(shape) + self.identity

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight(), self.bias, **self.conv)

    def fold(self) -> nn.Conv2d:
        weight = self.weight().detach()
        outputs, inputs, kernel, _ = weight.shape
        plain = nn.Conv2d(inputs, outputs, kernel, **self.conv)
        plain.weight.data.copy_(weight)
        plain.bias.data.copy_(self.bias.detach())
        return plain


class Network(nn.Module):
    """Edge padding, a chain of convolutions `body`, and a pixel shuffle by two."""

    frames: int
    scale: int
    multiple_of: int
    receptive_field: int  # radius in input pixels

    def __init__(self, body: nn.Sequential) -> None:
        super().__init__()
        self.body = body

    def fold(self) -> Network:
        layers = [m.fold() if isinstance(m, CollapsibleConv) else m for m in self.body]
        folded = type(self)()
        folded.load_state_dict(
            {k: v for k, v in self.state_dict().items() if not k.startswith("body.")},
            strict=False,
        )
        folded.body = nn.Sequential(*layers)
        return folded.eval()


class Upscaler(Network):
    """[n,1,h,w] -> [n,1,2h,2w]: a fixed bicubic upsampling plus a learned residual."""

    frames, scale, multiple_of = 1, 2, 1

    def __init__(self, width: int = 24, depth: int = 3) -> None:
        layers: list[nn.Module] = [CollapsibleConv(1, width, 5), nn.ReLU()]
        for _ in range(depth):
            layers += [CollapsibleConv(width, width, 3, padding=1), nn.ReLU()]
        layers.append(CollapsibleConv(width, 4, 3, padding=1))
        super().__init__(nn.Sequential(*layers))
        self.receptive_field = 2 + depth + 1
        self.register_buffer("bicubic", bicubic_phases())

    def forward(self, x: Tensor) -> Tensor:
        padded = F.pad(x, (2, 2, 2, 2), mode="replicate")
        return F.pixel_shuffle(F.conv2d(padded, self.bicubic) + self.body(padded), 2)


class Denoiser(Network):
    """[n,3,h,w] (previous, this, next) -> [n,1,h,w]: this frame minus its noise.

    The first convolution, 6x6 with stride 2, is a pixel unshuffle by two and a
    3x3 convolution in one.
    """

    frames, scale, multiple_of = 3, 1, 2
    dilations = (1, 2, 4, 2)

    def __init__(self, width: int = 24) -> None:
        layers: list[nn.Module] = [CollapsibleConv(3, width, 6, stride=2), nn.ReLU()]
        for d in self.dilations:
            layers += [CollapsibleConv(width, width, 3, padding=d, dilation=d), nn.ReLU()]
        layers.append(CollapsibleConv(width, 4, 3, padding=1))
        super().__init__(nn.Sequential(*layers))
        self.receptive_field = 2 * (1 + sum(self.dilations) + 1) + 1

    def forward(self, x: Tensor) -> Tensor:
        padded = F.pad(x, (2, 2, 2, 2), mode="replicate")
        return x[:, 1:2] + F.pixel_shuffle(self.body(padded), 2)


def bicubic_phases() -> Tensor:
    """The four 5x5 kernels (Keys, a = -0.5) of a x2 upsampling, one per phase."""
    a = -0.5

    def keys(distance: float) -> float:
        t = abs(distance)
        if t <= 1:
            return (a + 2) * t**3 - (a + 3) * t**2 + 1
        return a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a if t < 2 else 0.0

    # An output sample lies a quarter of an input pixel before or after its input sample.
    taps = torch.tensor([[keys(i - offset) for i in range(-2, 3)] for offset in (-0.25, 0.25)])
    return torch.stack([torch.outer(taps[y], taps[x]) for y in (0, 1) for x in (0, 1)])[:, None]


def parameter_count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.fold().parameters())


TASKS: dict[str, type[Network]] = {"upscale": Upscaler, "denoise": Denoiser}
