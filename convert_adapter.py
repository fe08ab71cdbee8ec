"""Turn any readable IQA-Adapter file into the pack's ``.safetensors`` layout with metadata.

    python convert_adapter.py released.bin models/iqa_adapter/new.safetensors --metrics topiq_nr laion_aes
"""

import sys

from comfyui_runtime import room

if __name__ == "__main__":
    known = {name: metric.to_json() for name, metric in room("iqa_models.statistics").cc3m_statistics().items()}
    try:
        room("adapter.convert").main(sys.argv[1:], known)
    except (ValueError, OSError) as error:
        sys.exit(f"convert_adapter.py: {error}")
