"""Tasks of alignment: supervised fine-tuning, reward model, reinforcement learning, DPO."""
