"""Classifier two-sample test: how well a forest tells a set of rows from reference points of the same classes."""

import numpy as np
import torch
from sklearn.ensemble import RandomForestClassifier
from torch import Tensor

from robexpl.measures._known import Known, Score
from robexpl.measures._pairs import matched

TITLE, KINDS, COST, SET = "Classifier two-sample test", ("image", "tabular"), 5e-6, True
TREES = 64


def prepare(known: Known) -> Score:
    """Return the part of each row x (n, d) in a classifier's accuracy; their mean (n,) is the balanced accuracy.
    A random forest learns to tell pairs (row, class) from as many pairs (reference point, class) of the same classes
    and is asked about each by the trees that did not see it [Lopez-Paz & Oquab 2017; Breiman 2001, out of bag]: 0.5
    where the two sets are alike, 1 where they can always be told apart. h_i = (right_i + share of the reference points
    that are right) / 2. Counts of trees decide, so the result is the same on every processor.
    """
    classes = int(known.y.max()) + 1

    def score(x: Tensor, target: Tensor) -> Tensor:
        n, one_hot = len(x), torch.nn.functional.one_hot(target, classes)
        both = np.concatenate([torch.cat([part.float(), one_hot], 1).numpy() for part in (x, matched(known, target))])
        made = np.repeat([1, 0], n)
        how = {"n_estimators": TREES, "bootstrap": True, "oob_score": True, "random_state": known.state("c2st")}
        votes = RandomForestClassifier(**how).fit(both, made).oob_decision_function_[:, 1]
        right = torch.from_numpy(np.where(made == 1, votes > 0.5, votes < 0.5) + 0.5 * (votes == 0.5))
        return (right[:n] + right[n:].mean()) / 2

    return score
