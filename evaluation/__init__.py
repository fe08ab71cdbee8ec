"""Experiments: what adapters and IQA models really do, measured."""
