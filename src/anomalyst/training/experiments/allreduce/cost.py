"""What an all-reduce sends."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MessageCost:
    """What an all-reduce algorithm sends."""

    messages: int  # by all processes together
    most_bytes: int  # by the busiest process
    all_bytes: int  # by all processes together
