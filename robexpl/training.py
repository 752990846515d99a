"""Training: standard and adversarial, from one shared initialisation per seed."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from robexpl import checks, models, trainings
from robexpl.attacks._loops import ascend, start_points
from robexpl.data import Dataset
from robexpl.files import sha256, write_atomic
from robexpl.gradients import backward, closed_form, telling, transpose_storage, vjp
from robexpl.progress import bar, warn
from robexpl.regimes import Adversary, Control, adversary, name_of
from robexpl.seeds import torch_generator


@torch.inference_mode(False)
def fit(
    dataset: Dataset, regime: str | Adversary | Control, *, seed: int, early_stop: bool = False, epochs: int = 20,
    batch_size: int = 32, learning_rate: float = 1e-3, model: nn.Module | None = None, architecture: str = "mlp",
    rounded: bool = False, history: list[dict[str, float]] | None = None, checkpoint: str | Path | None = None,
) -> nn.Module:  # fmt: skip
    """Train a network on `dataset` in a regime: "standard", "weak", "medium", "strong", an adversary of one's own, or a
    control (see `robexpl.trainings`).
    Adam on the mean CE(f(x), y), in adversarial regimes CE(f(x'), y) + CE(f(x), y) with x' made by PGD against the
    current network in eval mode (thesis, Eq. 1, and the clean term of the author's code). `early_stop`: the author's
    PGD, which ends when any entry of the batch has moved by eps; `rounded`: as in `attacks.fgsm`. All regimes of a seed
    share their batches and, unless a `model` of one's own is given, first weights. The network is trained in place, in
    the type of x_train, with dropout drawn from `seed`, and returned in eval mode. `history` gets a row per epoch:
    loss, mean PGD steps, mean largest perturbation. `checkpoint` is a file that holds the state until training ends:
    the same call goes on from it to the same weights, bit for bit.
    >>> from robexpl import data
    >>> fit(data.load("breast_cancer"), "weak", seed=0, epochs=1)[2].weight.shape
    torch.Size([2, 10])
    """
    checks.refuse_type("dataset", dataset, Dataset)
    checks.refuse_type("early_stop", early_stop, bool)
    checks.refuse_type("rounded", rounded, bool)
    checks.refuse_type("history", history, (list, type(None)))
    checks.refuse_type("checkpoint", checkpoint, (str, Path, type(None)))
    checks.refuse_type("model", model, (nn.Module, type(None)))
    seed = checks.non_negative(seed=seed)
    epochs, size, rate = checks.positive(epochs=epochs, batch_size=batch_size, learning_rate=learning_rate)
    control = trainings.checked(regime) if isinstance(regime, Control) else None
    opponent, name, classes = None if control else adversary(regime), name_of(regime), dataset.checked().n_classes
    x, y = dataset.x_train, dataset.y_train.long()
    if model is None:
        first = torch_generator(seed, "weights")
        model = models.build(architecture, x.shape[1], classes, dataset.image_shape, generator=first)
    box = checks.box(dataset.bounds, x)
    order, noise = torch_generator(seed, "order"), torch_generator(seed, "attack", name)
    past: list[dict[str, float]] = []  # one row per epoch
    history = [] if history is None else history
    with _training(model, x) as generators:
        checks.refuse_model(model, x, training=True, n_classes=classes)
        try:
            checks.refuse_model(model, x[: (len(x) - 1) % size + 1 + (opponent is not None)], training=True)
        except ValueError as error:
            raise ValueError(f"{error}: the last batch has one row, choose another batch_size than {size}") from None
        tried = telling(x)
        quick = {"closed_form": closed_form(model, tried, y[: len(tried)])}
        optimizer = torch.optim.Adam(model.parameters(), lr=rate, fused=True)
        if checkpoint is not None:
            form = [(key, tuple(value.shape)) for key, value in model.state_dict().items()]
            content = [sha256(part.cpu().contiguous().flatten().view(torch.uint8).numpy()) for part in (x, y, *box)]
            about = repr((control or opponent, seed, early_stop, rounded, epochs, size, rate, form, content))
            past = _resume(Path(checkpoint), about, model, optimizer, order, noise)
        history.extend(past)
        progress = bar(range(len(past), epochs), desc=f"{dataset.name} {name} {seed}")
        for epoch in progress:
            for generator in generators:
                generator.manual_seed(torch_generator(seed, "dropout", epoch).initial_seed())
            losses, taken, reached = [], [], []
            for rows in torch.randperm(len(x), generator=order, device="cpu").split(size):
                clean, label = x[rows], y[rows]
                if control:
                    loss, moved = trainings.backward(control, model, clean, label, box, noise)
                    reached.append(moved)
                elif opponent is None:
                    loss = backward(model, clean, label, **quick)
                else:
                    one_hot = nn.functional.one_hot(label, classes).to(x.dtype)
                    start = torch.clamp(start_points(clean, opponent.step_size, noise), *box)
                    given = vjp(model.eval(), **quick), clean, one_hot, start, opponent, box
                    adversarial, steps = ascend(*given, "batch" if early_stop else False, rounded)
                    taken.append(float(steps[0]))
                    reached.append(float((adversarial - clean).abs_().amax(1).mean()))
                    # one pass over both halves: twice the mean over 2n rows is the sum of the two means
                    both = torch.cat([adversarial, clean]), torch.cat([label, label])
                    loss = backward(model.train(), *both, scale=2.0, **quick)
                optimizer.step()
                losses.append(loss)
            loss_mean = float(torch.stack(losses).mean())
            if not loss_mean < float("inf"):
                raise ValueError(f"expected a finite training loss, got {loss_mean} in epoch {epoch + 1} of {name}")
            progress.set_postfix(loss=f"{loss_mean:.3f}")
            steps_mean, radius = (sum(values) / max(len(values), 1) for values in (taken, reached))
            past.append({"epoch": epoch + 1, "loss": loss_mean, "steps": steps_mean, "radius": radius})
            history.append(past[-1])
            if checkpoint is not None:
                states = model.state_dict(), optimizer.state_dict(), order.get_state(), noise.get_state()
                buffer = io.BytesIO()
                torch.save({"about": about, "history": past, "states": states}, buffer)
                write_atomic(Path(checkpoint), buffer.getvalue())
    if checkpoint is not None:
        Path(checkpoint).unlink(missing_ok=True)
    return model


@contextmanager
def _training(model: nn.Module, x: Tensor) -> Iterator[list[torch.Generator]]:
    """Put a model into training mode, in the type of x, and lend torch's own generators, which dropout draws from.
    In the end the model is in eval mode, its weights contiguous and without gradients, the generators as they were.
    """
    cuda = x.device.type == "cuda"
    lent = [torch.default_generator, *([torch.cuda.default_generators[x.device.index]] if cuda else [])]
    transpose_storage(model.to(x).train())
    try:
        with torch.random.fork_rng([x.device] if cuda else []):
            yield lent
    finally:
        model.zero_grad()
        for weight in model.eval().parameters():
            weight.data = weight.data.contiguous()


def _resume(path: Path, about: str, model: nn.Module, optimizer: torch.optim.Optimizer, *generators) -> list[dict]:
    """Set everything to the state in a checkpoint and return the rows of its epochs; none where there is no file."""
    if not path.exists():
        return []
    try:
        kept = torch.load(path, weights_only=True)
        ours = kept["about"] == about
    except Exception as error:  # whatever damaged bytes make of a reader
        warn(f"{path} is no checkpoint that can be read ({type(error).__name__}); training from the start")
        return []
    checks.refuse_unless(ours, f"expected the checkpoint of this very training, got another's at {path}; remove it")
    weights, moments, *streams = kept["states"]
    model.load_state_dict(weights)
    optimizer.load_state_dict(moments)
    for generator, stream in zip(generators, streams, strict=True):
        generator.set_state(stream)
    return kept["history"]
