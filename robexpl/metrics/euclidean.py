"""Euclidean distance, in the units of the data."""

from robexpl.metrics._vectors import pairs, unchanged

TITLE, KINDS = "Euclidean", ("image", "tabular")
prepare, distances = unchanged, pairs
