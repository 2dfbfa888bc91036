"""What the Pear panel says that is not computed: labels, notes, words, and the guided path's frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backends.runtime.words import signed
from demos.kit.exhibit import Guide, Question

if TYPE_CHECKING:
    from backends.pear.results import Look

WHAT = (
    "Accuracy of a small vision transformer on a task after a share of its adapters is pruned and their places are "
    "served by adapters that were kept, measured on validation pictures."
)
LABELS = {
    "task": {"count": "Count", "orientation": "Orientation", "azimuth": "Azimuth", "depth": "Depth",
             "textures": "Textures", "digits": "Digits"},
    "checkpoint": {"keep": "keep", "keep-offset": "keep, offset", "blend": "blend", "none": "none"},
    "donors": {"highest": "most important", "lowest": "least important", "random": "random", "none": "nobody"},
    "criterion": {"taylor": "Taylor", "taylor-signed": "Taylor, signed", "magnitude": "magnitude", "random": "random"},
    "scope": {"global": "any place", "same-kind": "q with q, v with v"},
}  # fmt: skip

NOTES = """
**The paper's** (arXiv 2409.19733): adapters of a vision transformer are themselves redundant. The least important
ones are pruned, by a classical criterion such as first-order Taylor; each place that lost its own is served by one of
the more important adapters, so that nothing new is trained there; a knowledge checkpoint preserves what the pruned
adapters had learnt.

**Inferred**, because only the abstract and summaries of the paper could be read and no code is public: the exact
formula of the checkpoint (*keep* is the plainest reading; *keep, offset* and *blend* are others; *none* is the
ablation), which donor goes to which place (the lowest is served by the highest), when it is pruned (once, after 30 %
of the epochs, the schedule going on), and that the score is the mean of the batches' absolute sums. But for the
pairing each is a switch here or of `python -m backends.pear.learn`. No number of the paper's tables is shown: none
could be read.

**Ours**: the two further ways of keeping, the edits by hand, and the judgement of the score against true removals.
Chosen for a small machine, not the paper's: a transformer of 1.3 million parameters, adapters on q and v, rank 8,
s = 2, 15 epochs in batches of 32 without dropout.

**The pictures and the model**: tasks in the spirit of VTAB, not VTAB-1K, and no figure here compares with one from
there. The transformer was pretrained by formulas alone; no natural image was used. Its card says what that gives.

**What is counted**: a shared adapter counts once as trained. What the checkpoint keeps is frozen, but has to be
stored, and is listed apart. For LoRA all of it folds into the weights, and costs nothing when the model is used.

**A saved file comes back**, tied as it was, with:

```
from pathlib import Path
from backends.pear.files import load_pear
from backends.vision.service import open_model

model, header = load_pear(open_model().model, Path("pear-pruned-50.safetensors"))  # header.plan: who serves where
```
"""

WORDS = {
    "Adapter": "a small trained addition to a frozen layer. Here LoRA: W becomes W + s·B·A with narrow A and B.",
    "Place": "a projection that has an adapter: q and v of every layer's attention.",
    "Importance": "how much the loss would change if the adapter were removed, as first-order Taylor predicts it: the "
    "sum of weight times gradient over A and B, its absolute value averaged over batches. (A and B each give the whole "
    "prediction, so the score is twice the predicted change; the order is the same.)",
    "Magnitude": "the root of the sum of squares of an adapter's weights. It changes when A is multiplied and B "
    "divided by the same number, although the model stays the same; Taylor's score does not.",
    "Donor": "a kept adapter that serves other places too. It is the same tensor there, not a copy.",
    "Knowledge checkpoint": "what a pruned adapter had learnt, frozen at the moment of the prune.",
    "Right after the prune": "nothing has been trained since: what pruning itself costs.",
    "Trained on": "the same model after the rest of the epochs.",
    "Validation pictures": "those by which epochs are chosen; the test pictures choose nothing.",
    "Linear probe": "logistic regression on the frozen network's features: what is there without any adapter.",
    "Full tuning": "every weight of the network is trained.",
    "Rank correlation": "Spearman's: 1 where two lists put the adapters in the same order, 0 where they have nothing "
    "in common.",
}


def explain(now: Look) -> str:
    """Why the number is what it is, with what was measured."""
    before, after = 100 * now.whole.scores.accuracy, 100 * now.now.scores.accuracy
    said = [
        f"Before the prune {before:.1f} % were right, right after it {after:.1f} % "
        f"({signed(after - before, '.1f')} points): {len(now.plan.pruned)} places are served by adapters that were "
        "trained for other places."
    ]
    if now.retrained:
        said.append(
            f"Trained on for the rest of the epochs, the shared adapters learn to serve both: {now.value:.1f} %, with "
            f"{now.accounting.trainable:,} trainable numbers instead of {now.full.trainable:,}."
        )
    if now.curves:
        lora = {point.pruned: 100 * point.validation for point in now.curves.methods["lora"]}
        if now.percent in lora:
            said.append(f"A LoRA of that size, trained from the start, reaches {lora[now.percent]:.1f} %.")
    return " ".join(said)


GUIDE = Guide(
    predict="Three in four adapters are about to be pruned, and their places served by the last quarter. **How many of "
    "100 validation pictures will be told rightly, right after the prune?**",
    unit="%",
    moves={
        "pruned": 75,
        "task": "count",
        "checkpoint": "keep",
        "donors": "highest",
        "criterion": "taylor",
        "edits": "",
    },
    number=lambda now: 100 * now.now.scores.accuracy,
    explain=explain,
    check=Question(
        "Multiply every A by 3 and divide every B by 3. What happens to the two rankings of the adapters?",
        ("Both stay as they are", "Magnitude's changes, Taylor's does not", "Taylor's changes, magnitude's does not"),
        1,
        "The product B·A, and so the model, is the same. Taylor's score, the sum of weight times gradient, is that of "
        "the product; the size of A and B alone is not. Try it in the row “Same model, other numbers”.",
    ),
)
