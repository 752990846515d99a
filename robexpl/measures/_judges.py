"""Judges: classifiers of images that have no part in the study, trained to see through noise."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from robexpl.models.lenet import lenet
from robexpl.progress import bar
from robexpl.seeds import torch_generator

JUDGES, STEPS, PASSES, BATCH, NOISE = 3, 3000, 12, 64, 0.3  # steps are at most so many passes over the rows
Weights = Mapping[str, Tensor]


def learn(x: Tensor, y: Tensor, image_shape: tuple[int, int], seed: int = 0) -> dict[str, Tensor]:
    """Train the judges on images x (m, d) with labels y (m,) and return their weights by name, "0." those of the first.
    Adam on the cross-entropy of each batch and of the same batch with normal noise of standard deviation NOISE.
    """
    classes, weights = int(y.max()) + 1, {}
    steps = min(STEPS, PASSES * -(-len(x) // BATCH))
    for number in range(JUDGES):
        draw = torch_generator(seed, "judge", number)
        model = lenet(image_shape, classes, generator=draw)
        optimizer = torch.optim.Adam(model.parameters(), lr=2e-3, fused=True)
        for step in bar(range(steps), desc=f"judge {number + 1} of {JUDGES}"):
            rows = torch.randint(len(x), (BATCH,), generator=draw)
            clean = x[rows].float()
            noisy = clean + NOISE * torch.randn(clean.shape, generator=draw)
            for group in optimizer.param_groups:
                group["lr"] = 2e-3 * (1 - step / steps)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(torch.cat([clean, noisy])), torch.cat([y[rows], y[rows]])).backward()
            optimizer.step()
        weights |= {f"{number}.{name}": value.detach().clone() for name, value in model.state_dict().items()}
    return weights


def judge(weights: Weights, number: int, image_shape: tuple[int, int]) -> nn.Sequential:
    """Return one of the judges that `learn` trained."""
    own = {name.partition(".")[2]: value for name, value in weights.items() if name.startswith(f"{number}.")}
    model = lenet(image_shape, len(own["12.bias"]))
    model.load_state_dict(own)
    return model.eval()


@torch.no_grad()
def ask(model: nn.Module, x: Tensor, chunk: int = 1024) -> Tensor:
    """Return what a module makes of rows x (n, d), in blocks."""
    return torch.cat([model(rows.float()) for rows in x.split(chunk)])
