"""Oracle: how little of the target class an independent classifier sees in a row."""

import numpy as np
import torch
from sklearn.ensemble import RandomForestClassifier
from torch import Tensor

from robexpl.measures import _judges
from robexpl.measures._known import Known, Score
from robexpl.seeds import numpy_generator

TITLE, KINDS, COST, JUDGES = "Oracle", ("image", "tabular"), 5e-7, True
TREES, LEAF, NOISE, COPIES = 100, 5, 0.1, 2  # NOISE: in standard deviations of the features


def prepare(known: Known) -> Score:
    """Return 1 - p(target | x) of rows x (n, d) by classifiers that are never explained -> (n,), in [0, 1].
    Images: the mean probability of judges that were trained with noise, all but the first, whose features are another
    measure's. Tabular data: a random forest [Breiman 2001], grown on the reference points and on copies of them with
    noise; its splits rest on counts, so it is the same on every processor.
    """
    if known.image_shape:
        weights = known.judges or _judges.learn(known.x, known.y, known.image_shape, known.seed)
        panel = [_judges.judge(weights, i, known.image_shape) for i in range(1, _judges.JUDGES)]

        def chances(x: Tensor) -> Tensor:
            return torch.stack([_judges.ask(one, x).softmax(1) for one in panel]).mean(0)

        labels = torch.arange(int(known.y.max()) + 1)
    else:
        rng, x = numpy_generator(known.seed, "measure", "oracle"), known.x.numpy()
        spread = NOISE * x.std(0, keepdims=True)
        rows = np.concatenate([x, *(x + spread * rng.standard_normal(x.shape).astype(x.dtype) for _ in range(COPIES))])
        how = {"n_estimators": TREES, "min_samples_leaf": LEAF, "random_state": known.state("oracle")}
        forest = RandomForestClassifier(**how).fit(rows, np.tile(known.y.numpy(), 1 + COPIES))
        labels = torch.from_numpy(forest.classes_)

        def chances(x: Tensor) -> Tensor:
            return torch.from_numpy(forest.predict_proba(x.numpy())) if len(x) else x.new_empty(0, len(labels))

    def score(x: Tensor, target: Tensor) -> Tensor:
        column = torch.searchsorted(labels, target)
        return 1 - chances(x).double().gather(1, column[:, None])[:, 0]

    return score
