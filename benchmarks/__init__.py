"""Speed and memory beside what others do: ratios of candidates that take turns in one run."""

import comfyui_runtime

comfyui_runtime.load_pack()
