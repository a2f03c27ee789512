"""Speed, agreement of the engines, the worth of feedback and the truth of answers."""
