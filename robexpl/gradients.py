"""Gradients of networks with respect to their input and to their parameters, in closed form where there is one."""

import math
from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn

Pull = Callable[[Tensor], Tensor]
Vjp = Callable[[Tensor], tuple[Tensor, Pull]]
SMALL = 10_000  # weights of a layer that may be kept twice
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def refuse_infinite(what: str, values: Tensor) -> None:
    """Raise where values are NaN or infinite; their sum, which at worst overflows, spares the second look."""
    if not math.isfinite(values.sum()) and (bad := int((~torch.isfinite(values)).sum())):
        raise ValueError(f"expected finite {what}, got {bad} NaN or infinite")


def plainly(function: Callable) -> Callable:
    """Make a function compute as it does outside of torch.autocast, in the precision of what it is given."""

    @wraps(function)
    def run(*args: Any, **settings: Any) -> Any:
        if not (torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda")):
            return function(*args, **settings)
        with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
            return function(*args, **settings)

    return run


def vjp(model: nn.Module, *, closed_form: bool = True, tried: Tensor | None = None) -> Vjp:
    """Return a function x (n, d) -> (logits (n, classes), pull), with pull(v (n, classes)) = v^T J of shape (n, d).
    J is the Jacobian of the logits at x, by the weights of the moment: call `vjp` again after an optimiser step. `pull`
    may be called once per call of the function, and the next call overwrites what both returned: copy what is to stay.
    The closed form of perceptrons, if given points to be `tried`, is left where autograd says something else there.
    >>> vjp(nn.Identity())(torch.zeros(1, 2))[1](torch.tensor([[3.0, 4.0]]))
    tensor([[3., 4.]])
    """

    @plainly
    def run(x: Tensor) -> tuple[Tensor, Pull]:
        with torch.enable_grad():
            x = (x.clone() if x.is_inference() else x.detach()).requires_grad_()
            logits = model(x)
        if logits.ndim != 2 or logits.shape[0] != x.shape[0]:
            raise ValueError(f"expected the model to map (n, d) to logits (n, classes), got {tuple(logits.shape)}")
        if not logits.requires_grad:
            raise ValueError(f"expected logits that follow the input, got some without gradients for {tuple(x.shape)}")
        refuse_infinite("logits", logits.detach())
        return logits.detach(), plainly(lambda v: torch.autograd.grad(logits, x, v)[0])

    layers = relu_layers(model) if closed_form else None
    quick = _perceptron(layers) if layers else run
    return run if layers and tried is not None and len(tried) and not _agree(quick, run, tried) else quick


def telling(x: Tensor) -> Tensor:
    """Return two rows of x (n, d) to try a model on, or all of fewer: the first, and of about 64 the farthest from it.
    >>> telling(torch.tensor([[0.0], [0.0], [2.0], [1.0]])).flatten()
    tensor([0., 2.])
    """
    some = x[:: max(1, len(x) // 64)]
    return torch.stack([some[0], some[int((some - some[:1]).abs().sum(1).argmax())]]) if len(x) > 2 else x


def closed_form(model: nn.Module, x: Tensor, y: Tensor) -> bool:
    """Tell whether a model has closed forms of `vjp` and `backward` that agree with autograd at rows x (n, d), y (n,).
    >>> closed_form(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2)), torch.eye(2), torch.arange(2))
    True
    """
    layers, found = relu_layers(model), []
    if not layers or not _agree(_perceptron(layers), vjp(model, closed_form=False), x):
        return False
    for quick in (True, False):
        model.zero_grad()
        backward(model, x, y, closed_form=quick)
        gradients = (torch.zeros_like(w) if w.grad is None else w.grad for w in model.parameters())
        found.append(torch.cat([gradient.flatten() for gradient in gradients]))
    model.zero_grad()
    return _close(*found)


def _close(one: Tensor, other: Tensor) -> bool:
    """Tell whether numbers are the same but for rounding."""
    slack = max(1e-4, 8 * torch.finfo(other.dtype).eps)
    return float((one - other).abs().max()) <= slack * float(other.abs().max())


def _agree(one: Vjp, other: Vjp, x: Tensor) -> bool:
    """Tell whether two ways to logits and their pullback do the same at points x (n, d), but for rounding."""
    found = []
    try:
        for run in (one, other):
            logits, pull = run(x)
            v = torch.linspace(0.5, 1.5, logits.shape[1], dtype=x.dtype, device=x.device)
            found.append((logits.clone(), pull(v.expand_as(logits).contiguous())))
        return all(map(_close, *found))
    except (RuntimeError, ValueError):  # shapes that do not fit each other, numbers that are not finite
        return False


def relu_layers(model: nn.Module) -> list[nn.Linear] | None:
    """Return the linear layers if the model is exactly Linear, ReLU, Linear, ... Linear, with biases, else None.
    Hooks and a `forward` of an instance's own make it another.
    """
    if type(model) is not nn.Sequential or len(model) % 2 == 0:
        return None
    parts = list(model)
    alternates = all(type(layer) is (nn.ReLU if i % 2 else nn.Linear) for i, layer in enumerate(parts))
    plain = alternates and all(layer.bias is not None for layer in parts[::2])
    states = [vars(module) for module in (model, *parts)]
    changed = any("forward" in state or any(state[kind] for kind in HOOKS) for state in states)
    return parts[::2] if plain and not changed else None


def _perceptron(layers: list[nn.Linear]) -> Vjp:
    # Forward products are about three times as fast from weights laid out column by column. The way back reads the same
    # copy where the layer is large: two of them would not stay in the processor's second cache.
    transposed = [layer.weight.detach().t().contiguous() for layer in layers]  # each (in, out)
    weights = [part.t() if part.numel() > SMALL else part.t().contiguous() for part in transposed]
    biases = [layer.bias.detach() for layer in layers]
    forward: list[Tensor] = []  # buffers: activations, last the logits
    backward: list[Tensor] = []  # buffers: gradients with respect to the inputs of the layers

    def run(x: Tensor) -> tuple[Tensor, Pull]:
        x = x.detach()
        if not forward or len(forward[0]) != len(x):
            forward[:] = [x.new_empty(len(x), len(weight)) for weight in weights]
            backward[:] = [x.new_empty(len(x), weight.shape[1]) for weight in weights]
        for i, (bias, weight_t, out) in enumerate(zip(biases, transposed, forward, strict=True)):
            torch.addmm(bias, x, weight_t, out=out)  # (n, h), last (n, classes)
            x = out.relu_() if i < len(weights) - 1 else out
        return forward[-1], pull

    def pull(v: Tensor) -> Tensor:
        v = v.detach()
        for i in reversed(range(len(weights))):
            v = torch.mm(v, weights[i], out=backward[i])
            if i:
                v.mul_(forward[i - 1].sign_())  # relu' is the sign of the activation, 0 at 0 as in autograd
        return v

    return run


def tracked(model: nn.Module, x: Tensor, *, closed_form: bool = True) -> tuple[Tensor, Pull]:
    """Return the logits (n, classes) at x (n, d) and the pullback v -> v^T J, both differentiable in the parameters.
    Perceptrons: v^T J = v W_L diag(relu'(a_{L-1})) W_{L-1} ... W_1, whose own gradient needs no second derivative, as
    relu' is constant almost everywhere; autograd twice for any other module.
    >>> logits, pull = tracked(nn.Linear(2, 3), torch.zeros(1, 2))
    >>> pull(torch.eye(3)[:1]).requires_grad
    True
    """
    layers = relu_layers(model) if closed_form else None
    if not layers:
        x = x.detach().requires_grad_()
        logits = model(x)
        return logits, lambda v: torch.autograd.grad(logits, x, v, create_graph=True)[0]
    signs = []  # of the activations of the inner layers
    for layer in layers[:-1]:
        x = layer(x).relu()
        signs.append(x.detach().sign())

    def pull(v: Tensor) -> Tensor:
        for layer, sign in zip(layers[:0:-1], signs[::-1], strict=True):
            v = v @ layer.weight * sign
        return v @ layers[0].weight

    return layers[-1](x), pull


@plainly
def backward(model: nn.Module, x: Tensor, y: Tensor, *, scale: float = 1.0, closed_form: bool = True) -> Tensor:
    """Set the gradients of a network's parameters to those of the loss scale * mean CE(f(x), y), and return the loss.
    x (n, d), y (n,). Closed form for perceptrons: delta_L = scale (softmax(f) - e_y) / n, delta_i = (delta_{i+1}
    W_{i+1}) relu'(a_i) and dW_i = delta_i^T a_{i-1}; autograd for any other module.
    """
    layers = relu_layers(model) if closed_form else None
    if not layers:
        with torch.enable_grad():
            model.zero_grad()
            loss = scale * nn.functional.cross_entropy(model(x), y)
            loss.backward()
        return loss.detach()
    with torch.no_grad():
        inputs = [x]  # of every layer
        for layer in layers[:-1]:
            inputs.append(torch.addmm(layer.bias, inputs[-1], layer.weight.t()).relu_())
        logits = torch.addmm(layers[-1].bias, inputs[-1], layers[-1].weight.t())
        log_probabilities = torch.log_softmax(logits, 1)
        picked = log_probabilities.gather(1, y[:, None])
        delta = log_probabilities.exp_().scatter_add_(1, y[:, None], torch.full_like(picked, -1)).mul_(scale / len(x))
        for i in reversed(range(len(layers))):
            layers[i].weight.grad = torch.mm(inputs[i].t(), delta).t()  # (out, in)
            layers[i].bias.grad = delta.sum(0)
            if i:
                delta = torch.mm(delta, layers[i].weight).mul_(inputs[i].sign_())
        return -scale * picked.mean()


def transpose_storage(model: nn.Module) -> None:
    """Lay out the weights of a perceptron column by column, which makes its training steps faster; values stay."""
    for layer in relu_layers(model) or []:
        layer.weight.data = layer.weight.data.t().contiguous().t()
