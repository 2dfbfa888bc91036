"""Put the tables of README.md in order from benchmarks/results: `python -m benchmarks.tables [--check]`.

A table stands between `<!-- table:NAME -->` and `<!-- /table -->`; a test fails when README.md and results differ.
"""

from __future__ import annotations

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
    missed = [
        f"{c['id']}, is {c['value']:.2f} ({'promise' if c['must'] else 'goal'} {c['comparison']} {c['target']:g})"
        for c in result["claims"]
        if not c["met"]
    ]
    lines.append(
        f"{result['date']}, {result['settings']['seeds']} seeds, {result['settings']['steps']} steps. Missed: "
        + ("; ".join(missed) or "none")
        + "."
    )
    return "\n".join(lines) + "\n"


def soco_page() -> str:
    """What a visitor waits for."""
    result = read("soco_page")
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


TABLES = {"soco": soco, "soco_page": soco_page, "ui": ui}


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
