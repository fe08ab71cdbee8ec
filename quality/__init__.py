"""Numbers that adapter files and IQA models both use: statistics, targets, names, resize. No models."""
