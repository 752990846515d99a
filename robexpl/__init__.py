"""Adversarial robustness and the plausibility of counterfactual explanations: a reproduction that runs."""

__version__ = "0.1.0"
