"""What papers claim about the choices that the studies compare, written by hand, and which numbers bear on it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Claim:
    """One claim, beside one study."""

    paper: str
    arxiv: str
    claim: str
    """as the paper makes it, in short"""
    study: str
    """name of the study whose findings bear on it"""
    measures: tuple[str, ...]
    """what of the findings is set beside it, see `gpt.report.text.literature`"""
    scales: str
    """why the two may differ"""


XIONG = ("Xiong et al. 2020, On Layer Normalization in the Transformer Architecture", "2002.04745")
SU = ("Su et al. 2021, RoFormer: Enhanced Transformer with Rotary Position Embedding", "2104.09864")
ZHANG = ("Zhang et al. 2020, Why gradient clipping accelerates training", "1905.11881")
WORTSMAN = (
    "Wortsman et al. 2023, Small-scale proxies for large-scale Transformer training instabilities",
    "2309.14322",
)

CLAIMS = (
    Claim(
        *XIONG,
        claim="At initialisation, the expected gradients of parameters near the output are large under Post-LN and "
        "well-behaved under Pre-LN, where they shrink as the model gets deeper (mean-field theory, checked on "
        "translation models).",
        study="normalization",
        measures=("first_gradients",),
        scales="The theory is about the last layer as depth and width grow; here there are few narrow layers and a "
        "tied head. It also starts from a stream of unit size: here weights of 0.02 make Pre-LN's stream small at "
        "first, and its norms, which divide by that size, raise the gradients of every layer.",
    ),
    Claim(
        *XIONG,
        claim="Without warm-up, Post-LN is unstable at large learning rates; Pre-LN trains without warm-up and gets "
        "results comparable with warmed-up Post-LN (IWSLT14, WMT14, BERT pre-training).",
        study="normalization",
        measures=("differences", "failures"),
        scales="They train 6 to 12 layers and more with Adam on translation and masked language modelling. A study "
        "that warms up bears on the claim's last part alone. Depth makes Post-LN harder to train, so that a shallow "
        "model may bear a rate that breaks a deep one.",
    ),
    Claim(
        *XIONG,
        claim="Warm-up is what gets Post-LN trained: without it the large gradients near the output make a large rate "
        "unstable, and results depend on how long it lasts.",
        study="warmup",
        measures=("failures",),
        scales="The two agree. Theirs are deeper models and longer trainings; here it is one rate. That large "
        "gradients near the output are the reason was not tested.",
    ),
    Claim(
        *SU,
        claim="Rotary positions do better than their alternatives: BLEU 27.5 against 27.3 for a Transformer with "
        "sinusoidal positions (WMT14 En-De), faster convergence in masked language modelling and, in a Performer, on "
        "the characters of enwik8.",
        study="positions",
        measures=("differences",),
        scales="Their translation result is one number beside the published one of another paper, without spread. Here "
        "the run is short, so how fast a model learns to use positions weighs more than where long training "
        "would end.",
    ),
    Claim(
        *SU,
        claim="Rotary positions make the dependency between characters decay with their distance (an upper bound on "
        "the attention score) and allow for sequences of another length.",
        study="positions",
        measures=("median_lookback", "attention_distance", "beyond_context"),
        scales="The decay is that of a bound, whatever the weights; measured here is what a trained model does. The "
        "paper's longer texts occur in its pre-training, so it measures nothing beyond the trained length.",
    ),
    Claim(
        *ZHANG,
        claim="Where smoothness grows with the gradient's norm, clipped and normalised gradient descent converge "
        "arbitrarily faster than descent with a fixed step (a proof; experiments on an LSTM language model and on "
        "ResNet20).",
        study="clipping",
        measures=("differences", "clipped", "failures"),
        scales="The proofs are about gradient descent and SGD, the experiments about SGD. "
        "AdamW divides by a running size of the gradient, which is an adaptive step of its own, so that clipping has "
        "less left to do.",
    ),
    Claim(
        *WORTSMAN,
        claim="Instabilities of large models, such as growing attention logits, appear in small ones at high learning "
        "rates; largest logit and learning rate grow together, and qk-layernorm mends it.",
        study="normalization",
        measures=("attention_logit_max", "failures"),
        scales="They train some ten million to a billion parameters for 100,000 steps with warm-up. Here the model is "
        "far smaller and the run far shorter, without warm-up; logits grew all the same. That qk-layernorm mends it is "
        "not tested here.",
    ),
    Claim(
        *WORTSMAN,
        claim="How much loss rises on average over a range of learning rates, against the best one, sums up stability "
        "in a number (learning-rate sensitivity); longer warm-up, qk-layernorm and z-loss lower it.",
        study="normalization",
        measures=("rate_sensitivity",),
        scales="They range over three orders of magnitude of the rate, with Pre-LN alone; here over one, and a run's "
        "lowest loss stands for its last. A run that is stuck counts with the loss that it is stuck at, which is most "
        "of Post-LN's number. None of the remedies is tested.",
    ),
)
