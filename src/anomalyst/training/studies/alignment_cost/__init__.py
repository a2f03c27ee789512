"""What SFT, reward model and PPO cost: measured here, projected to sizes that are not here."""
