"""The adapter on a GPU: parity, low-memory modes, speed and training.

    python -m benchmarks.cuda                  # everything, some minutes; SDXL's UNet takes 5 GB of the device
    python -m benchmarks.cuda parity memory    # only these

Parity: errors of one prediction of a narrow SDXL against float32 on the CPU with the same weights, for every dtype and
attention of ComfyUI's; the adapter's may be twice the unpatched model's own. Memory: the same picture in ComfyUI's
low-memory modes. Speed: SDXL at full width beside the unpatched UNet and the public way (:mod:`benchmarks.attention`).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from benchmarks.measure import table

ROOT = Path(__file__).resolve().parents[1]
KERNELS = ("pytorch", "split", "quad")  # --use-...-cross-attention
MODES = {
    "normal": (),
    "lowvram": ("--lowvram",),
    "novram": ("--novram",),
    "novram, async": ("--novram", "--async-offload"),
    "highvram": ("--highvram",),
    "gpu-only": ("--gpu-only",),
}
CHILD = """
import json, sys
from comfyui_runtime import load_pack
part, given, *arguments = sys.argv[1:]
load_pack(*arguments)
from benchmarks import cuda_parts
print("MEASURED", json.dumps(getattr(cuda_parts, part)(*json.loads(given))))
"""


def main() -> None:
    parts = {"parity": parity, "memory": memory, "speed": speed, "training": training}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*parts, []], metavar="PART", help=", ".join(parts))
    chosen = parser.parse_args().parts or list(parts)
    if not torch.cuda.is_available():
        sys.exit("benchmarks.cuda needs a GPU of CUDA or ROCm; benchmarks.attention measures on any device.")
    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}")
    for name in chosen:
        print("\n" + parts[name](), flush=True)


def parity() -> str:
    rows = []
    for kernel in KERNELS:
        for kind, errors in measured("parity", arguments=[f"--use-{kernel}-cross-attention"]).items():
            bound = max(2 * errors["unpatched"], 2e-5)
            good = errors["adapter"] <= bound and errors["with mask"] <= bound
            rows.append([kernel, kind, *(f"{value:.1e}" for value in errors.values()), "ok" if good else "TOO LARGE"])
    return table(["attention", "dtype", "unpatched", "adapter", "with mask", "adapter's effect", ""], rows)


def memory() -> str:
    rows, normal = [], None
    with tempfile.TemporaryDirectory() as folder:
        for name, arguments in MODES.items():
            file = Path(folder) / "latents.pt"
            found = measured("memory", str(file), arguments=arguments)
            latents = torch.load(file)
            normal = normal or latents
            share = found["on the device"] / found["size"]
            differences = [((latents[key] - normal[key]).norm() / normal[key].norm()).item() for key in normal]
            rows.append([name, f"{share:.0%}", *(f"{value:.1e}" for value in differences)])
    return table(["memory", "on the device", "unpatched differs by", "adapter", "with mask"], rows)


def speed() -> str:
    from benchmarks import attention, cuda_parts

    device, dtype = torch.device("cuda"), torch.float16
    with torch.inference_mode():
        model = attention.sdxl(device, dtype)
        adapter = attention.random_adapter(model, dtype)
        texts = [attention.one_layer(device, dtype, 40)]
        texts += [attention.whole_forward(model, adapter, device, dtype, size) for size in (128, 64)]
    for size in (128, 64):
        found = cuda_parts.sampling(model, size)
        plain = found["unpatched"]["ms"]
        rows = []
        for name, each in found.items():
            counts = (f"{each[key]:.0f}" for key in cuda_parts.COUNTED)
            rows.append([name, f"{each['ms']:.1f}", f"x {each['ms'] / plain:.3f}", *counts])
        texts.append(table([f"a step of sampling, {8 * size} px", "ms", "ratio", *cuda_parts.COUNTED], rows))
    return "\n\n".join(texts)


def training() -> str:
    rows = [
        [name, f"{found['steps per second']:.1f}", f"{found['bytes'] / 2**20:.0f} MiB", f"{found['last loss']:.4f}"]
        for name, found in measured("training").items()
    ]
    return table(["training, narrow SDXL", "steps per second", "on the device", "last loss"], rows)


def measured(part: str, *given: str, arguments=()) -> dict:
    """What a function of :mod:`benchmarks.cuda_parts` returns in a process of its own.

    Args:
        given: its arguments.
        arguments: of ComfyUI.
    """
    command = [sys.executable, "-c", CHILD, part, json.dumps(given), *arguments]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if run.returncode:
        sys.exit(f"{part} failed with {' '.join(arguments) or 'no arguments'}:\n{run.stderr[-3000:]}")
    (line,) = (line for line in run.stdout.splitlines() if line.startswith("MEASURED"))
    return json.loads(line.removeprefix("MEASURED"))


if __name__ == "__main__":
    main()
