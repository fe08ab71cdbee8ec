"""Guidance by the gradient of an IQA model: the baseline of the paper."""
