"""Training of IQA-Adapters on the UNet of any model that ComfyUI has loaded."""
