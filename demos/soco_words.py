"""What the SoCo panel says that is not computed: the notes, the prompts, and the guided path's frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backends.soco.settings import METHODS
from demos.kit.exhibit import Guide, Question

if TYPE_CHECKING:
    from backends.soco.results import Measurement

WHAT = (
    "Perplexity of a small language model after a share of its linear parameters is removed by a low-rank method, "
    "measured on 2,048 tokens beside the dense model."
)
PROMPTS = ("Returns the number of", "If the argument is a list,", "This class implements", "The sea is salt because")

NOTES = """
**The paper's** (arXiv 2502.15092): learned scores *S* on the singular values, free to amplify what is kept; a
trainable deviation *d*; a preset threshold; one continuous run of exploration, oscillating refinement and decisive
sparsification; one budget over all matrices. No code is public, and the sources do not state the score function, the
exact losses, the threshold, the schedule, or how *d* is applied: each of these is a named switch of
`python -m backends.soco.learn` marked *(inferred)*.

**Ours**: SoCo+W and SoCo+K. Measured curvature of the loss decides where rank goes; training rescales and repairs. They
are not the paper's method and are labelled so wherever they appear.

**The fair control** takes SVD-LLM's basis at uniform rank and trains the same scores and deviation for the same steps,
on the same data, with the same loss: what remains above it is due to allocation and choice.

**The ratio** counts the parameters of the seven projections of every block; the deviation is charged. Embeddings and
norms are never touched. Between two trained ratios the model is pruned from the lower one, not retrained, and says so.
"""

WORDS = {
    "Perplexity": "how many equally likely next tokens the model hesitates between, on average; lower is better. It "
    "is e to the mean loss in nats a token.",
    "Nat": "the unit of the loss: −ln of the probability that the model gave to the token that came. The excess over "
    "the dense model is ln(perplexity / dense perplexity).",
    "Bits per byte": "the same loss in bits for each byte of text; it compares models that cut text into other tokens.",
    "Dense": "the model as it was trained, with nothing removed.",
    "Held out": "text that neither training nor calibration has seen.",
    "Projection": "one of the seven weight matrices of a block: q, k, v, o of attention, gate, up, down of the MLP.",
    "Component": "a singular value of a projection with its two vectors; dropping one makes the matrix cheaper.",
    "Rank": "how many components of a matrix are kept. Where keeping all would cost more than the matrix itself, it "
    "stays dense.",
    "Score": "the learned factor on a singular value: 0 drops the component, above 1 amplifies it.",
    "Deviation": "a trained offset of a projection's output that makes up for what was dropped.",
    "Distinct-2, distinct-3": "the share of different pairs or triples of tokens; low where a text repeats itself.",
    "Repeated": "the share of tokens inside a run of four that was said before.",
    "Prefill": "reading a whole prompt at once, as against writing token by token.",
}


def explain(now: Measurement) -> str:
    """Why the number is what it is, with what was measured."""
    said = [
        f"{now.accounting.kept:,} of {now.accounting.components:,} components are left, and the scores of "
        f"{now.accounting.amplified:,} of them were raised to make up for what went."
    ]
    if now.curves is not None:
        others = {
            METHODS[key].label: point.perplexity / now.dense_value
            for key, points in now.curves.methods.items() for point in points
            if point.percent == now.percent and key in ("svd", "svd-llm", "control", "soco-k")
        }  # fmt: skip
        said.append(
            "At the same size, measured beforehand on the whole text: "
            + ", ".join(f"{label} {ratio:.2f}×" for label, ratio in sorted(others.items(), key=lambda one: -one[1]))
            + ". Dropping the smallest singular values is the worst choice: a small one may carry what the text needs."
        )
    return " ".join(said)


GUIDE = Guide(
    predict="60 % of the parameters in the model's linear layers are about to go. **How many times the whole model's "
    "perplexity will SoCo reach?** 1 means that nothing is lost.",
    unit="× the dense model's perplexity",
    moves={"removed": 60, "method": "soco", "text": "held-out"},
    number=lambda now: now.value / now.dense_value,
    explain=explain,
    check=Question(
        "SVD-LLM and the fair control keep the same ranks in the same basis. Why is the control's curve the lower one?",
        ("It keeps more parameters", "Its scores and deviation were trained on text", "It is measured on other text"),
        1,
        "Both have the same budget, basis and evaluation text. The control's scores and deviation were trained; so "
        "only what lies between the control and a method that chooses its components is due to the choice.",
    ),
)
