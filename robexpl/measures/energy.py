"""Faithfulness without sampling: the energy of a row against that of real points, by the network that is explained."""

import torch
from torch import Tensor

from robexpl.measures._known import Known, Score

TITLE, KINDS, COST, NETWORK = "Energy above real points", ("image", "tabular"), 1e-7, True


def prepare(known: Known) -> Score:
    """Return how much higher the energy of rows x (n, d) is than that of the reference points of their class -> (n,).
    (E(x | t) - mean E(r | t)) / sd E(r | t) over reference points r of class t, E(x | t) = -f_t(x) the energy of the
    network f [Altmeyer 2024], in standard deviations: below 0 where the network takes the row to be more likely than
    the mean reference point, and unchanged where all logits are multiplied.
    """
    model = known.model

    @torch.no_grad()
    def logits(x: Tensor) -> Tensor:
        return torch.cat([model(rows) for rows in x.split(4096)]).double()

    own = {label: -logits(known.of_class(label))[:, label] for label in known.y.unique().tolist()}

    def score(x: Tensor, target: Tensor) -> Tensor:
        energy = -logits(x).gather(1, target[:, None])[:, 0]
        mean = torch.stack([own[label].mean() for label in target.tolist()]) if len(x) else energy
        spread = torch.stack([own[label].std() for label in target.tolist()]) if len(x) else energy
        return (energy - mean) / spread.clamp_min(1e-12)

    return score
