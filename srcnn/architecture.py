"""The description of an SRCNN: a stack of convolutions with ReLU between them.

Dong, Loy, He, Tang, "Image Super-Resolution Using Deep Convolutional Networks", arXiv:1501.00092.
A name such as 9-5-5 gives the kernel sizes of the three layers.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

# Seventy times the 9-5-5. Keeps a hostile model card from asking for terabytes.
MAX_PARAMETERS = 4_000_000

Padding = Literal["valid", "same", "replicate"]
# Whose interpolation, colour and rounding a network was trained with; see srcnn.protocols.
ProtocolName = Literal["opencv", "matlab"]


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
    """A stack of convolutions from one luma channel to one luma channel.

    Attributes:
      name: short name, such as `srcnn-955`; the first part of a weights file's name.
      layers: the convolutions in order; ReLU after each but the last.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
    layers: Annotated[tuple[ConvLayer, ...], Field(min_length=1, max_length=16)]

    @model_validator(mode="after")
    def _is_feasible(self) -> "Architecture":
        if self.layers[-1].filters != 1:
            raise ValueError(f"the last layer has {self.layers[-1].filters} filters; luma needs 1")
        if self.parameters > MAX_PARAMETERS:
            raise ValueError(f"{self.parameters} parameters; at most {MAX_PARAMETERS} are taken")
        return self

    @property
    def radius(self) -> int:
        """Receptive-field radius: how far an output pixel sees, in pixels."""
        return sum(layer.radius for layer in self.layers)

    @property
    def margin(self) -> int:
        """Pixels that the valid layers remove on each side of the picture."""
        return sum(layer.radius for layer in self.layers if layer.padding == "valid")

    @property
    def kernel_shapes(self) -> tuple[tuple[int, int, int, int], ...]:
        """Shape of each layer's kernel: height, width, input channels, output channels."""
        inputs = (1, *(layer.filters for layer in self.layers[:-1]))
        return tuple(
            (layer.kernel, layer.kernel, channels, layer.filters)
            for layer, channels in zip(self.layers, inputs, strict=True)
        )

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds per output pixel, biases left out."""
        return sum(h * w * i * o for h, w, i, o in self.kernel_shapes)

    @property
    def parameters(self) -> int:
        """Values in all kernels and biases."""
        return self.multiply_adds + sum(layer.filters for layer in self.layers)

    def padded(self, padding: Padding) -> "Architecture":
        """The same stack with every layer padded in one way."""
        return self.model_copy(
            update={
                "layers": tuple(la.model_copy(update={"padding": padding}) for la in self.layers)
            }
        )


def _stack(name: str, *layers: tuple[int, int] | tuple[int, int, Padding]) -> Architecture:
    return Architecture(
        name=name,
        layers=tuple(
            ConvLayer(kernel=k, filters=f, padding=p[0] if p else "valid") for k, f, *p in layers
        ),
    )


ARCHITECTURES: dict[str, Architecture] = {
    architecture.name: architecture
    for architecture in (
        _stack("srcnn-915", (9, 64), (1, 32), (5, 1)),
        _stack("srcnn-935", (9, 64), (3, 32), (5, 1)),
        _stack("srcnn-955", (9, 64), (5, 32), (5, 1)),
        # The wider network of the Keras tutorial; only its middle layer pads.
        _stack("srcnn-935-128", (9, 128), (3, 64, "same"), (5, 1)),
    )
}
