"""Pretrain the bundled vision transformer by formula: `python -m backends.vision.pretrain --tier cpu`.

No natural image is used. A stopped run goes on where it was: a checkpoint holds weights, moments and step, and the
pictures of a step depend on the seed and the step alone. `--targets class` is the control without geometric targets.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict
from torch import nn

from backends.runtime.checkpoints import load_checkpoint, save_checkpoint
from backends.runtime.device import hardware, limit_threads
from backends.runtime.files import ASSETS, cache_folder
from backends.runtime.schedule import warm_cosine
from backends.runtime.seeds import generator
from backends.vision.formulas import clouds
from backends.vision.model import FormulaLearner, losses, total
from backends.vision.render import pictures
from backends.vision.settings import ARCHITECTURES, NAMES, FormulaSettings, PretrainSettings

WARM_UP = 200  # steps


class Command(PretrainSettings, BaseSettings):
    """Pretrain the bundled vision transformer by formula (resumes by itself)."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", cli_parse_args=True, cli_kebab_case=True, cli_implicit_flags=True
    )
    work: Path = Field(default_factory=lambda: cache_folder() / "vision-pretraining", title="Folder of the run's files")
    output: Path | None = Field(None, title="Folder of the finished model", description="default: assets/models")
    threads: int | None = Field(None, ge=1, title="CPU threads")


def optimisers(learner: nn.Module, settings: PretrainSettings) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the blocks, AdamW for all else."""
    blocks = {name: p for name, p in learner.named_parameters() if "layer" in name and p.ndim == 2}
    rest = [p for name, p in learner.named_parameters() if name not in blocks]
    decay = settings.weight_decay
    return [
        torch.optim.Muon(blocks.values(), lr=settings.muon_lr, weight_decay=decay, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(
            [{"params": [p for p in rest if p.ndim > 1], "weight_decay": decay},
             {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0}],
            lr=settings.adam_lr, betas=(0.9, 0.98), fused=True,
        ),
    ]  # fmt: skip


def pretrain(
    settings: PretrainSettings, formulas: FormulaSettings, work: Path, until: int | None = None
) -> tuple[FormulaLearner, dict[str, Any]]:
    """Run to the last step (or `until`), from the checkpoint if there is one; the learner and the run's facts.

    facts: step, seconds, hardware, and a log of {step, class, geometry, distractors, mask, accuracy}, on fresh ones.
    """
    accelerator = Accelerator()
    arch = ARCHITECTURES[settings.tier]
    device = accelerator.device
    made_of = clouds(formulas).to(device)
    torch.manual_seed(settings.seed)
    learner = FormulaLearner(arch, formulas.classes).to(device)
    made = optimisers(learner, settings)
    facts: dict[str, Any] = {"step": 0, "seconds": 0.0, "hardware": hardware(), "log": []}
    checkpoint = checkpoint_of(settings, work)
    if checkpoint.exists():
        facts |= load_checkpoint(checkpoint, learner, made)
    wrapped, *made = accelerator.prepare(learner, *made)
    share, last = settings.batch // accelerator.num_processes, until or settings.total_steps
    started, before = time.monotonic(), facts["seconds"]
    while facts["step"] < last:
        step = facts["step"]
        rate = warm_cosine(step, settings.total_steps, WARM_UP)
        for optimiser, peak in zip(made, (settings.muon_lr, settings.adam_lr), strict=True):
            for group in optimiser.param_groups:
                group["lr"] = peak * rate
        seed = (settings.seed * 1_000_003 + step) * accelerator.num_processes + accelerator.process_index
        batch = pictures(made_of, share, arch.image, formulas.shown, generator(seed, device))
        with torch.autocast(device.type, torch.bfloat16):
            said = wrapped(batch.images)
        parts = losses(said, batch, arch.patch)
        accelerator.backward(total(parts, settings.targets))
        accelerator.clip_grad_norm_(wrapped.parameters(), 1.0)
        for optimiser in made:
            optimiser.step()
            optimiser.zero_grad()
        facts["step"] = step + 1
        if facts["step"] % settings.save_every == 0 or facts["step"] == last:
            facts["seconds"] = before + time.monotonic() - started
            right = (said["class"].argmax(1) == batch.labels).float().mean()
            entry = {name: round(part.item(), 4) for name, part in parts.items()} | {"accuracy": float(right)}
            facts["log"].append({"step": facts["step"], "seconds": round(facts["seconds"])} | entry)
            if accelerator.is_main_process:
                save_checkpoint(checkpoint, learner, [o.optimizer for o in made], facts)
                print(json.dumps(facts["log"][-1]), flush=True)
    return learner, facts


def checkpoint_of(settings: PretrainSettings, work: Path) -> Path:
    """Where a run is kept, by tier and targets."""
    return work / f"checkpoint-{settings.tier}-{settings.targets}.safetensors"


def control_of(settings: PretrainSettings, formulas: FormulaSettings, work: Path) -> tuple[nn.Module, dict] | None:
    """The class-only run of the same length beside this one, if it is finished."""
    path = checkpoint_of(settings.model_copy(update={"targets": "class"}), work)
    if not path.exists():
        return None
    learner = FormulaLearner(ARCHITECTURES[settings.tier], formulas.classes)
    facts = load_checkpoint(path, learner, [])
    return (learner.model, facts) if facts["step"] == settings.total_steps else None


def main() -> None:
    """Train; the whole run is published with its card, the control only kept for it."""
    from backends.vision.card import publish

    command = Command()
    limit_threads(command.threads)
    command.work.mkdir(parents=True, exist_ok=True)
    formulas = FormulaSettings(seed=command.seed)
    learner, facts = pretrain(command, formulas, command.work)
    if command.targets == "all":
        control, control_facts = control_of(command, formulas, command.work) or (None, None)
        output = command.output or ASSETS / "models" / NAMES[command.tier]
        publish(learner.model, output, command, formulas, facts, control, control_facts)


if __name__ == "__main__":
    main()
