"""Pictures of results: labelled grids and response curves."""
