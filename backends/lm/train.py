"""Train the bundled language model: `python -m backends.lm.train --tier cpu`.

Prepare (corpus, tokenizer, token streams), train (AdamW, warm-up, cosine), write the Hugging Face folder and its card.
Every stage is kept under the work folder, so a stopped run goes on where it was; a checkpoint holds the weights, the
optimiser's moments and the step, and the order of the windows depends on the seed and the step alone.
"""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from backends.lm import corpus
from backends.lm.settings import NAME, Architecture, TrainSettings
from backends.lm.tokenizer import encode_documents, save_tokens, train_tokenizer
from backends.runtime.checkpoints import load_checkpoint, save_checkpoint
from backends.runtime.device import limit_threads
from backends.runtime.files import ASSETS, cache_folder, whole_file
from backends.runtime.schedule import warm_cosine


class Command(TrainSettings, BaseSettings):
    """Train the bundled language model (resumes by itself)."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", cli_parse_args=True, cli_kebab_case=True, cli_implicit_flags=True
    )
    work: Path = Field(default_factory=lambda: cache_folder() / "lm-training", title="Folder of the run's files")
    output: Path = Field(ASSETS / "models" / NAME, title="Folder of the finished model")
    threads: int | None = Field(None, ge=1, title="CPU threads")


def llama_config(arch: Architecture, end_of_text_id: int) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=arch.vocabulary,
        hidden_size=arch.hidden,
        intermediate_size=arch.intermediate,
        num_hidden_layers=arch.layers,
        num_attention_heads=arch.heads,
        num_key_value_heads=arch.key_value_heads,
        max_position_embeddings=arch.context,
        tie_word_embeddings=True,
        bos_token_id=end_of_text_id,
        eos_token_id=end_of_text_id,
        pad_token_id=end_of_text_id,
    )


def prepare(work: Path, arch: Architecture) -> dict:
    """Corpus -> tokenizer and token streams in `work`; returns what the card tells about them."""
    done = work / "corpus.json"
    if done.exists():
        return json.loads(done.read_text())
    training, held_out = corpus.training_documents(), list(corpus.held_out_documents())
    tokenizer = train_tokenizer((d.text for d in training), arch.vocabulary, arch.context)
    tokenizer.save_pretrained(work / "tokenizer")
    facts = {}
    for split, documents in (("training", training), ("held-out", held_out)):
        tokens = encode_documents(tokenizer, [d.text for d in documents])
        save_tokens(tokens, work / f"{split}.npy")
        facts[split] = {
            "files": len(documents),
            "bytes": sum(len(d.text.encode()) for d in documents),
            "tokens": len(tokens),
            "fingerprint": corpus.fingerprint(documents),
        }
    facts["shares"] = _shares(training)
    with whole_file(done) as temporary:
        temporary.write_text(json.dumps(facts, indent=1))
    return facts


def _shares(documents: list[corpus.Document]) -> dict[str, int]:
    """Bytes of training text by package."""
    shares = dict.fromkeys(corpus.CAPS, 0)
    for document in documents:
        shares[document.name.split("/")[0]] += len(document.text.encode())
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def batch_at(step: int, tokens: np.ndarray, batch: int, context: int, seed: int) -> torch.Tensor:
    """The windows of one step, (batch, context + 1) int64: each epoch shifts and shuffles the window grid anew."""
    windows = (len(tokens) - context - 1) // context
    rows = np.empty((batch, context + 1), dtype=np.int64)
    for row, position in enumerate(range(step * batch, (step + 1) * batch)):
        epoch, index = divmod(position, windows)
        shift, order = _epoch_order(seed, epoch, windows, context)
        start = order[index] * context + shift
        rows[row] = tokens[start : start + context + 1]
    return torch.from_numpy(rows)


_orders: dict[tuple, tuple[int, np.ndarray]] = {}


def _epoch_order(seed: int, epoch: int, windows: int, context: int) -> tuple[int, np.ndarray]:
    key = (seed, epoch, windows, context)
    if key not in _orders:
        while len(_orders) > 1:  # a batch straddles two epochs at most
            _orders.pop(next(iter(_orders)))
        rng = np.random.default_rng([seed, epoch])
        _orders[key] = (int(rng.integers(context)), rng.permutation(windows))
    return _orders[key]


def learning_rate(step: int, total: int, peak: float) -> float:
    """Linear warm-up over 200 steps (or a tenth), then a cosine to 2 % of the peak."""
    return peak * warm_cosine(step, total, 200)


@torch.no_grad()
def held_out_loss(model: torch.nn.Module, tokens: np.ndarray, context: int, limit: int = 32_768) -> float:
    """Mean nats per token over non-overlapping windows: the progress figure, not the card's rolling perplexity."""
    count = min(limit, len(tokens) - 1) // context
    device = next(model.parameters()).device
    rows = np.stack([tokens[i * context : i * context + context + 1] for i in range(count)]).astype(np.int64)
    losses = [next_token_loss(model, chunk.to(device)) * len(chunk) for chunk in torch.from_numpy(rows).split(16)]
    return float(torch.stack(losses).sum() / count)


