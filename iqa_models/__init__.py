"""IQA models: which there are, how they are loaded, what they say about pictures, and how their scores spread."""
