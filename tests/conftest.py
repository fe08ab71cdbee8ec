"""Loads the pack through ComfyUI's own custom-node loader, once per test run."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import comfyui_runtime

comfyui_runtime.load_pack()
