"""Measures of plausibility and faithfulness, one file each: TITLE (for tables), KINDS (of data that it suits), COST
(about how many seconds it takes per row and input), and `prepare(known) -> score`, where score(x, target) gives rows x
(n, d) and target classes (n,) a number each, (n,): the lower, the more plausible or faithful. The distance metrics of
`robexpl.metrics` are measures, too: the mean distance to the k nearest reference points of the target class.

Further marks of a file, false where they are missing: SET, the number of a row depends on the rows beside it, and only
their mean has a meaning; NETWORK, it needs the network that is explained; JUDGES, it asks classifiers of images.
"""

from functools import partial
from types import ModuleType

from robexpl import checks, metrics, registry
from robexpl.measures._known import Known, Score, checked

__all__ = ["Known", "Score", "module", "names", "prepare"]


def names(kind: str | None = None) -> list[str]:
    """List the measures, distance metrics first: all, or those for a kind of data, "image" or "tabular".
    >>> "oracle" in names("image"), "gower" in names("image")
    (True, False)
    """
    own = registry.names(__name__)
    return [*metrics.names(kind), *(name for name in own if kind is None or kind in module(name).KINDS)]


def module(name: str) -> ModuleType:
    """Return the module of a measure or distance metric; raise ValueError with the known names where there is none.
    >>> module("forest").TITLE
    'Isolation forest'
    """
    checks.one_of("measure", name, names())
    return metrics.module(name) if name in metrics.names() else registry.module(__name__, name, "measure")


def prepare(name: str, known: Known) -> Score:
    """Return the function that scores rows x (n, d) with targets (n,) by a measure, all that it learns learnt before.
    Raises ValueError for unknown measures and for reference points or, of a function, points that do not suit.
    >>> import torch
    >>> known = Known(torch.tensor([[1.0], [3.0]]), torch.tensor([0, 0]), k=2)
    >>> prepare("l1", known)(torch.zeros(1, 1), torch.tensor([0]))
    tensor([2.])
    """
    known.checked()
    if name in metrics.names():
        shape = known.image_shape or metrics.IMAGE_SHAPE
        reference = metrics.reference(known.x, known.y, distance=name, image_shape=shape)
        return lambda x, target: metrics.implausibility(x, target, reference, k=known.k)
    asked = module(name)
    wanted = not getattr(asked, "NETWORK", False) or known.model is not None
    checks.refuse_unless(wanted, f"expected the network that is explained for {name}, got none")
    return partial(checked, asked.prepare(known), known)
