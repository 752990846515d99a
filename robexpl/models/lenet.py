"""LeNet-5, the convolutional network [LeCun et al. 1998], with the ReLU and maximum pooling of today."""

from collections.abc import Sequence

import torch
from torch import nn

from robexpl import checks

LAYERS = (nn.Unflatten, nn.Conv2d, nn.ReLU, nn.MaxPool2d, nn.Conv2d, nn.ReLU, nn.MaxPool2d, nn.Flatten)
LAYERS += (nn.Linear, nn.ReLU, nn.Linear, nn.ReLU, nn.Linear)


def lenet(image_shape: Sequence[int], outputs: int, *, generator: torch.Generator | None = None) -> nn.Sequential:
    """Make LeNet-5 for grey images of `image_shape` (at least 4 x 4), mapping (n, height width) to logits (n, outputs).
    Two convolutions with 6 and 16 maps, 5 x 5 and padded by 2 (the second not, where the image has at least 20 pixels
    to a side, as 28 x 28 images have), each with ReLU and 2 x 2 maximum pooling, then layers of 120 and 84 units.
    Weights are Glorot normal, biases zero; without a generator all are zero, ready for `load_state_dict`.
    >>> lenet((28, 28), 10, generator=torch.Generator().manual_seed(0))(torch.rand(5, 784)).shape
    torch.Size([5, 10])
    """
    height, width = checks.image_shape(image_shape)
    checks.refuse_type("generator", generator, (torch.Generator, type(None)))
    outputs = checks.positive(outputs=outputs)
    checks.refuse_unless(min(height, width) >= 4, f"expected images of at least 4 x 4, got {height} x {width}")
    margin = 0 if min(height, width) >= 20 else 2
    flat = 16 * ((height // 2 + 2 * margin - 4) // 2) * ((width // 2 + 2 * margin - 4) // 2)
    model = nn.Sequential(
        nn.Unflatten(1, (1, height, width)),
        *[_layer(nn.Conv2d, 1, 6, kernel_size=5, padding=2), nn.ReLU(), nn.MaxPool2d(2)],
        *[_layer(nn.Conv2d, 6, 16, kernel_size=5, padding=margin), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()],
        *[
            _layer(nn.Linear, flat, 120),
            nn.ReLU(),
            _layer(nn.Linear, 120, 84),
            nn.ReLU(),
            _layer(nn.Linear, 84, outputs),
        ],
    )
    for part in model.parameters() if generator is not None else ():
        if part.ndim > 1:
            nn.init.xavier_normal_(part, generator=generator)
    return model


def _layer(kind: type[nn.Module], *sizes: int, **how: int) -> nn.Module:
    """Return a layer with weights of zero, without drawing any from the global generator."""
    layer = nn.utils.skip_init(kind, *sizes, **how, dtype=torch.float32, device="cpu")
    for part in layer.parameters():
        nn.init.zeros_(part)
    return layer


def build(
    inputs: int, outputs: int, image_shape: tuple[int, int] | None, *, generator: torch.Generator | None = None
) -> nn.Sequential:
    """Make LeNet-5 for a dataset of images; raise ValueError for another."""
    checks.refuse_unless(image_shape is not None, "expected images for lenet, got tabular data")
    return lenet(image_shape, outputs, generator=generator)


def sizes(model: nn.Module) -> dict[str, int | list[int]] | None:
    """Return the arguments of `lenet` that give a model of this form, None if it has another."""
    if type(model) is not nn.Sequential or tuple(map(type, model)) != LAYERS:
        return None
    found = {"image_shape": list(model[0].unflattened_size[1:]), "outputs": model[-1].out_features}
    shapes = [tuple(part.shape) for part in model.parameters()]
    return found if shapes == [tuple(part.shape) for part in lenet(**found).parameters()] else None
