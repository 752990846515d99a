"""Feature-range violations: values that no reference point has or comes near to, such as a negative number of rooms."""

from torch import Tensor

from robexpl.measures._known import Known, Score

TITLE, KINDS, COST = "Features out of range", ("tabular",), 1e-7


def prepare(known: Known) -> Score:
    """Return the share of the features of each row x (n, d) outside the range of all reference points -> (n,).
    A quantity that is positive in every reference point counts as a violation before it turns negative. The share is
    the same in original units as after standardisation. A millionth of the range is allowed for rounding.
    """
    low, high = known.x.aminmax(dim=0)
    slack = 1e-6 * (high - low)

    def score(x: Tensor, target: Tensor) -> Tensor:
        return ((x < low - slack) | (x > high + slack)).double().mean(1)

    return score
