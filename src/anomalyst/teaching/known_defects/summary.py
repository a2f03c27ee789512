"""What known defects set, said: a short table and a sentence for each choice."""

from collections.abc import Sequence

from anomalyst.calibration.operating_rule import Rule

MOST_NAMED = 10


def told(rule: Rule) -> list[str]:
    """Lines for a person: what was chosen and why, and what it costs on pictures left out."""
    found = rule.findings
    masks = "none with a mask" if not found.masked else f"{found.masked} with a mask"
    lines = [
        f"Chosen with {found.bad} defective pictures ({masks}) beside {found.good} good ones, "
        "each left out in turn:",
        f"  {'':20}{'good alone':>12}{'chosen':>10}",
        f"  {'AUROC':20}{found.auroc_plain:>12.3f}{found.auroc:>10.3f}",
    ]
    if found.pixel_ap_plain is not None and found.pixel_ap is not None:
        lines.append(f"  {'pixel AP':20}{found.pixel_ap_plain:>12.3f}{found.pixel_ap:>10.3f}")
    lines += [
        f"  {'missed':20}{'':>12}{f'{len(found.missed)} of {found.bad}':>10}",
        f"  {'false alarms':20}{'':>12}{f'{len(found.alarms)} of {found.good}':>10}",
    ]
    lines += [f"  {reason[0].upper()}{reason[1:]}." for reason in found.reasons]
    lines.append(
        f"  Threshold {rule.threshold:.3f}: the cheapest where a missed defect costs "
        f"{rule.costs.missed:g} and a false alarm {rule.costs.alarm:g}, and good and defective "
        "parts come as here."
    )
    lines += [f"  Missed: {_some(found.missed)}."] if found.missed else []
    lines += [f"  False alarms: {_some(found.alarms)}."] if found.alarms else []
    if found.doubtful:
        lines.append(
            f"  More like the defective pictures than the good ones: {_some(found.doubtful)}. "
            "Kept as good; is that right?"
        )
    return lines


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more
