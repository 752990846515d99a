"""Training of several seeds of one regime in one pass: their perceptrons are stacked and multiplied batch by batch.

Small networks leave a GPU idle; stacked, S of them cost little more than one. The results are those of `training.fit`
up to the order in which floating-point sums are taken. The report trains one network per process, unless `device` in
study.yaml names a GPU.
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from robexpl import checks, models
from robexpl.attacks._loops import ascend, direction, start_points
from robexpl.data import Dataset
from robexpl.gradients import Pull
from robexpl.progress import bar
from robexpl.regimes import Adversary, adversary, name_of
from robexpl.seeds import torch_generator

Weights = list[Tensor]  # (S, h, d), (S, h), (S, classes, h), (S, classes)


@torch.inference_mode(False)
def fit_seeds(
    datasets: Dataset | Sequence[Dataset], regime: str | Adversary, *, seeds: Sequence[int], early_stop: bool = False,
    epochs: int = 20, batch_size: int = 32, learning_rate: float = 1e-3, device: str | torch.device = "cpu",
    rounded: bool = False, histories: list[list[dict[str, float]]] | None = None,
) -> list[nn.Sequential]:  # fmt: skip
    """Train one network per seed, all at once on `device`, as `training.fit` does one by one; return them on the CPU.
    `datasets` is one for all seeds or one per seed, of equal shapes. Initial weights, order of the batches and noise of
    the attacks come from each seed's own streams, drawn on the CPU, so that every device sees the same ones.
    `histories` gets for each seed the rows that `fit` adds to `history`.
    >>> from robexpl import data
    >>> len(fit_seeds(data.load("breast_cancer"), "standard", seeds=[0, 1], epochs=1))
    2
    """
    opponent, name = adversary(regime), name_of(regime)
    epochs, size, rate = checks.positive(epochs=epochs, batch_size=batch_size, learning_rate=learning_rate)
    checks.refuse_type("early_stop", early_stop, bool)
    checks.refuse_type("rounded", rounded, bool)
    checks.refuse_type("histories", histories, (list, type(None)))
    listed = isinstance(seeds, Sequence) and not isinstance(seeds, str)
    checks.refuse_unless(listed, f"expected seeds as a list of integers, got {seeds!r}")
    seeds = [checks.non_negative(seed=seed) for seed in seeds]
    try:
        torch.empty(1, device=device).tolist()  # one on "meta" has no values
    except (RuntimeError, AssertionError, TypeError, NotImplementedError) as error:  # unknown, or not on this machine
        line = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"expected a device that torch has here, got {device!r}: {line}") from None
    every = _checked(datasets, len(seeds))
    first, boxes = every[0], [checks.box(d.bounds, d.x_train) for d in every]
    x = torch.stack([d.x_train for d in every]).to(device)  # (D, n, d), one for all seeds or one for each
    y = torch.stack([d.y_train.long() for d in every]).to(device)  # (D, n)
    box = [torch.stack([edge.expand(1, x.shape[2]) for edge in edges]).to(device) for edges in zip(*boxes, strict=True)]
    shape = x.shape[2], first.n_classes, first.image_shape
    networks = [models.build("mlp", *shape, generator=torch_generator(seed, "weights")).to(x) for seed in seeds]
    stacked = torch.func.stack_module_state(networks)[0].values()
    weights = [part.detach().requires_grad_() for part in stacked]
    orders = [torch_generator(seed, "order") for seed in seeds]
    noises = [torch_generator(seed, "attack", name) for seed in seeds]
    optimizer = torch.optim.Adam(weights, lr=rate, fused=True)
    each = torch.arange(len(seeds), device=device)[:, None] if len(x) > 1 else 0
    progress, past = bar(range(epochs), desc=f"{first.name} {name} {len(seeds)} seeds"), [[] for _ in seeds]
    for epoch in progress:
        order = torch.stack([torch.randperm(x.shape[1], generator=generator) for generator in orders]).to(device)
        losses, taken, reached = [], [], []
        for rows in order.split(size, dim=1):  # (S, b)
            inputs, labels = x[each, rows], y[each, rows]
            if opponent is not None:
                pairs = zip(inputs, noises, strict=True)
                start = torch.stack([start_points(part, opponent.step_size, noise) for part, noise in pairs])
                adversarial, steps = _attack(weights, inputs, labels, start, box, opponent, early_stop, rounded)
                taken.append(steps.double())
                reached.append((adversarial - inputs).abs_().amax(2).mean(1).double())
                inputs, labels = torch.cat([adversarial, inputs], 1), torch.cat([labels, labels], 1)
            optimizer.zero_grad()
            logits, _ = _run(weights, inputs.flatten(0, 1))
            each_row = nn.functional.cross_entropy(logits, labels.flatten(), reduction="none")
            loss = (1.0 if opponent is None else 2.0) * each_row.view(labels.shape).mean(1)  # (S,)
            loss.sum().backward()
            optimizer.step()
            losses.append(loss.detach())
        none = torch.zeros(len(seeds))
        loss, *moves = (torch.stack(rows).mean(0).cpu() if rows else none for rows in (losses, taken, reached))
        if bad := [seed for seed, value in zip(seeds, loss.tolist(), strict=True) if not value < float("inf")]:
            raise ValueError(f"expected a finite training loss, got none in epoch {epoch + 1} of {name}, seeds {bad}")
        for rows, *values in zip(past, loss.tolist(), *(move.tolist() for move in moves), strict=True):
            rows.append(dict(zip(("epoch", "loss", "steps", "radius"), (epoch + 1, *values), strict=True)))
        progress.set_postfix(loss=f"{float(loss.mean()):.3f}")
    if histories is not None:
        histories.extend(past)
    trained = zip(*(part.detach().cpu() for part in weights), strict=True)
    return [models.from_weights(dict(zip(networks[0].state_dict(), own, strict=True))) for own in trained]


def _checked(datasets: Dataset | Sequence[Dataset], seeds: int) -> list[Dataset]:
    checks.refuse_type("datasets", datasets, (Dataset, Sequence))
    every = [datasets] if isinstance(datasets, Dataset) else list(datasets)
    for dataset in every:
        checks.refuse_type("datasets", dataset, Dataset)
        dataset.checked()
    line = f"expected seeds, and one dataset or one per seed, got {seeds} seeds, {len(every)} datasets"
    checks.refuse_unless(bool(seeds) and len(every) in (1, seeds), line)
    shapes = {(tuple(dataset.x_train.shape), dataset.n_classes) for dataset in every}
    checks.refuse_unless(len(shapes) == 1, f"expected datasets of one shape, got {sorted(shapes)}")
    return every


def _run(weights: Weights, x: Tensor) -> tuple[Tensor, Pull]:
    """Return logits and pullback as a function of `gradients.vjp` does, for rows (S b, d) that lie seed by seed."""
    w1, b1, w2, b2 = weights
    hidden = torch.baddbmm(b1[:, None], x.view(len(w1), -1, x.shape[1]), w1.mT).relu_()  # (S, b, h)
    logits = torch.baddbmm(b2[:, None], hidden, w2.mT)

    def pull(v: Tensor) -> Tensor:
        back = torch.bmm(v.view(logits.shape), w2).mul_(hidden.sign())
        return torch.bmm(back, w1).flatten(0, 1)

    return logits.flatten(0, 1), pull


@torch.no_grad()
def _attack(
    weights: Weights, x: Tensor, y: Tensor, start: Tensor, box: list[Tensor], opponent: Adversary, early_stop: bool,
    rounded: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Perturb x (S, b, d) as `training.fit` does, by projected steps or until any entry of a seed's batch has moved.
    Return it and the steps of each seed (S,).
    """
    run, rows, (low, high) = partial(_run, weights), x.flatten(0, 1), (edge.expand_as(x).flatten(0, 1) for edge in box)
    one_hot = nn.functional.one_hot(y.flatten(), weights[3].shape[1]).to(x.dtype)
    adv = torch.clamp(start.flatten(0, 1), low, high)
    if not early_stop:
        moved, steps = ascend(run, rows, one_hot, adv, opponent, (low, high), rounded=rounded)
        return moved.view(x.shape), steps.view(x.shape[:2])[:, 0]
    taken = torch.zeros(len(x), dtype=torch.long, device=x.device)
    for _ in range(int(opponent.steps)):
        going = (adv - rows).abs().view(x.shape).amax((1, 2)) < opponent.eps  # (S,): each seed ends by itself
        if not going.any():
            break
        taken += going
        sizes = (going * opponent.step_size).repeat_interleave(x.shape[1])[:, None]
        adv = torch.clamp(adv + direction(run, adv, one_hot, rounded) * sizes, low, high)
    return adv.view(x.shape), taken
