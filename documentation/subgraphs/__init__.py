"""Subgraph blueprints of the pack, one per file: parts of workflows that ComfyUI lists among the nodes."""
