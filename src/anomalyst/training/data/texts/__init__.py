"""Inspection texts drawn from records that never were: notes, answers, shifts."""
