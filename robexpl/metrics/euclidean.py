"""Euclidean distance, in the units of the data."""

from robexpl.metrics._neighbours import pairs, unchanged

TITLE, KINDS = "Euclidean", ("image", "tabular")
prepare, distances = unchanged, pairs
