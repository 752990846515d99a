"""Training of several seeds of one regime in one pass: their perceptrons are stacked and multiplied batch by batch.

Small networks leave a GPU idle; stacked, S of them cost little more than one. The results are those of `training.fit`
up to the order in which floating-point sums are taken. The report itself trains one network per process.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from robexpl import checks
from robexpl.attacks._loops import ascend_within, start_points
from robexpl.data import Dataset
from robexpl.gradients import Pull, Vjp
from robexpl.models import from_weights, mlp
from robexpl.models.mlp import HIDDEN
from robexpl.progress import bar
from robexpl.regimes import Adversary, adversary, name_of
from robexpl.seeds import torch_generator

Weights = tuple[Tensor, Tensor, Tensor, Tensor]  # (S, d, h), (S, 1, h), (S, h, classes), (S, 1, classes)


def fit_seeds(
    datasets: Dataset | Sequence[Dataset],
    regime: str | Adversary,
    *,
    seeds: Sequence[int],
    early_stop: bool = False,
    epochs: int = 20,
    batch_size: int = 32,
    learning_rate: float = 1e-3,
    device: str | torch.device = "cpu",
) -> list[nn.Sequential]:
    """Train one network per seed, all at once on `device`, as `training.fit` does one by one; return them on the CPU.

    `datasets` is one for all seeds or one per seed, of equal shapes. Initial weights, order of the batches and noise of
    the attacks come from each seed's own streams, drawn on the CPU, so that every device sees the same ones.

    >>> from robexpl import data
    >>> len(fit_seeds(data.load("breast_cancer"), "standard", seeds=[0, 1], epochs=1))
    2
    """
    opponent, name = adversary(regime), name_of(regime)
    checks.positive(epochs=epochs, batch_size=batch_size, learning_rate=learning_rate)
    checks.refuse_type("early_stop", early_stop, bool)
    if isinstance(seeds, str) or not isinstance(seeds, Sequence):
        raise ValueError(f"expected seeds as a list of integers, got {seeds!r}")
    for seed in seeds:
        checks.non_negative(seed=seed)
    device = _device(device)
    x, y, box, first = _stack(datasets, len(seeds), device)
    hidden = HIDDEN["image" if first.image_shape else "tabular"]
    parameters = _initial(x.shape[-1], hidden, first.n_classes, seeds, device)
    orders = [torch_generator(seed, "order") for seed in seeds]
    noises = [torch_generator(seed, "attack", name) for seed in seeds]
    optimizer = torch.optim.Adam(parameters, lr=learning_rate, fused=True)
    each = torch.arange(len(seeds), device=device)[:, None] if len(x) > 1 else 0
    progress = bar(range(int(epochs)), desc=f"{first.name} {name} {len(seeds)} seeds")
    for epoch in progress:
        order = torch.stack([torch.randperm(x.shape[1], generator=generator) for generator in orders]).to(device)
        losses = []
        for rows in order.split(int(batch_size), dim=1):  # (S, b)
            clean, label = x[each, rows], nn.functional.one_hot(y[each, rows], first.n_classes).to(x.dtype)
            if opponent is None:
                losses.append(_backward(parameters, clean, label, 1.0))
            else:
                start = [
                    start_points(part, opponent.step_size, noise) for part, noise in zip(clean, noises, strict=True)
                ]
                adversarial = _attack(parameters, clean, label, torch.stack(start), box, opponent, early_stop)
                both, twice = torch.cat([adversarial, clean], 1), torch.cat([label, label], 1)
                losses.append(_backward(parameters, both, twice, 2.0))
            optimizer.step()
        loss = torch.stack(losses).mean(0)  # (S,)
        if bad := [seed for seed, value in zip(seeds, loss.tolist(), strict=True) if not value < float("inf")]:
            raise ValueError(f"expected a finite training loss, got none in epoch {epoch + 1} of {name}, seeds {bad}")
        progress.set_postfix(loss=f"{float(loss.mean()):.3f}")
    w1, b1, w2, b2 = (part.detach().cpu() for part in parameters)
    named = zip(w1.mT, b1[:, 0], w2.mT, b2[:, 0], strict=True)
    names = ("0.weight", "0.bias", "2.weight", "2.bias")
    return [from_weights({n: part.contiguous() for n, part in zip(names, parts, strict=True)}) for parts in named]


def _device(name: str | torch.device) -> torch.device:
    try:
        torch.empty(1, device=name).tolist()  # one on "meta" has no values
        return torch.device(name)
    except (RuntimeError, AssertionError, TypeError, NotImplementedError) as error:  # unknown, or not on this machine
        lines = str(error).splitlines() or [type(error).__name__]
        raise ValueError(f"expected a device that torch has here, got {name!r}: {lines[0]}") from None


def _stack(
    datasets: Dataset | Sequence[Dataset], seeds: int, device: torch.device
) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor], Dataset]:
    """Return x (D, n, d), y (D, n) and the box, low and high (D, 1, d) each; D datasets, 1 for all or one per seed."""
    checks.refuse_type("datasets", datasets, (Dataset, Sequence))
    every = [datasets] if isinstance(datasets, Dataset) else list(datasets)
    for dataset in every:
        checks.refuse_type("datasets", dataset, Dataset)
        x = checks.points(dataset.x_train, "x_train")
        checks.labels(dataset.y_train, len(x), dataset.n_classes, "y_train")
        checks.positive(rows=len(x))
    if not seeds or len(every) not in (1, seeds):
        raise ValueError(f"expected seeds, and one dataset or one per seed, got {seeds} seeds, {len(every)} datasets")
    if len(shapes := {(tuple(dataset.x_train.shape), dataset.n_classes) for dataset in every}) > 1:
        raise ValueError(f"expected datasets of one shape, got {sorted(shapes)}")
    boxes = [[edge.expand_as(d.x_train[:1]) for edge in checks.box(d.bounds, d.x_train)] for d in every]
    low, high = (torch.stack(edges).to(device) for edges in zip(*boxes, strict=True))
    x, y = torch.stack([d.x_train for d in every]), torch.stack([d.y_train.long() for d in every])
    return x.to(device), y.to(device), (low, high), every[0]


def _initial(inputs: int, hidden: int, outputs: int, seeds: Sequence[int], device: str | torch.device) -> Weights:
    models = [mlp(inputs, hidden, outputs, generator=torch_generator(seed, "weights")) for seed in seeds]
    parts = []
    for layer in (0, 2):
        parts.append(torch.stack([model[layer].weight.detach().t() for model in models]))
        parts.append(torch.stack([model[layer].bias.detach()[None] for model in models]))
    return tuple(part.to(device).contiguous().requires_grad_() for part in parts)


def _forward(parameters: Weights, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return activations (S, b, h) and logits (S, b, classes)."""
    w1, b1, w2, b2 = (part.detach() for part in parameters)
    hidden = torch.baddbmm(b1, x, w1).relu_()
    return hidden, torch.baddbmm(b2, hidden, w2)


