"""The IQA-Adapter: quality tokens and their decoupled cross-attention inside a ComfyUI UNet."""
