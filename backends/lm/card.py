"""Write the finished model's folder and its card: every figure on the card is measured here."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import torch
from transformers import AutoTokenizer, LlamaForCausalLM

from backends.lm import corpus
from backends.lm.generate import continue_text
from backends.lm.load import LanguageModel, load_language_model
from backends.lm.perplexity import Perplexity, perplexity, rolling_windows
from backends.lm.settings import NAME, Architecture, TrainSettings
from backends.lm.texts import stories
from backends.runtime.device import hardware

PROMPTS = (
    "Returns the number of",
    "If the argument is a list,",
    "This class implements a neural network layer that",
    "Raises an error if the file",
    "The default value is",
)
SHARD = "8MB"


def publish(
    model: LlamaForCausalLM,
    work: Path,
    output: Path,
    settings: TrainSettings,
    arch: Architecture,
    data: dict,
    run: dict,
) -> None:
    """Save bf16 shards and tokenizer to `output`, read them back, measure, write README.md beside them."""
    fresh = output.with_name(f".{output.name}.part")
    shutil.rmtree(fresh, ignore_errors=True)
    model.to("cpu", torch.bfloat16).save_pretrained(fresh, max_shard_size=SHARD)
    AutoTokenizer.from_pretrained(work / "tokenizer").save_pretrained(fresh)
    lm = load_language_model(fresh, f"bundled:{NAME}")
    (fresh / "README.md").write_text(card(lm, settings, arch, data, run), encoding="utf-8")
    shutil.rmtree(output, ignore_errors=True)
    fresh.rename(output)
    print(f"wrote {output}", flush=True)


def card(lm: LanguageModel, settings: TrainSettings, arch: Architecture, data: dict, run: dict) -> str:
    """The model card, measured on the weights as they were saved."""
    held_out = [d.text for d in corpus.held_out_documents()]
    docs, own = _measure(lm, held_out), _measure(lm, list(stories().documents))
    linear = sum(p.numel() for n, p in lm.model.named_parameters() if n.endswith("_proj.weight"))
    training, held = data["training"], data["held-out"]
    shares = ", ".join(f"{name} {size / 1000:,.0f}" for name, size in data["shares"].items())
    log = "\n".join(_log_rows(run["log"]))
    said = "\n".join(_continuations(lm))
    tokens = run["step"] * settings.batch * arch.context
    return f"""---
license: apache-2.0
language: en
library_name: transformers
pipeline_tag: text-generation
---
# {NAME}: a tiny Llama that has read the manual

{lm.parameters:,} parameters ({linear:,} in the projections), {arch.layers} layers of width {arch.hidden}, {arch.heads} heads over
{arch.key_value_heads} key-value heads, {arch.vocabulary:,} byte-level BPE pieces, context {arch.context}, tied embeddings, bf16.
Bundled with Vitrine so that compression can be watched on a real language model with no download. It writes the grammar of
documentation and little of its meaning: a demonstration, not an assistant.

| measured on | tokens | perplexity | bits per byte |
|---|---|---|---|
| held-out documentation, {held["files"]} files | {docs.tokens:,} | {docs.value:.2f} ± {docs.value_error:.2f} | {docs.bits_per_byte:.4f} |
| the project's own stories (another kind of text) | {own.tokens:,} | {own.value:.2f} ± {own.value_error:.2f} | {own.bits_per_byte:.4f} |

Rolling perplexity, context {docs.context}, stride {docs.stride}, each file from its beginning; ± is one standard error over windows.

## Data
English documentation inside Python and the packages that requirements.txt pins, read with `ast`, cleaned to prose and
de-duplicated by paragraph: {training["bytes"]:,} bytes, {training["tokens"]:,} tokens from {training["files"]:,} files
(fingerprint `{training["fingerprint"]}`). Whole files are held out by a hash of their name: {held["bytes"]:,} bytes,
{held["tokens"]:,} tokens (fingerprint `{held["fingerprint"]}`); a paragraph that also stands in a held-out file is not
trained on, near-duplicates may be. Kilobytes by package: {shares}. None of this text is in the repository.

## Training
Tier `{settings.tier}`: `python -m backends.lm.train --tier {settings.tier} --seed {settings.seed}`. {tokens:,} tokens
({tokens / training["tokens"]:.2f} epochs) in {run["step"]:,} steps of {settings.batch} windows, {run["seconds"] / 60:.0f} minutes on
{hardware()}, bf16 autocast. AdamW (β 0.9, 0.95), peak learning rate {settings.peak_lr:g}, warm-up 200 steps, cosine to 2 %,
weight decay {settings.weight_decay:g}, clip 1.

| tokens (M) | minutes | held-out perplexity (first 32k tokens, windows of {arch.context}) |
|---|---|---|
{log}

## Five unedited continuations
Temperature 0.7, top-p 0.9, seed 0, first try.

{said}
"""


def _measure(lm: LanguageModel, documents: list[str]) -> Perplexity:
    windows = rolling_windows(
        [lm.encode(d) for d in documents], lm.prefix, lm.context, text_bytes=sum(len(d.encode()) for d in documents)
    )
    return perplexity(lm.model, windows)


def _log_rows(log: list[dict]) -> list[str]:
    """About ten evenly spread lines of the run's log."""
    every = max(1, len(log) // 10)
    return [
        f"| {entry['tokens'] / 1e6:.1f} | {entry['seconds'] / 60:.0f} | {math.exp(entry['held_out']):.2f} |"
        for i, entry in enumerate(log)
        if (i + 1) % every == 0 or i == len(log) - 1
    ]


def _continuations(lm: LanguageModel) -> list[str]:
    lines = []
    for number, prompt in enumerate(PROMPTS, 1):
        text = continue_text(lm, lm.model, prompt, tokens=60, seed=0).text
        lines.append(f"{number}. `{prompt}` → " + "`" + text.replace("\n", "⏎").replace("`", "ˋ") + "`")
    return lines
