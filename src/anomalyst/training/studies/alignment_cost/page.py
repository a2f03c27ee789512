"""The cost of alignment as a page: what was measured, what follows for larger actors, what was
claimed."""

from collections.abc import Sequence
from pathlib import Path

from anomalyst.report.sections import Section
from anomalyst.training.studies.alignment_cost.measuring import StageCost, generation_efficiency
from anomalyst.training.studies.alignment_cost.projection import (
    CLAIMS,
    CLUSTERS,
    SIZES,
    Claim,
    Cluster,
    ProjectionConfig,
    arithmetic,
    by_assumption,
    by_measurement,
    fits,
    implied_utilisation,
    memory_gb,
)
from anomalyst.training.studies.page import write_page


def write_cost_page(out: Path, costs: Sequence[StageCost], config: ProjectionConfig) -> str:
    """OUT/alignment-cost.html and alignment-cost.md; returns the Markdown."""
    largest = max(costs, key=lambda one: one.parameters).actor
    efficiency = generation_efficiency(costs, largest)
    sections = [
        _stages(costs),
        _shares(costs),
        _model(config, largest, efficiency),
        *(_projection(cluster, config, efficiency) for cluster in CLUSTERS),
        _not_compared(),
    ]
    intro = [
        "SFT, reward model and PPO for a few steps each, timed and weighed on this machine; hours, "
        "price and memory of PPO for actors of 1.3B to 175B on A100s, projected; and what "
        "DeepSpeed-Chat's report claims for them.",
        "Nothing but the first two tables was measured here.",
    ]
    return write_page(out, "alignment-cost", "What alignment costs", intro, sections)


def _stages(costs: Sequence[StageCost]) -> Section:
    rows = [
        [one.actor, one.stage, f"{one.parameters / 1e6:.1f}", f"{one.seconds:.2f}",
         f"{one.samples:.1f}", f"{one.tokens:.0f}", f"{one.memory_mb:.0f}",
         f"{one.cpu_percent:.0f}"]
        for one in costs
    ]  # fmt: skip
    said = (
        "Medians over the steps but the first. Samples are dialogues (SFT), pairs (reward) and "
        "answers (PPO); tokens are all that is read, of PPO those that are said. Memory is the "
        "peak of the process, some hundred MB of it libraries. Actors called width-N have random "
        "weights, so that most of their answers are as long as they may be; the shipped one's are "
        "short. Seconds are those of a clock: where a stage had far less of the processor than its "
        "threads, others computed meanwhile, and its seconds say nothing."
    )
    heads = ["actor", "stage", "parameters, M", "seconds a step", "samples a second",
             "tokens a second", "memory, MB", "processor, % of a core"]  # fmt: skip
    return Section(title="Measured: each stage", sentences=[said], heads=heads, rows=rows)


def _shares(costs: Sequence[StageCost]) -> Section:
    rows = []
    for one in (one for one in costs if one.stage == "ppo"):
        training = one.seconds - one.generating
        rows.append([
            one.actor, f"{one.generating:.2f}", f"{training:.2f}",
            f"{100 * one.generating / one.seconds:.0f}",
            f"{generation_efficiency(costs, one.actor):.2f}",
        ])  # fmt: skip
    said = (
        "Of a step of PPO in which each answer is trained on once. Generation is all before "
        "training: answers sampled token by token, then scored by actor, reference and reward "
        "model, and judged by the facts. Efficiency: FLOP/s of generation over those of training."
    )
    heads = ["actor", "generation, seconds", "training, seconds", "generation, % of the time",
             "efficiency"]  # fmt: skip
    return Section(
        title="Measured: generation against training", sentences=[said], heads=heads, rows=rows
    )


