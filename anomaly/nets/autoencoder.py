"""The bottleneck autoencoder: strided convolutions to a short code, and back."""

from math import prod

from torch import Tensor, nn

from anomaly.nets.layers import TRANSPOSED, Down, Up, crop, halvings, widened
from anomaly.nets.pyramid import Pyramid


class Autoencoder(nn.Module):
    """Image -> code of a few numbers -> image, in two or three dimensions.

    Four halvings at 64 pixels with 16-32-64-64 channels, a hidden layer, the code, and the mirror image of it
    all: 2.35 million parameters with the defaults. Sides that are not 4 * 2^k are padded inside. Each axis is halved by
    itself, so that the thin one of a volume of thick slices does not leave the others long.

    Args:
        shape: (C, *space) of one image.
        latent: length of the code.
        width: channels after the first halving; they double twice, then stay.
        hidden: size of the layer between the convolutions and the code.
        codes: how many codes the encoder gives side by side (2 for a mean and a log variance).
        maps: how many images of C channels the decoder draws (2 for a mean and a log variance).
        context: how many of the C channels, the last ones, are seen but not drawn.
        alike: halve all axes as often as the shortest, as in runs of earlier versions.
    """

    def __init__(
        self, shape: tuple[int, ...], *, latent: int, width: int, hidden: int, codes: int = 1, maps: int = 1,
        alike: bool = False, context: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        channels, *space = shape
        each = [halvings(tuple(space) if alike else (side,)) for side in space]
        self.space, self.codes, self.maps, self.pyramid = tuple(space), codes, maps, Pyramid.halving(tuple(space), each)
        factors, bottom = self.pyramid.factors, self.pyramid.bottom
        widths = [min(width * 2**level, 4 * width) for level in range(len(factors))]
        flat = widths[-1] * prod(bottom)
        self.encoder = nn.Sequential(
            *[Down(f, a, b) for f, a, b in zip(factors, [channels, *widths], widths, strict=False)],
            nn.Flatten(),
            nn.Linear(flat, hidden),
            nn.LeakyReLU(0.2),
            nn.Linear(hidden, codes * latent),
        )
        self.decoder = nn.Sequential(
            nn.Linear(latent, hidden),
            nn.LeakyReLU(0.2),
            nn.Linear(hidden, flat),
            nn.LeakyReLU(0.2),
            nn.Unflatten(1, (widths[-1], *bottom)),
            *[Up(f, a, b) for f, a, b in zip(factors[:0:-1], widths[::-1], widths[-2::-1], strict=False)],
            TRANSPOSED[len(space)](
                widths[0], maps * (channels - context), widened(factors[0]), stride=factors[0], padding=1
            ),
        )

    def encode(self, x: Tensor) -> tuple[Tensor, ...]:
        """Images (N, C, *space) -> `codes` tensors (N, latent)."""
        codes: Tensor = self.encoder(self.pyramid.pad(x))
        return codes.chunk(self.codes, dim=1)

    def decode(self, code: Tensor) -> tuple[Tensor, ...]:
        """Code (N, latent) -> `maps` tensors (N, C, *space), unbounded."""
        return crop(self.decoder(code), self.space).chunk(self.maps, dim=1)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Images -> what the decoder draws from the first code."""
        return self.decode(self.encode(x)[0])
