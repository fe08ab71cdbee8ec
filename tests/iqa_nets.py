"""IQA models for tests: real pyiqa architectures with seeded random weights, loaded as a user's files are."""

import folder_paths
import pyiqa
import torch

CNNIQA_FILE = "CNNIQA_koniq10k-e6f14c91.pth"


def write_cnniqa(folder, seed=0):
    """Put weights of CNNIQA where ComfyUI finds them."""
    from pyiqa.archs.cnniqa_arch import CNNIQA

    folder_paths.add_model_folder_path("iqa", str(folder), is_default=True)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = CNNIQA(pretrained=None)
    torch.save({"params": net.state_dict()}, folder / CNNIQA_FILE)
    return folder / CNNIQA_FILE


def pyiqa_metric(name, file):
    """pyiqa's own metric, with the weights of :func:`write_cnniqa` where it has any."""
    weights = {"pretrained_model_path": str(file)} if name == "cnniqa" else {}
    return pyiqa.create_metric(name, device="cpu", **weights)


def photos(count=3, height=96, width=128, channels=3, seed=0):
    """``[count, height, width, channels]`` of smooth noise in 0...1, different for each image."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, channels, height // 8, width // 8, generator=generator)
    fine = torch.rand(count, channels, height, width, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic")
    return (0.85 * smooth + 0.15 * fine).clamp(0, 1).movedim(1, -1)
