"""Adversarial robustness and the plausibility of counterfactual explanations: a reproduction that runs."""

import warnings

__version__ = "0.1.0"

# the download library asks tqdm for a widget at import; where there are none, tqdm would say so in every notebook
warnings.filterwarnings("ignore", message="IProgress not found")
