"""IQA models: which there are, how they are loaded and what they say about pictures."""
