"""Local outlier factor: how much sparser the points of the class lie around a row than around its neighbours."""

import numpy as np
from sklearn.neighbors import LocalOutlierFactor

from robexpl.measures._known import Known, OfRows, Score, by_class

TITLE, KINDS, COST = "Local outlier factor", ("image", "tabular"), 3e-6
NEIGHBOURS = 20


def prepare(known: Known) -> Score:
    """Return what gives rows x (n, d) their local outlier factor among the points of their target class -> (n,).
    LOF(x) = mean over the NEIGHBOURS nearest points r of density(r) / density(x), density the inverse of the mean
    reachability distance [Breunig 2000]: about 1 within the class, higher outside; at most MOST points of a class.
    """

    def fit(label: int, points: np.ndarray) -> OfRows:
        near = min(NEIGHBOURS, len(points) - 1)
        found = LocalOutlierFactor(n_neighbors=near, novelty=True, algorithm="brute").fit(points)
        return lambda rows: -found.score_samples(rows)

    return by_class(known, fit)
