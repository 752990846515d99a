"""Training: standard and adversarial, from one shared initialisation per seed."""

from __future__ import annotations

import torch
from torch import nn

from robexpl import checks
from robexpl.attacks import ascend_until, ascend_within, start_points
from robexpl.data import Dataset
from robexpl.gradients import backward, transpose_storage, vjp
from robexpl.models import mlp
from robexpl.progress import bar
from robexpl.regimes import adversary
from robexpl.seeds import torch_generator

HIDDEN = {"image": 128, "tabular": 10}


def fit(
    dataset: Dataset,
    regime: str,
    *,
    seed: int,
    early_stop: bool = False,
    epochs: int = 20,
    batch_size: int = 32,
    learning_rate: float = 1e-3,
    model: nn.Module | None = None,
    history: list[dict[str, float]] | None = None,
) -> nn.Module:
    """Train a network on `dataset` in a regime: "standard", "weak", "medium" or "strong".

    Adam on the mean cross-entropy CE(f(x), y); adversarial regimes minimise CE(f(x'), y) + CE(f(x), y), with x' made by
    PGD against the current network (thesis, Eq. 1, with the clean term of the author's code). All regimes of a seed
    start from the same weights and see the batches in the same order. `early_stop` chooses the author's PGD, which ends
    when any entry of the batch has moved by eps, in place of the projected one. `model`, if given, is trained in place
    of the default perceptron. `history` receives one row per epoch: loss, mean PGD steps per batch and mean largest
    perturbation per example.
    """
    checks.refuse_type("dataset", dataset, Dataset)
    checks.refuse_seed(seed)
    checks.refuse_type("early_stop", early_stop, bool)
    checks.refuse_type("history", history, (list, type(None)))
    opponent = adversary(regime)
    checks.positive(epochs=epochs, batch_size=batch_size, learning_rate=learning_rate)
    x, y = dataset.x_train, dataset.y_train
    if model is None:
        hidden = HIDDEN["image" if dataset.image_shape else "tabular"]
        model = mlp(x.shape[1], hidden, dataset.n_classes, generator=torch_generator(seed, "weights"))
    low, high = checks.box(dataset.bounds, x)
    checks.refuse_rows(x, y, dataset.n_classes)
    checks.refuse_model(model, x, training=True, n_classes=dataset.n_classes)
    order, noise = torch_generator(seed, "order"), torch_generator(seed, "attack", regime)
    transpose_storage(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate, fused=True)
    progress = bar(range(int(epochs)), desc=f"{dataset.name} {regime} {seed}")
    for epoch in progress:
        losses, taken, reached = [], [], []
        for rows in torch.randperm(len(x), generator=order).split(int(batch_size)):
            clean, label = x[rows], y[rows]
            if opponent is None:
                loss = backward(model, clean, label)
            else:
                one_hot = nn.functional.one_hot(label, dataset.n_classes).to(x.dtype)
                start = torch.clamp(start_points(clean, opponent.step_size, noise), low, high)
                args = (vjp(model), clean, one_hot, start, opponent.eps, opponent.step_size, opponent.steps, low, high)
                if early_stop:
                    adversarial, steps = ascend_until(*args)
                    taken.append(float(steps[0]))
                else:
                    adversarial = ascend_within(*args)
                    taken.append(float(opponent.steps))
                reached.append(float((adversarial - clean).abs_().amax(1).mean()))
                # one pass over both halves: twice the mean over 2n rows is the sum of the two means
                loss = backward(model, torch.cat([adversarial, clean]), torch.cat([label, label]), scale=2.0)
            optimizer.step()
            losses.append(loss)
        loss_mean = float(torch.stack(losses).mean())
        if not loss_mean < float("inf"):
            raise ValueError(f"expected a finite training loss, got {loss_mean} in epoch {epoch + 1} of {regime}")
        progress.set_postfix(loss=f"{loss_mean:.3f}")
        if history is not None:
            history.append({"epoch": epoch + 1, "loss": loss_mean, "steps": _mean(taken), "radius": _mean(reached)})
    return model


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0
