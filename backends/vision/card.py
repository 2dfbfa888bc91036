"""The bundled transformer's folder and card: every figure on the card is measured here."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import ViTForImageClassification

from backends.runtime.seeds import generator
from backends.vision.formulas import clouds
from backends.vision.model import vit_config
from backends.vision.probe import features_of, pixels, probe
from backends.vision.render import pictures
from backends.vision.settings import ARCHITECTURES, NAMES, Architecture, FormulaSettings, PretrainSettings
from backends.vision.tasks import TASKS, load_task

SHEET = "formulas.png"
COLUMNS, ROWS, ZOOM = 16, 6, 2
CUTS = {"faces": 30}  # a task of few pictures is cut this often: one picture of its test is worth 1.7 points
Table = dict[str, dict[str, float]]  # task: {opponent: test accuracy in percent}


def probe_table(models: Mapping[str, torch.nn.Module], side: int) -> Table:
    """Linear probes of every shipped task: each model's features, and pixels; means over the cuts of a small task."""
    seen = {name: features_of(model) for name, model in models.items()} | {"pixels": pixels}
    table: Table = {}
    for key in TASKS:
        cuts = [load_task(key, side, seed) for seed in range(CUTS.get(key, 1))]
        table[key] = {
            name: 100 * float(np.mean([probe(features, cut).test for cut in cuts])) for name, features in seen.items()
        }
    return table


def untrained(arch: Architecture, classes: int, seed: int = 0) -> torch.nn.Module:
    """The same network at random initialisation."""
    torch.manual_seed(seed)
    return ViTForImageClassification(vit_config(arch, classes)).eval()


def publish(
    model: ViTForImageClassification, output: Path, settings: PretrainSettings, formulas: FormulaSettings,
    facts: Mapping[str, Any], control: torch.nn.Module | None, control_facts: Mapping[str, Any] | None,
) -> Table:  # fmt: skip
    """Save weights (fp16) and configuration to `output`, read them back, measure, write card and contact sheet."""
    fresh = output.with_name(f".{output.name}.part")
    shutil.rmtree(fresh, ignore_errors=True)
    model.to("cpu", torch.float16).save_pretrained(fresh, max_shard_size="8MB")
    saved = ViTForImageClassification.from_pretrained(fresh, dtype=torch.float32, local_files_only=True).eval()
    arch = ARCHITECTURES[settings.tier]
    models = {"formula": saved, "random": untrained(arch, formulas.classes)}
    if control is not None:
        models["class only"] = control.eval()
    table = probe_table(models, arch.image)
    contact_sheet(formulas, arch.image).save(fresh / SHEET, optimize=True)
    text = card(saved, arch, settings, formulas, facts, table, control_facts)
    (fresh / "README.md").write_text(text, encoding="utf-8")
    (fresh / "probes.json").write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    shutil.rmtree(output, ignore_errors=True)
    fresh.rename(output)
    print(f"wrote {output}", flush=True)
    return table


def contact_sheet(formulas: FormulaSettings, side: int) -> Image.Image:
    """What the network saw: the first pictures of the training, twice as large."""
    made = pictures(clouds(formulas), COLUMNS * ROWS, side, formulas.shown, generator(formulas.seed)).images
    tiles = (255 * made).round().byte().permute(0, 2, 3, 1).numpy().reshape(ROWS, COLUMNS, side, side, 3)
    sheet = np.concatenate([np.concatenate(list(row), 1) for row in tiles])
    return Image.fromarray(sheet).resize((ZOOM * sheet.shape[1], ZOOM * sheet.shape[0]), Image.Resampling.NEAREST)


def card(
    model: torch.nn.Module, arch: Architecture, settings: PretrainSettings, formulas: FormulaSettings,
    facts: Mapping[str, Any], table: Table, control: Mapping[str, Any] | None,
) -> str:  # fmt: skip
    """The model card."""
    views, parameters = facts["step"] * settings.batch, sum(p.numel() for p in model.parameters())
    last = facts["log"][-1]
    beside = (
        f"The control saw the class alone: {control['step'] * settings.batch:,} pictures, "
        f"{control['seconds'] / 60:.0f} minutes." if control else "The control without geometric targets is not made yet."
    )  # fmt: skip
    return f"""---
license: apache-2.0
library_name: transformers
pipeline_tag: image-classification
---
# {NAMES[settings.tier]}: a vision transformer that has seen formulas only

{parameters:,} parameters, {arch.layers} blocks of width {arch.width}, {arch.heads} heads, {arch.image} x {arch.image} pixels in patches of
{arch.patch}, separate query, key and value projections, fp16. No natural image was used. Bundled with Vitrine so that
adapters can be trained on a real, if small, vision transformer with no download.

![Pictures of the pretraining]({SHEET})

## Pretraining
Tier `{settings.tier}`: `python -m backends.vision.pretrain --tier {settings.tier} --seed {settings.seed}`. {formulas.classes} classes: half attractors of
iterated function systems with contracting maps, half wavy contours; {formulas.variants} variants of each, drawn anew for every picture with
random place, size, turn, colours, background, blur and up to seven small distractors. {views:,} pictures in
{facts["step"]:,} steps of {settings.batch}, {facts["seconds"] / 60:.0f} minutes on {facts["hardware"]}, bf16 autocast. Muon for the blocks' matrices
(peak {settings.muon_lr:g}), AdamW for the rest ({settings.adam_lr:g}), warm-up 200 steps, cosine, weight decay {settings.weight_decay:g}, clip 1.

Targets: the class; the main object's centre, size and moments that turn with it; the number of distractors; patch by
patch the object's mask, the distractors' mask, mean colour and contrast. Place, turn and number are thus pretext targets here, and relatives of the tasks Location, Orientation and Count below,
though with other generators. On fresh pictures of the last step: class accuracy {100 * last["accuracy"]:.1f} % (chance
{100 / formulas.classes:.1f} %), losses {last["class"]:.2f} (class), {last["geometry"]:.4f} (geometry), {last["distractors"]:.2f} (distractors), {last["masks"]:.3f} (masks), {last["look"]:.4f} (look).

| step | class accuracy of the batch, % | class loss | geometry | masks |
|---|---|---|---|---|
{_log_rows(facts["log"])}

## Linear probes
Test accuracy in %, 800 pictures to train on, 200 to choose the penalty by (Faces: 100 and 40, and the
mean of {CUTS["faces"]} cuts of its 200 patches). Features: class token and
mean of the patches, frozen. `random`: the same network untrained; `pixels`: the picture itself at 16 x 16. {beside}
The tasks are Vitrine's own, in VTAB's spirit; no set of VTAB-1K is among them.

{_probe_rows(table)}
"""


def _log_rows(log: list[dict[str, float]]) -> str:
    every = max(1, len(log) // 8)
    chosen = [entry for i, entry in enumerate(log) if (i + 1) % every == 0 or i == len(log) - 1]
    return "\n".join(
        f"| {e['step']:,} | {100 * e['accuracy']:.1f} | {e['class']:.2f} | {e['geometry']:.4f} | {e['masks']:.3f} |"
        for e in chosen
    )


def _probe_rows(table: Table) -> str:
    names = list(next(iter(table.values())))
    rows = [f"| task | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    rows += [f"| {TASKS[key].title} | {' | '.join(f'{row[n]:.1f}' for n in names)} |" for key, row in table.items()]
    means = {name: float(np.mean([row[name] for row in table.values()])) for name in names}
    return "\n".join([*rows, f"| **mean** | {' | '.join(f'**{means[name]:.1f}**' for name in names)} |"])
