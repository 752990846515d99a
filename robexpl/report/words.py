"""Words for results: what a number says is decided here, by rule, never by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from robexpl.regimes import REGIME_NAMES, REGIMES

NUMBERS = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def number(n: int) -> str:
    """Spell a small number."""
    return NUMBERS[n] if 0 <= n < len(NUMBERS) else f"{n:,}"


def listed(items: Sequence[str]) -> str:
    """Join items as a sentence does: a, b and c."""
    return " and ".join([", ".join(items[:-1]), items[-1]]) if len(items) > 1 else "".join(items)


def span(ends: Sequence[float]) -> str:
    """Write a range of values, or the one value where it has no width."""
    low, high = ends
    return f"{low:g} alone" if low == high else f"{low:g} to {high:g}"


def side(difference: Mapping[str, float]) -> str:
    """Say on which side of zero a difference lies: "lower", "higher" or, where its interval holds zero, "unclear"."""
    return "lower" if difference["high"] < 0 else "higher" if difference["low"] > 0 else "unclear"


def delta(difference: Mapping[str, float], digits: int = 3) -> str:
    """Write a difference with its 95 % interval."""
    mean, low, high = (f"{difference[key]:+.{digits}f}" for key in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"


def mean(record: Mapping[str, float], digits: int = 3) -> str:
    """Write a mean with its 95 % interval."""
    return f"{record['mean']:.{digits}f} [{record['low']:.{digits}f}, {record['high']:.{digits}f}]"


def against_standard(differences: Mapping[str, Mapping[str, float]]) -> str:
    """Say which robust networks score lower than the standard one, which higher, and which cannot be told apart."""
    if len(differences) > 1 and all(side(d) == "unclear" for d in differences.values()):
        return f"None of the {number(len(differences))} robust networks can be told apart from the standard one"
    by_side = {s: [r for r in REGIMES if r in differences and side(differences[r]) == s] for s in SIDES}
    parts = [_who(regimes, len(differences)) + SIDES[s][len(regimes) > 1] for s, regimes in by_side.items() if regimes]
    sentence = listed(parts)
    return sentence[0].upper() + sentence[1:]


SIDES = {
    "lower": (" scores lower than the standard one", " score lower than the standard one"),
    "higher": (" scores higher than the standard one", " score higher than the standard one"),
    "unclear": (" cannot be told apart from the standard one", " cannot be told apart from the standard one"),
}


def _who(regimes: Sequence[str], all_of: int) -> str:
    if len(regimes) == all_of and all_of > 1:
        return f"all {number(all_of)} robust networks"
    return f"the {listed([REGIME_NAMES[r].lower() for r in regimes])} network{'s' * (len(regimes) > 1)}"
