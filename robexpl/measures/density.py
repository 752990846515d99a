"""Density of the class: a Gaussian mixture in the principal components, and a Gaussian of what these leave out."""

import numpy as np
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture

from robexpl.measures._known import Known, OfRows, Score, by_class

TITLE, KINDS, COST = "Negative log-density", ("image", "tabular"), 1e-6
COMPONENTS, MIXTURES, RIDGE = 30, (1, 3, 8), 1e-3  # principal components at most; Gaussians tried; added variance
HELD_OUT = 4  # every fourth point of a class chooses the number of Gaussians


def prepare(known: Known) -> Score:
    """Return what gives rows x (n, d) -log p(x | class) / d in nats per input, by the density of their target class.
    log p(x | c) = log sum_j w_j N(z; m_j, S_j) + log N(x - x'; 0, s^2 I), z the first q principal components of all
    reference points, x' the point that they describe and s^2 the mean square of x - x' in the class, as in
    probabilistic PCA [Tipping & Bishop 1999]: without the second term what leaves the components would cost nothing.
    The number of Gaussians is the one of MIXTURES with the highest log-likelihood of held-out points of the class.
    """
    x = known.x[:10000].double().numpy()
    q = min(COMPONENTS, x.shape[1], len(x) - 1)
    axes = PCA(q, svd_solver="full" if x.shape[1] < 100 else "covariance_eigh").fit(x)

    def parts(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        z = axes.transform(rows)
        return z, ((rows - axes.inverse_transform(z)) ** 2).sum(1)  # (n, q), (n,)

    def fit(label: int, points: np.ndarray) -> OfRows:
        z, rest = parts(points)
        free, d = points.shape[1] - q, points.shape[1]
        variance = max(float(rest.mean()) / free, RIDGE) if free else 1.0
        held = np.arange(len(z)) % HELD_OUT == 0
        most = max(1, int((~held).sum()) // (2 * q))  # a Gaussian of q dimensions wants twice as many points
        options = {"reg_covar": RIDGE, "random_state": known.state("density", label)}
        tried = [GaussianMixture(n, **options).fit(z[~held]) for n in MIXTURES if n <= most or n == MIXTURES[0]]
        best = max(tried, key=lambda mixture: round(mixture.score(z[held]), 6))
        best = GaussianMixture(best.n_components, **options).fit(z)

        def negative(rows: np.ndarray) -> np.ndarray:
            z, rest = parts(rows)
            residual = -0.5 * (rest / variance + free * np.log(2 * np.pi * variance)) if free else 0.0
            return -(best.score_samples(z) + residual) / d

        return negative

    return by_class(known, fit)
