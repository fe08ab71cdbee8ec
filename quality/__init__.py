"""Numbers that adapter files and IQA models both speak: statistics, percentiles, targets. Pure; no torch models."""
