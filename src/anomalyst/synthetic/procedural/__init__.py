"""The procedural inspection world: products that never were, their defects, and the truth."""

from anomalyst.synthetic.procedural.episode import Defect, Episode, Truth, WorldConfig, make_episode

__all__ = ["Defect", "Episode", "Truth", "WorldConfig", "make_episode"]
