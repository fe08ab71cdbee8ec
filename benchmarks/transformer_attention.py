"""How quality tokens enter a transformer: candidates trained on the same batches of a small Flux, and what they answer.

* ``rotated``: the picture's queries, as they are with their rotary position, attend to K', V' beside the block's own
  attention, and the result is added before the output projection. K' are normed as the model norms its own.
* ``unrotated``: the same with the queries before rotary position.
* ``appended``: no attention of its own; the quality tokens are appended to the text's embeddings.

Run ``python -m benchmarks.transformer_attention --work FOLDER`` again and again, it goes on where it was: first the
base (:mod:`.small_transformer`), then the candidates, then the table, and below it how ``rotated`` answers as a file of
this pack that *Apply IQA-Adapter* puts on the model and ComfyUI samples. All of it on one thread.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import spearmanr
from torch import Tensor, nn

from benchmarks.small_transformer import (
    DOUBLE,
    HIDDEN,
    SCENES,
    SINGLE,
    SIZE,
    Scenes,
    distort,
    flow_loss,
    load_model,
    to_pictures,
    train_base,
)  # fmt: skip
from benchmarks.small_transformer_adapter import as_adapter, draw
from iqa_adapter.quickstart.text_encoder import MAX_TOKENS, WIDTH
from iqa_adapter.quickstart.world import HELD_OUT_SEEDS, TRAINING_SEEDS

SITES, TOKENS = DOUBLE + SINGLE, 2
SIDE = SIZE // 4  # tokens of a side of a picture
MEAN, STD = 1 / 6, (1 / 9 - 1 / 36) ** 0.5  # of a severity that is 0 in two thirds of the pictures
LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)
STEPS, BATCH, RATE = 300, 16, 3e-3
PICTURES, SAMPLING = 48, 12


class Candidate(nn.Module):
    """Quality tokens, and how they enter.

    Args:
        kind: ``rotated``, ``unrotated`` or ``appended``.
        model: whose text's projections the weights start from.
    """

    def __init__(self, kind: str, model: nn.Module):
        super().__init__()
        self.kind, width = kind, WIDTH if kind == "appended" else HIDDEN
        torch.manual_seed(1)
        self.projection, self.norm = nn.Linear(2, TOKENS * width), nn.LayerNorm(width)
        if kind == "appended":
            return
        fused = [block.txt_attn.qkv for block in model.double_blocks] + [block.linear1 for block in model.single_blocks]
        self.weights = nn.Parameter(
            torch.stack([layer.weight[HIDDEN : 3 * HIDDEN].detach().clone() for layer in fused])
        )
        self.norms = [block.txt_attn.norm.key_norm for block in model.double_blocks]
        self.norms += [block.norm.key_norm for block in model.single_blocks]
        text = torch.zeros(MAX_TOKENS, 3)
        rows, columns = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
        picture = torch.stack([torch.zeros(SIDE, SIDE), rows, columns], -1).flatten(0, 1)
        self.rotation = model.pe_embedder(torch.cat([text, picture])[None])[:, :, MAX_TOKENS:]

    def forward_with(self, model: nn.Module, quality: Tensor, run) -> Tensor:
        """What ``run(context, options)`` gives with quality tokens for ``quality`` ``[N, 2]``."""
        tokens = self.norm(self.projection((quality - MEAN) / STD).unflatten(-1, (TOKENS, -1)))
        if self.kind == "appended":
            return run(tokens, None)
        self.calls, self.tokens = 0, tokens
        return run(None, self.attention)

    def attention(self, func, q: Tensor, k: Tensor, v: Tensor, heads: int, **kwargs) -> Tensor:
        out = func(q, k, v, heads, **kwargs)
        keys, values = (self.tokens @ self.weights[self.calls].T).unflatten(-1, (2, heads, -1)).permute(2, 0, 3, 1, 4)
        keys = self.norms[self.calls](keys)
        self.calls += 1
        queries = q[:, :, MAX_TOKENS:]
        if self.kind == "unrotated":
            pairs = queries.unflatten(-1, (-1, 2))[..., None, :]
            queries = (self.rotation.mT[..., 0] * pairs[..., 0] + self.rotation.mT[..., 1] * pairs[..., 1]).flatten(-2)
        added = F.scaled_dot_product_attention(queries, keys, values).transpose(1, 2).flatten(2)
        return torch.cat([out[:, :MAX_TOKENS], out[:, MAX_TOKENS:] + added], 1)


def loss_of(candidate: Candidate, model: nn.Module, batch: dict, quality: Tensor, generator: torch.Generator) -> Tensor:
    def run(tokens, attention):
        context = batch["context"] if tokens is None else torch.cat([batch["context"], tokens], 1)
        options = {} if attention is None else {"optimized_attention_override": attention}
        return flow_loss(model, batch | {"context": context}, generator, **options)

    return candidate.forward_with(model, quality, run)


def train_candidates(work: Path, steps: int, minutes: float) -> None:
    """All on the same batches and noise; goes on from ``work/candidates.pt``."""
    model = load_model(work / "base.pt").model.diffusion_model
    scenes, file = Scenes(TRAINING_SEEDS, SCENES, work / "scenes.pt"), work / "candidates.pt"
    candidates = {kind: Candidate(kind, model) for kind in ("rotated", "unrotated", "appended")}
    optimizers = {kind: torch.optim.AdamW(each.parameters(), lr=RATE) for kind, each in candidates.items()}
    step, curves, seconds = 0, {kind: [] for kind in candidates}, dict.fromkeys(candidates, 0.0)
    if file.exists():
        state = torch.load(file, weights_only=True)
        step, curves, seconds = state["step"], state["curves"], state["seconds"]
        for kind in candidates:
            candidates[kind].load_state_dict(state[kind]["weights"])
            optimizers[kind].load_state_dict(state[kind]["optimizer"])
    end = time.monotonic() + 60 * minutes
    while step < steps and time.monotonic() < end:
        for kind, candidate in candidates.items():
            generator = torch.Generator().manual_seed(10**6 + step)
            batch = scenes.batch(BATCH, generator)
            optimizers[kind].param_groups[0]["lr"] = RATE * min(1, (step + 1) / 20)
            begin = time.process_time()
            loss = loss_of(candidate, model, batch, batch["severities"], generator)
            optimizers[kind].zero_grad()
            loss.backward()
            optimizers[kind].step()
            seconds[kind] += time.process_time() - begin
            curves[kind].append(loss.item())
        step += 1
        if step % 25 == 0 or step == steps:
            print(
                step, {k: f"{np.mean(v[-25:]):.4f}" for k, v in curves.items()}, time.strftime("%H:%M:%S"), flush=True
            )
            state = {kind: {"weights": candidates[kind].state_dict(), "optimizer": optimizers[kind].state_dict()}
                     for kind in candidates}  # fmt: skip
            torch.save(state | {"step": step, "curves": curves, "seconds": seconds}, file.with_suffix(".tmp"))
            file.with_suffix(".tmp").replace(file)


@torch.enable_grad()
def train_reader(work: Path) -> nn.Module:
    """A small network that tells blur and noise of a picture, as severities."""
    torch.manual_seed(0)
    layers = []
    for channels, wider in ((3, 24), (24, 32), (32, 48)):
        layers += [nn.Conv2d(channels, wider, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2)]
    reader = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(48, 2))
    file = work / "reader.pt"
    if file.exists():
        reader.load_state_dict(torch.load(file, weights_only=True))
        return reader.eval()
    scenes = Scenes(TRAINING_SEEDS, SCENES, work / "scenes.pt")
    optimizer = torch.optim.AdamW(reader.parameters(), lr=3e-3)
    for step in range(400):
        batch = scenes.batch(48, torch.Generator().manual_seed(2 * 10**6 + step))
        optimizer.param_groups[0]["lr"] = 3e-3 * (1 - step / 400)
        loss = F.mse_loss(reader(batch["pictures"] - 0.5), batch["severities"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.save(reader.state_dict(), file)
    return reader.eval()


@torch.no_grad()
def sample(model: nn.Module, held: Scenes, candidate: Candidate, quality: tuple[float, float]) -> Tensor:
    """``[PICTURES, 3, 32, 32]`` of held-out prompts, from the same noise for every candidate and quality."""
    x = first_noise()
    context, pooled = held.context[:PICTURES].float(), held.pooled[:PICTURES].float()
    request = torch.tensor(quality).expand(PICTURES, 2)
    times = torch.linspace(1, 0, SAMPLING + 1)
    for now, then in itertools.pairwise(times):

        def run(tokens, attention, now=now, x=x):
            text = context if tokens is None else torch.cat([context, tokens], 1)
            options = {} if attention is None else {"optimized_attention_override": attention}
            return model(x, now.expand(PICTURES), text, y=pooled, transformer_options=options)

        x = x + (then - now) * candidate.forward_with(model, request, run)
    return to_pictures(x)


def first_noise() -> Tensor:
    return torch.randn(PICTURES, 12, SIZE // 2, SIZE // 2, generator=torch.Generator().manual_seed(9))


def ask(drawn: Callable[[tuple[float, float]], Tensor], reader: nn.Module) -> tuple[list[str], dict]:
    """rho and gain for blur and for noise, and the pictures by what was asked for."""
    answers, pictures = [], {}
    for metric in (0, 1):
        means = []
        for level in LEVELS:
            request = (level, 0.0) if metric == 0 else (0.0, level)
            if request not in pictures:
                pictures[request] = drawn(request)
            means.append(reader(pictures[request] - 0.5)[:, metric].mean().item())
        answers.append(f"{spearmanr(LEVELS, means)[0]:.2f}, {np.polyfit(LEVELS, means, 1)[0]:.2f}")
    return answers, pictures


def roughness(pictures: Tensor) -> Tensor:
    """Energy of the finest detail at every token, ``[N, 8, 8]``."""
    kernel = torch.tensor([[1.0, -2, 1], [-2, 4, -2], [1, -2, 1]]).div(6).expand(3, 1, 3, 3)
    return F.avg_pool2d(F.conv2d(pictures, kernel, padding=1, groups=3).square().mean(1, keepdim=True), 4)[:, 0]


@torch.no_grad()
def report(work: Path) -> None:
    """The table of docs/transformers.md."""
    patcher = load_model(work / "base.pt")
    model = patcher.model.diffusion_model
    held = Scenes(HELD_OUT_SEEDS, 200, work / "held.pt", naming_all=True)
    reader, state = train_reader(work), torch.load(work / "candidates.pt", weights_only=True)
    base = torch.load(work / "base.pt", weights_only=True)
    probe = held.batch(200, torch.Generator().manual_seed(3))
    read = reader(probe["pictures"] - 0.5)
    fit = [np.corrcoef(read[:, i], probe["severities"][:, i])[0, 1] for i in (0, 1)]
    print(f"base: {base['step']} steps, loss {base['losses'][-1][1]:.3f}; candidates: {state['step']} steps of {BATCH}")
    print(f"reader on {len(read)} held-out pictures: correlation {fit[0]:.3f} (blur), {fit[1]:.3f} (noise)\n")
    clean = held.pictures[:PICTURES].float() / 255
    real = distort(clean, torch.tensor([[0.0, 1.0]]).expand(PICTURES, 2), torch.Generator().manual_seed(5))
    print(f"unevenness of the grain of real noisy pictures: {_unevenness(real, clean):.2f}\n")
    print("| | parameters | loss gained | blur rho, gain | noise rho, gain | unevenness | CPU s/step |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for kind in ("rotated", "unrotated", "appended"):
        candidate = Candidate(kind, model)
        candidate.load_state_dict(state[kind]["weights"])
        answers, pictures = ask(lambda request, by=candidate: sample(model, held, by, request), reader)
        if kind == "rotated":
            chosen, its = candidate, pictures
        uneven = _unevenness(pictures[0.0, 1.0], pictures[0.0, 0.0])
        gained = np.mean([_gained(candidate, model, held, seed) for seed in range(6)])
        count = sum(p.numel() for p in candidate.parameters())
        cost = state["seconds"][kind] / state["step"]
        print(f"| {kind} | {count:,} | {gained:+.4f} | {answers[0]} | {answers[1]} | {uneven:.2f} | {cost:.3f} |")
    adapter = as_adapter(chosen, patcher, TOKENS, work / "rotated.safetensors")
    answers, pictures = ask(
        lambda quality: draw(patcher, held, first_noise(), SAMPLING, adapter, (torch.tensor(quality) - MEAN) / STD),
        reader,
    )
    furthest = max((pictures[request] - its[request]).abs().max().item() for request in its)
    print(f"\nrotated, as a file of this pack that ComfyUI samples with: blur {answers[0]}; noise {answers[1]}; "
          f"the pictures differ by {furthest:.1e} of the range at most")  # fmt: skip


def _unevenness(noisy: Tensor, clean: Tensor) -> float:
    """Standard deviation over mean, over the places of a picture, of the detail that noise adds."""
    added = (roughness(noisy) - roughness(clean)).mean(0)
    return (added.std() / added.mean().abs()).item()


def _gained(candidate: Candidate, model: nn.Module, held: Scenes, seed: int) -> float:
    """Loss with the quality of other pictures less that with a picture's own, on held-out scenes."""
    batch = held.batch(64, torch.Generator().manual_seed(7 + seed))
    own, others = batch["severities"], batch["severities"].roll(1, 0)
    losses = [
        loss_of(candidate, model, batch, quality, torch.Generator().manual_seed(seed)) for quality in (others, own)
    ]
    return (losses[0] - losses[1]).item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder of pictures, checkpoints and weights")
    parser.add_argument("--base-steps", type=int, default=1600)
    parser.add_argument("--steps", type=int, default=STEPS, help="of every candidate")
    parser.add_argument("--minutes", type=float, default=600.0, help="after which it stops to go on another time")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.work.mkdir(parents=True, exist_ok=True)
    train_base(options.work, options.base_steps, options.minutes)
    train_candidates(options.work, options.steps, options.minutes)
    report(options.work)


if __name__ == "__main__":
    main()
