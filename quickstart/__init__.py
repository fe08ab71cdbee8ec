"""The embedded default: a tiny text-to-image model, its IQA model and its adapters, trained on procedural scenes."""
