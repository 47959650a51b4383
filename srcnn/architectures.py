"""Descriptions of networks: stacks of convolutions with an activation between them.

SRCNN sees the interpolated picture: Dong, Loy, He, Tang, "Image Super-Resolution Using Deep
Convolutional Networks", arXiv:1501.00092. A name such as 9-5-5 gives the layers' kernel sizes.

Sub-pixel networks see the small picture and enlarge it in their last layer: Shi et al., "Real-Time
Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional Neural Network",
arXiv:1609.05158. They add their input to their output.
"""

import math
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

# Seventy times the 9-5-5; a hostile model card could ask for terabytes.
MAX_PARAMETERS = 4_000_000

Padding = Literal["valid", "same", "replicate"]
# Whose interpolation, colour and rounding a network was trained with; see srcnn.protocols.
ProtocolName = Literal["opencv", "matlab"]
# Kernel of the interpolation where none is named.
DEFAULT_KERNEL = {"opencv": "bilinear", "matlab": "bicubic"}


class ConvLayer(BaseModel):
    """One convolution, stride 1, with bias.

    Attributes:
      kernel: side of the square kernel in pixels, odd.
      filters: output channels.
      padding: `valid` loses kernel // 2 pixels on each side; `same` pads the layer's input with
        zeros; `replicate` pads it with its own edge (MATLAB's imfilter with 'replicate').
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kernel: Annotated[int, Field(ge=1, le=31)]
    filters: Annotated[int, Field(ge=1, le=1024)]
    padding: Padding = "valid"

    @model_validator(mode="after")
    def _kernel_is_odd(self) -> "ConvLayer":
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel size {self.kernel} is even; convolutions here are odd-sized")
        return self

    @property
    def radius(self) -> int:
        """Pixels that the kernel reaches to each side."""
        return self.kernel // 2


class Architecture(BaseModel):
    """A stack of convolutions from luma to luma, or from Y, Cr, Cb to the same.

    Attributes:
      name: short name, such as `srcnn-955`; the first part of a weights file's name.
      layers: the convolutions in order, with an activation after each but the last.
      activation: `relu`, or `prelu` with one slope for each channel.
      upscale: how many times larger the output is than the input. Above 1 the network sees the
        small picture, and a pixel shuffle arranges the output of the last layer, which has
        upscale * upscale * planes filters.
      residual: whether each input pixel is added to its output pixels.
      planes: 1: luma; 3: luma and the two planes of chroma, in the protocol's order.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
    layers: Annotated[tuple[ConvLayer, ...], Field(min_length=1, max_length=16)]
    activation: Literal["relu", "prelu"] = "relu"
    upscale: Annotated[int, Field(ge=1, le=8)] = 1
    residual: bool = False
    planes: Literal[1, 3] = 1

    @model_validator(mode="after")
    def _is_feasible(self) -> "Architecture":
        filters, needed = self.layers[-1].filters, self.planes * self.upscale**2
        if filters != needed:
            raise ValueError(f"the last layer has {filters} filters; the output needs {needed}")
        if self.parameters > MAX_PARAMETERS:
            raise ValueError(f"{self.parameters} parameters; at most {MAX_PARAMETERS} are allowed")
        return self

    @property
    def radius(self) -> int:
        """Radius of the receptive field in input pixels."""
        return sum(layer.radius for layer in self.layers)

    @property
    def sees_small(self) -> bool:
        """Whether the input is the small picture, not the interpolated one."""
        return self.upscale > 1 or self.residual

    @property
    def margin(self) -> int:
        """Input pixels that the valid layers remove on each side of the picture."""
        return sum(layer.radius for layer in self.layers if layer.padding == "valid")

    @property
    def kernel_shapes(self) -> tuple[tuple[int, int, int, int], ...]:
        """Shape of each layer's kernel: height, width, input channels, output channels."""
        inputs = (self.planes, *(layer.filters for layer in self.layers[:-1]))
        return tuple(
            (layer.kernel, layer.kernel, channels, layer.filters)
            for layer, channels in zip(self.layers, inputs, strict=True)
        )

    @property
    def tensor_shapes(self) -> tuple[tuple[tuple[int, ...], ...], ...]:
        """Shapes of each layer's tensors: kernel, bias and, before a PReLU, its slopes."""
        shapes = [(kernel, kernel[-1:]) for kernel in self.kernel_shapes]
        if self.activation == "prelu":
            shapes[:-1] = [(*pair, (1, 1, *pair[1])) for pair in shapes[:-1]]
        return tuple(shapes)

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds per output pixel, rounded up, biases left out."""
        return -(-sum(h * w * i * o for h, w, i, o in self.kernel_shapes) // self.upscale**2)

    @property
    def parameters(self) -> int:
        """Values in all tensors."""
        return sum(math.prod(shape) for shapes in self.tensor_shapes for shape in shapes)

    def padded(self, padding: Padding) -> "Architecture":
        """The same stack with every layer padded in one way."""
        layers = tuple(layer.model_copy(update={"padding": padding}) for layer in self.layers)
        return self.model_copy(update={"layers": layers})


def stack(name: str, *layers: tuple[int, int] | tuple[int, int, Padding]) -> Architecture:
    """A network on the interpolated picture of layers (kernel, filters[, padding])."""
    named = (zip(("kernel", "filters", "padding"), layer, strict=False) for layer in layers)
    return Architecture(name=name, layers=tuple(ConvLayer(**dict(each)) for each in named))


def subpixel(
    name: str, filters: int, inner: int, scale: int, first: int = 3, planes: int = 1
) -> Architecture:
    """A network on the small picture.

    Args:
      name: of the network.
      filters: of every layer but the last.
      inner: number of layers between the first and the last.
      scale: of the enlargement.
      first: side of the first layer's kernel; that of the others is 3.
      planes: see Architecture.
    """
    layers = [ConvLayer(kernel=first, filters=filters)]
    layers += [ConvLayer(kernel=3, filters=filters)] * inner
    return Architecture(
        name=name,
        layers=(*layers, ConvLayer(kernel=3, filters=planes * scale**2)),
        activation="prelu",
        upscale=scale,
        residual=True,
        planes=planes,
    )


# The networks by name, then by scale; None: any scale.
ARCHITECTURES: dict[str, dict[int | None, Architecture]] = {
    "srcnn-915": {None: stack("srcnn-915", (9, 64), (1, 32), (5, 1))},
    "srcnn-935": {None: stack("srcnn-935", (9, 64), (3, 32), (5, 1))},
    "srcnn-955": {None: stack("srcnn-955", (9, 64), (5, 32), (5, 1))},
    # The wider network of the Keras tutorial; only the middle layer pads.
    "srcnn-935-128": {None: stack("srcnn-935-128", (9, 128), (3, 64, "same"), (5, 1))},
    # Filters are multiples of 16, for vector instructions.
    "subpixel-small": {
        scale: subpixel("subpixel-small", 16, inner, scale, first=5)
        for scale, inner in ((2, 4), (3, 6), (4, 8))
    },
    "subpixel-large": {
        scale: subpixel("subpixel-large", 32, inner, scale)
        for scale, inner in ((2, 9), (3, 10), (4, 13))
    },
    # For real photographs; chroma is restored too.
    "photo-small": {
        scale: subpixel("photo-small", 16, inner, scale, planes=3)
        for scale, inner in ((1, 4), (2, 4), (3, 6), (4, 8))
    },
    "photo-large": {
        scale: subpixel("photo-large", 32, inner, scale, planes=3)
        for scale, inner in ((1, 6), (2, 9), (3, 9), (4, 9))
    },
}


def architecture_for(name: str, scale: int) -> Architecture:
    """The network of a name for a scale.

    Raises:
      ValueError: there is none.
    """
    if name not in ARCHITECTURES:
        raise ValueError(f"no architecture {name!r:.80}; there are: {', '.join(ARCHITECTURES)}")
    by_scale = ARCHITECTURES[name]
    if scale not in by_scale and None not in by_scale:
        raise ValueError(f"{name} enlarges by {', '.join(map(str, by_scale))}, not by {scale}")
    return by_scale.get(scale) or by_scale[None]
