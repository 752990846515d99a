"""A deep neural decision tree: every feature is cut into soft bins, and every cell of the grid of bins is a leaf."""

import torch
from torch import Tensor, nn

from robexpl import checks

MOST = 10  # features of a tree: it has (cuts + 1) ** features leaves


class DecisionTree(nn.Module):
    """Map x (n, inputs) to logits (n, outputs); see `decision_tree`."""

    def __init__(self, inputs: int, outputs: int, cuts: int, temperature: float) -> None:
        super().__init__()
        used = min(inputs, MOST)
        self.inputs, self.temperature = inputs, temperature
        self.cuts = nn.Parameter(torch.zeros(used, cuts))
        self.leaves = nn.Parameter(torch.zeros((cuts + 1) ** used, outputs))
        self.register_buffer("features", torch.arange(used))

    def bins(self, x: Tensor) -> Tensor:
        """Return the soft membership of the used features in their bins, (n, features, cuts + 1), summing to 1."""
        ascending = self.cuts.sort(dim=1).values
        steps = torch.cat([torch.zeros_like(ascending[:, :1]), ascending], 1).cumsum(1)  # (features, cuts + 1)
        weights = torch.arange(1, steps.shape[1] + 1, dtype=x.dtype, device=x.device)
        return torch.softmax((x[:, self.features, None] * weights - steps) / self.temperature, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits: leaf scores, weighted by the Kronecker product of the memberships."""
        bins = self.bins(x)
        reached = bins[:, 0]
        for j in range(1, bins.shape[1]):
            reached = (reached[:, :, None] * bins[:, j, None]).flatten(1)  # (n, (cuts + 1) ** (j + 1))
        return reached @ self.leaves


def decision_tree(
    inputs: int, outputs: int, *, cuts: int = 1, temperature: float = 0.1, generator: torch.Generator | None = None
) -> DecisionTree:
    """Make a deep neural decision tree [Yang, Garcia Morillo & Hospedales 2018], mapping (n, inputs) to logits.
    A feature x with cuts b_1 < ... < b_m is in bin i of m + 1 to the degree softmax_i((i x - b_1 - ... - b_{i-1})
    / temperature); a leaf is one bin of every feature, reached to the product of the degrees. At most ten features are
    used, drawn by the generator where there are more (the paper makes a forest of such trees). Cuts and leaf scores are
    N(0, 1); without a generator both are zero, ready for `load_state_dict`.
    >>> decision_tree(8, 2, generator=torch.Generator().manual_seed(0)).leaves.shape
    torch.Size([256, 2])
    """
    checks.refuse_type("generator", generator, (torch.Generator, type(None)))
    inputs, outputs, cuts = (int(one) for one in checks.positive(inputs=inputs, outputs=outputs, rows=cuts))
    model = DecisionTree(inputs, outputs, cuts, checks.positive(temperature=temperature))
    if generator is not None:
        with torch.no_grad():
            model.features.copy_(torch.randperm(inputs, generator=generator)[: len(model.features)].sort().values)
            for part in (model.cuts, model.leaves):
                part.normal_(generator=generator)
    return model


def build(
    inputs: int, outputs: int, image_shape: tuple[int, int] | None, *, generator: torch.Generator | None = None
) -> DecisionTree:
    """Make a tree with one cut for each feature."""
    return decision_tree(inputs, outputs, generator=generator)


def sizes(model: nn.Module) -> dict[str, int | float] | None:
    """Return the arguments of `decision_tree` that give a model of this form, None if it has another."""
    if type(model) is not DecisionTree:
        return None
    outputs, cuts = model.leaves.shape[1], model.cuts.shape[1]
    return {"inputs": model.inputs, "outputs": outputs, "cuts": cuts, "temperature": model.temperature}