def _model(config: ProjectionConfig, actor: str, efficiency: float) -> Section:
    work = arithmetic(13e9, config)
    whole = work.generation + work.training
    share = 100 * (work.reading + work.saying) / whole
    return Section(
        title="How it is projected",
        sentences=[
            f"Step 3 alone, as the claims are: {config.queries:,} queries of "
            f"{config.prompt_tokens} tokens, answers of {config.answer_tokens}, trained on once; "
            f"critic and reward model of {config.critic / 1e6:.0f} M parameters.",
            "FLOPs of a token: 2 a parameter read, 6 a parameter trained. Each query: the actor "
            "reads and says it, actor, reference, critic and reward model score it, actor and "
            f"critic are trained on it. For 13B reading and saying are {share:.0f} % of all FLOPs; "
            "the report says about 20 %.",
            f"Training uses {100 * config.training_utilisation:.0f} % of an A100's 312 TFLOP/s "
            "(Narayanan et al. 2021: 44 to 52 %).",
            f"By our share: generation is {efficiency:.2f} times as efficient as training, as "
            f"measured for {actor}. A processor is short of arithmetic, an A100 that says one "
            "token at a time is short of memory bandwidth, so this column flatters.",
            f"Assumed: what is said token by token uses "
            f"{100 * config.generation_utilisation:.0f} % of the peak, the most that "
            f"{config.answers_at_once} answers at once allow by an A100-80's bandwidth (its data "
            "sheet); all else as training.",
            f"An hour of a GPU costs ${config.dollars_per_gpu_hour:.2f}, as $290 for 9 hours of 8 "
            "imply; the report names no price for A100-40.",
            "Memory of a GPU: 16 bytes a trained parameter and 2 a frozen one, split among all "
            "(ZeRO-3), and keys and values; activations, what is in passing and any copy for "
            "generation are left out, for which a tenth stays free. The arithmetic cannot tell "
            "whether a slower way (fewer answers at once, LoRA) would fit.",
            "The report counts 131.9k queries of 256 tokens and 67.5M query tokens, which is twice "
            "as many. Should the latter be right, all hours here are twice as long.",
        ],
    )


def _projection(cluster: Cluster, config: ProjectionConfig, efficiency: float) -> Section:
    rows = []
    for name, size in SIZES.items():
        ours = by_measurement(size.parameters, cluster, config, efficiency)
        assumed = by_assumption(size.parameters, cluster, config)
        claim = CLAIMS.get((cluster, name))
        need = memory_gb(size, cluster, config)
        rows.append([
            name, f"{ours.hours:.2f}", f"{ours.dollars:,.0f}",
            f"{assumed.hours:.2f}", f"{assumed.dollars:,.0f}",
            f"{100 * assumed.generation_share:.0f}",
            *_claimed(claim, cluster, size.parameters, config, ours.hours, assumed.hours),
            f"{need:.0f}", fits(size, cluster, config),
        ])  # fmt: skip
    heads = ["actor", "our share: hours", "$", "assumed: hours", "$ (assumed)",
             "generation, % (assumed)", "claimed: hours", "$ (claimed)", "our share / claim",
             "assumed / claim", "utilisation the claim implies, %", "memory a GPU, GB",
             "fits"]  # fmt: skip
    return Section(title=f"Projected, not measured: {cluster.name}", heads=heads, rows=rows)


def _claimed(
    claim: Claim | None,
    cluster: Cluster,
    parameters: float,
    config: ProjectionConfig,
    ours: float,
    assumed: float,
) -> list[str]:
    if claim is None:
        return ["-"] * 5
    used = implied_utilisation(claim, parameters, cluster, config)
    price = "-" if claim.dollars is None else f"{claim.dollars:,.0f}"
    return [f"{claim.hours:g}", price, f"{ours / claim.hours:.2f}",
            f"{assumed / claim.hours:.2f}", f"{100 * used:.1f}"]  # fmt: skip


def _not_compared() -> Section:
    return Section(
        title="Not compared",
        sentences=[
            "15 times as fast and models 7.5 times as large as other systems: none of those "
            "systems, and none of these GPUs in such numbers, are here.",
            "A ratio below 1 does not say that we would be quicker: it says that real runs use "
            "less of a GPU than is assumed. What the claims imply is in the tables.",
        ],
    )
