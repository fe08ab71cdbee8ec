"""The pack's ComfyUI nodes, one file per step of the graph."""

NODES = []
