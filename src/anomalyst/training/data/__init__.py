"""What training reads: episodes, cached features, dialogues."""
