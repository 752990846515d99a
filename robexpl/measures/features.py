"""Distance to the nearest points of the class in the features of an independent network of images."""

from torch import Tensor

from robexpl import metrics
from robexpl.measures import _judges
from robexpl.measures._known import Known, Score

TITLE, KINDS, COST, JUDGES = "LeNet features", ("image",), 3e-6, True


def prepare(known: Known) -> Score:
    """Return the mean distance of images x (n, d) to the k nearest reference points of their target class -> (n,), by
    the Euclidean distance of the 84 numbers before the last layer of the first judge, a LeNet that is never explained.
    """
    weights = known.judges or _judges.learn(known.x, known.y, known.image_shape, known.seed)
    layers = _judges.judge(weights, 0, known.image_shape)[:-1]
    reference = metrics.reference(_judges.ask(layers, known.x), known.y, distance="euclidean")

    def score(x: Tensor, target: Tensor) -> Tensor:
        return metrics.implausibility(_judges.ask(layers, x), target, reference, k=known.k)

    return score
