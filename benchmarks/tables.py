"""Put the tables of README.md in order from benchmarks/results: `python -m benchmarks.tables [--check]`.

A table stands between `<!-- table:NAME -->` and `<!-- /table -->`; a test fails when README.md and results differ.
"""

from __future__ import annotations

import functools
import re
import sys

from backends.runtime.files import ROOT, whole_file
from benchmarks.report import read

README = ROOT / "README.md"
PLACE = re.compile(r"(<!-- table:([\w-]+) -->\n).*?(<!-- /table -->)", re.S)


def soco() -> str:
    """Excess nats by method and ratio on held-out text, with the share of the fair control's."""
    result = read("soco")
    lines = []
    for text in dict.fromkeys(row["text"] for row in result["rows"]):
        rows = [row for row in result["rows"] if row["text"] == text]
        ratios = list(dict.fromkeys(row["removed"] for row in rows))
        dense = result["settings"]["dense"][text]
        lines += [
            f"Perplexity on {text} (dense {dense:.2f}); in brackets the excess as a share of the fair control's.",
            "",
        ]
        lines += ["| method | " + " | ".join(f"{p} % removed" for p in ratios) + " |", "|---" * (1 + len(ratios)) + "|"]
        for method in dict.fromkeys(row["method"] for row in rows):
            cells = [next(r for r in rows if r["method"] == method and r["removed"] == p) for p in ratios]
            lines.append(
                f"| {method} | " + " | ".join(f"{c['perplexity']:.2f} ({c['of_control']:.2f})" for c in cells) + " |"
            )
        lines.append("")
    settings = result["settings"]
    lines.append(f"{result['date']}, {settings['seeds']} seeds, {settings['steps']} steps. {_missed(result)}")
    return "\n".join(lines) + "\n"


def _missed(result: dict) -> str:
    """Every promise and goal that was not met, in one sentence."""
    missed = [
        f"{c['id']}, is {c['value']:.2f} ({'promise' if c['must'] else 'goal'} {c['comparison']} {c['target']:g})"
        for c in result["claims"]
        if not c["met"]
    ]
    return f"Missed: {'; '.join(missed) or 'none'}."


def adapters(name: str = "adapters") -> str:
    """Test accuracy by method and task, what is trained for it, and how good Pear's scores were."""
    result = read(name)
    rows = [row for row in result["rows"] if row["what"] == "accuracy"]
    scopes = list(dict.fromkeys(row["task"] for row in rows))
    head = ["method", *scopes, "minus LoRA (95 %)", "trained", "stored"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for method in dict.fromkeys(row["method"] for row in rows):
        cells = {row["task"]: row for row in rows if row["method"] == method}
        whole = cells["all tasks"]
        lead = f"{whole['to_lora']:+.1f} ({whole['to_lora_low']:+.1f} to {whole['to_lora_high']:+.1f})"
        numbers = [f"{cells[scope]['accuracy']:.1f}" for scope in scopes]
        numbers += ["" if method == "lora" else lead, f"{whole['trainable']:,.0f}", f"{whole['stored']:,.0f}"]
        lines.append("| " + " | ".join([whole["label"], *numbers]) + " |")
    return "\n".join([*lines, "", _adapter_words(result), ""])


def _adapter_words(result: dict) -> str:
    scores = next(row for row in result["rows"] if row["what"] == "scores" and row["task"] == "all tasks")
    pace = {row["work"]: row["ratio"] for row in result["rows"] if row["what"] == "speed"}
    settings = result["settings"]
    ranks = ", ".join(f"{name} {scores[name]:.2f}" for name in ("taylor", "magnitude", "random"))
    words = {"lowest": "the half that Taylor ranks lowest", "random": "random halves", "highest": "the highest"}
    halves = ", ".join(f"{scores[f'loss_{half}']:.2f} without {said}" for half, said in words.items())
    return " ".join(
        [
            f"Accuracy on test pictures in %; {len(settings['seeds'])} seeds; 95 % intervals over pictures and seeds.",
            f"Rank correlation of a score with what removing an adapter alone really changes: {ranks}.",
            f"Validation loss at the prune: {scores['loss_whole']:.2f}, {halves}.",
            f"Pear, nothing folded, answers at {pace['answer']:.2f} and learns at {pace['learn']:.2f} of LoRA's pace.",
            f"{result['date']}, {settings['trials']} trials of {settings['fit']['epochs']} epochs. {_missed(result)}",
        ]
    )


def page(panel: str) -> str:
    """What a visitor of a panel waits for."""
    result = read(f"{panel}_page")
    rows = "".join(
        f"| {c['id']} | {c['value']:.3g} | {c['comparison']} {c['target']:g} | {'met' if c['met'] else 'missed'} |\n"
        for c in result["claims"]
    )
    machine = result["machine"]
    head = "| what | measured | promised | |\n|---|---|---|---|\n"
    return f"{head}{rows}\n{result['date']}, {machine['cores']} cores, {machine['processor']}.\n"


def ui() -> str:
    """What the page costs, beside a bare Gradio app of ten tabs."""
    result = read("ui")
    claims = {claim["id"]: claim for claim in result["claims"]}
    between = {"ours": "{} {:g}", "ours - bare": "{} bare + {:g}", "ours / bare": "{} {:g} × bare"}
    lines = ["| what | ours | bare | ratio | promised | |", "|---|---|---|---|---|---|"]
    for row in result["rows"]:
        numbers = [row.get(name) for name in ("ours", "bare", "ratio")]
        numbers = ["" if n is None else f"{n:.3g}" if abs(n) < 100 else f"{n:.0f}" for n in numbers]
        promised = met = ""
        if claim := claims.get(row["what"]):
            promised = between[row["of"]].format(claim["comparison"], claim["target"])
            met = "met" if claim["met"] else "missed"
        lines.append("| " + " | ".join([row["what"], *numbers, promised, met]) + " |")
    machine = result["machine"]
    quick = " A quick run: a look, not a result." if result["settings"]["quick"] else ""
    return "\n".join(lines) + f"\n\n{result['date']}, {machine['cores']} cores, {machine['processor']}.{quick}\n"


TABLES = {
    "soco": soco, "ui": ui, "adapters": adapters, "adapters-real": functools.partial(adapters, "adapters-real"),
} | {
    f"{panel}_page": functools.partial(page, panel) for panel in ("soco", "pear")
}  # fmt: skip


def renewed(text: str) -> str:
    """README.md with every table made from its results; a table without results stays as it is."""

    def fill(match: re.Match[str]) -> str:
        try:
            return match[1] + TABLES[match[2]]() + match[3]
        except FileNotFoundError:
            return match[0]

    return PLACE.sub(fill, text)


def main() -> None:
    before = README.read_text(encoding="utf-8")
    after = renewed(before)
    if "--check" in sys.argv[1:]:
        sys.exit(
            0
            if before == after
            else "README.md's tables differ from benchmarks/results: run python -m benchmarks.tables"
        )
    with whole_file(README) as temporary:
        temporary.write_text(after, encoding="utf-8")


if __name__ == "__main__":
    main()