def next_token_loss(model: torch.nn.Module, rows: torch.Tensor) -> torch.Tensor:
    """Mean nats per token of (batch, time + 1) rows, under bf16 autocast."""
    with torch.autocast(rows.device.type, torch.bfloat16):
        logits = model(input_ids=rows[:, :-1], use_cache=False).logits
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), rows[:, 1:].flatten())


def parameter_groups(model: torch.nn.Module, weight_decay: float) -> list[dict]:
    parameters = list(model.parameters())
    return [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]


def train(settings: TrainSettings, arch: Architecture, work: Path) -> tuple[LlamaForCausalLM, dict]:
    """Run to the last step, from the checkpoint if there is one; returns the model and the run's facts."""
    accelerator = Accelerator()
    tokens = np.load(work / "training.npy", mmap_mode="r", allow_pickle=False)
    held_out = np.load(work / "held-out.npy", mmap_mode="r", allow_pickle=False)
    tokenizer = AutoTokenizer.from_pretrained(work / "tokenizer")
    torch.manual_seed(settings.seed)
    model = LlamaForCausalLM(llama_config(arch, tokenizer.bos_token_id)).to(accelerator.device)
    if accelerator.device.type == "cpu":
        model.set_attn_implementation("eager")  # a quarter faster than the fused kernel at 256 tokens on a CPU
    optimiser = torch.optim.AdamW(
        parameter_groups(model, settings.weight_decay), lr=settings.peak_lr, betas=(0.9, 0.95), fused=True
    )
    facts = {"step": 0, "seconds": 0.0, "log": []}
    checkpoint = work / f"checkpoint-{settings.tier}.safetensors"
    if checkpoint.exists():
        facts = load_checkpoint(checkpoint, model, [optimiser])
    wrapped, optimiser = accelerator.prepare(model, optimiser)
    loss_of = torch.compile(next_token_loss) if settings.compile else next_token_loss
    share = settings.batch // accelerator.num_processes
    started, before = time.monotonic(), facts["seconds"]
    while facts["step"] < settings.total_steps:
        step = facts["step"]
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, settings.total_steps, settings.peak_lr)
        rows = batch_at(step, tokens, settings.batch, arch.context, settings.seed)
        rows = rows[accelerator.process_index * share :][:share].to(accelerator.device)
        loss = loss_of(wrapped, rows)
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(wrapped.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        facts["step"] = step + 1
        if facts["step"] % settings.save_every == 0 or facts["step"] == settings.total_steps:
            facts["seconds"] = before + time.monotonic() - started
            report = _report(facts, float(loss.detach()), wrapped, held_out, settings, arch)
            if accelerator.is_main_process:
                save_checkpoint(checkpoint, model, [optimiser.optimizer], facts)
                print(report, flush=True)
    return accelerator.unwrap_model(wrapped).float(), facts


def _report(facts: dict, loss: float, model: torch.nn.Module, held_out, settings: TrainSettings, arch) -> str:
    seen = facts["step"] * settings.batch * arch.context
    model.eval()
    nats = held_out_loss(model, held_out, arch.context)
    model.train()
    facts["log"].append({"tokens": seen, "seconds": round(facts["seconds"]), "train": loss, "held_out": nats})
    return (
        f"step {facts['step']}/{settings.total_steps}  {seen / 1e6:.2f} M tokens  {facts['seconds']:.0f} s  "
        f"train loss {loss:.3f}  held-out perplexity {math.exp(nats):.2f}"
    )


def main() -> None:
    command = Command()
    limit_threads(command.threads)
    arch = Architecture()
    command.work.mkdir(parents=True, exist_ok=True)
    corpus_facts = prepare(command.work, arch)
    print(json.dumps(corpus_facts["training"]), json.dumps(corpus_facts["held-out"]), flush=True)
    model, facts = train(command, arch, command.work)
    from backends.lm.card import publish

    publish(model, command.work, command.output, command, arch, corpus_facts, facts)


if __name__ == "__main__":
    main()
