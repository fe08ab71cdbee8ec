"""A training loop of the public kind, for comparison: diffusers, everything encoded in every step, nothing kept."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from diffusers import DDPMScheduler
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from transformers import CLIPTokenizer

from benchmarks.small_sd15 import diffusers_parts
from iqa_adapter.adapter.projection import QualityProjection
from iqa_adapter.training.table import ScoredTable

TOKENS = 2


class Pictures(Dataset):
    """Decoded, cropped and tokenised when they are asked for."""

    def __init__(self, pictures: Path, rows, resolution: int):
        import comfy.sd1_clip

        self.folder, self.rows = pictures, rows
        self.tokenizer = CLIPTokenizer.from_pretrained(Path(comfy.sd1_clip.__file__).parent / "sd1_tokenizer")
        self.transform = transforms.Compose(
            [
                transforms.Resize(resolution),
                transforms.CenterCrop(resolution),
                transforms.ToTensor(),
                transforms.Normalize([0.5], [0.5]),
            ]
        )

    def __len__(self) -> int:
        return len(self.rows.keys)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        path = self.folder / self.rows.keys[index]
        words = self.tokenizer(
            path.with_suffix(".txt").read_text(), max_length=77, padding="max_length", truncation=True
        ).input_ids
        return self.transform(Image.open(path).convert("RGB")), torch.tensor(words), self.rows.values[index]


class Plain:
    """Self-attention."""

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, **_):
        return attn.to_out[0](attend(attn, hidden_states, hidden_states, attn.to_k, attn.to_v))


class Decoupled(nn.Module):
    """Decoupled cross-attention; the quality tokens come at the end of the text's."""

    def __init__(self, to_k: nn.Linear, to_v: nn.Linear):
        super().__init__()
        self.to_k_ip, self.to_v_ip = (nn.Linear(x.in_features, x.out_features, bias=False) for x in (to_k, to_v))
        self.to_k_ip.load_state_dict(to_k.state_dict())
        self.to_v_ip.load_state_dict(to_v.state_dict())

    def forward(self, attn, hidden_states, encoder_hidden_states=None, **_):
        text, quality = encoder_hidden_states[:, :-TOKENS], encoder_hidden_states[:, -TOKENS:]
        out = attend(attn, hidden_states, text, attn.to_k, attn.to_v)
        return attn.to_out[0](out + attend(attn, hidden_states, quality, self.to_k_ip, self.to_v_ip))


def attend(attn, x: Tensor, context: Tensor, to_k: nn.Module, to_v: nn.Module) -> Tensor:
    q, k, v = (y.unflatten(-1, (attn.heads, -1)).transpose(1, 2) for y in (attn.to_q(x), to_k(context), to_v(context)))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


class Wrapped(nn.Module):
    """The frozen UNet together with the adapter."""

    def __init__(self, unet: nn.Module, projection: nn.Module):
        super().__init__()
        processors = {
            name: Decoupled(layer.to_k, layer.to_v) if name.endswith("attn2") else Plain()
            for name, layer in unet.named_modules()
            if name.endswith(("attn1", "attn2"))
        }
        unet.set_attn_processor({f"{name}.processor": processor for name, processor in processors.items()})
        self.unet, self.projection = unet, projection
        self.adapter_modules = nn.ModuleList(p for p in processors.values() if isinstance(p, nn.Module))

    def forward(self, noisy: Tensor, timesteps: Tensor, text: Tensor, scores: Tensor) -> Tensor:
        return self.unet(noisy, timesteps, torch.cat([text, self.projection(scores)], 1)).sample


class Loop:
    """See ``Ours`` in :mod:`benchmarks.training`, whose ``Task`` it takes."""

    def __init__(self, task):
        parts = diffusers_parts(task.size, task.folder)
        rows = ScoredTable.read(task.table).rows
        self.accelerator = Accelerator(cpu=not torch.cuda.is_available())
        self.device = self.accelerator.device
        self.text, self.vae = parts["text"].to(self.device), parts["vae"].to(self.device)
        self.scheduler = DDPMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)
        projection = QualityProjection(rows.values.shape[1], TOKENS, task.size.text, 0)
        model = Wrapped(parts["unet"], projection)
        learning = itertools.chain(model.projection.parameters(), model.adapter_modules.parameters())
        optimizer = torch.optim.AdamW(learning, lr=1e-4, weight_decay=1e-2)
        loader = DataLoader(
            Pictures(task.pictures, rows, task.resolution), shuffle=True, batch_size=task.batch, drop_last=True
        )
        self.model, self.optimizer, self.loader = self.accelerator.prepare(model, optimizer, loader)

    def turn(self, count: int) -> list[float]:
        """Seconds of ``count`` steps, after one that is not timed."""
        batches, ends = itertools.chain.from_iterable(itertools.repeat(self.loader)), []
        for batch in itertools.islice(batches, count + 1):
            self.step(*batch)
            ends.append(time.perf_counter())
        return [end - begin for begin, end in itertools.pairwise(ends)]

    def step(self, pixels: Tensor, words: Tensor, scores: Tensor) -> float:
        # bfloat16 by autocast, the weights stay float32, as with `accelerate launch --mixed_precision bf16`
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            with torch.no_grad():
                latents = self.vae.encode(pixels).latent_dist.sample() * self.vae.config.scaling_factor
                text = self.text(words).last_hidden_state
            noise = torch.randn_like(latents)
            timesteps = torch.randint(0, 1000, (len(latents),), device=self.device)
            noisy = self.scheduler.add_noise(latents, noise, timesteps)
            loss = F.mse_loss(self.model(noisy, timesteps, text, scores).float(), noise.float())
        value = self.accelerator.gather(loss).mean().item()
        self.accelerator.backward(loss)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return value
