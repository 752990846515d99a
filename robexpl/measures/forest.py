"""Isolation forest: how few random cuts separate a row from the points of the class."""

import numpy as np
from sklearn.ensemble import IsolationForest

from robexpl.measures._known import Known, OfRows, Score, by_class

TITLE, KINDS, COST = "Isolation forest", ("image", "tabular"), 3e-6
TREES = 100


def prepare(known: Known) -> Score:
    """Return what gives rows x (n, d) their anomaly score in a forest of the points of their target class -> (n,).
    s(x) = 2^(-E[h(x)] / c(m)), h the depth at which a random tree isolates x and c its mean for m points, in (0, 1]
    [Liu 2008, equation 2]; at most MOST points of a class, of which each of the TREES trees draws 256.
    """

    def fit(label: int, points: np.ndarray) -> OfRows:
        found = IsolationForest(n_estimators=TREES, random_state=known.state("forest", label)).fit(points)
        return lambda rows: -found.score_samples(rows)

    return by_class(known, fit)
