"""Pictures of results: labelled grids, sheets and curves. The only room that lays out pictures."""