def _vjp(parameters: Weights) -> Vjp:
    """Return logits and pullback of all networks as `gradients.vjp` does, for rows (S b, d) that lie seed by seed."""
    w1, _, w2, _ = (part.detach() for part in parameters)

    def run(x: Tensor) -> tuple[Tensor, Pull]:
        hidden, logits = _forward(parameters, x.view(len(w1), -1, x.shape[1]))

        def pull(v: Tensor) -> Tensor:
            back = torch.bmm(v.view(logits.shape), w2.mT).mul_(hidden.sign())
            return torch.bmm(back, w1.mT).flatten(0, 1)

        return logits.flatten(0, 1), pull

    return run


def _attack(
    parameters: Weights, x: Tensor, one_hot: Tensor, start: Tensor, box: tuple[Tensor, Tensor], opponent: Adversary,
    early_stop: bool,
) -> Tensor:  # fmt: skip
    """Perturb x (S, b, d) as `training.fit` does, by projected steps or until any entry of a seed's batch has moved."""
    low, high = (edge.expand_as(x).flatten(0, 1) for edge in box)
    run, rows, labels = _vjp(parameters), x.flatten(0, 1), one_hot.flatten(0, 1)
    adv = torch.clamp(start.flatten(0, 1), low, high)
    if not early_stop:
        return ascend_within(run, rows, labels, adv, opponent, (low, high)).view(x.shape)
    for _ in range(int(opponent.steps)):
        going = (adv - rows).abs().view(x.shape).amax((1, 2)) < opponent.eps  # (S,): each seed ends by itself
        if not going.any():
            break
        logits, pull = run(adv)
        sign = pull(torch.softmax(logits, 1).sub_(labels)).sign_()
        step = sign * (going * opponent.step_size).repeat_interleave(x.shape[1])[:, None]
        adv = torch.clamp(adv.add_(step), low, high)
    return adv.view(x.shape)


def _backward(parameters: Weights, x: Tensor, one_hot: Tensor, scale: float) -> Tensor:
    """Set the gradients of scale * mean CE of every seed and return these losses, as `gradients.backward` does."""
    w1, b1, w2, b2 = parameters
    hidden, logits = _forward(parameters, x)
    log_probabilities = torch.log_softmax(logits, -1)
    delta = (log_probabilities.exp() - one_hot).mul_(scale / x.shape[1])  # (S, b, classes)
    w2.grad, b2.grad = torch.bmm(hidden.mT, delta), delta.sum(1, keepdim=True)
    delta = torch.bmm(delta, w2.detach().mT).mul_(hidden.sign())
    w1.grad, b1.grad = torch.bmm(x.mT, delta), delta.sum(1, keepdim=True)
    return -scale * (log_probabilities * one_hot).sum(-1).mean(1)
