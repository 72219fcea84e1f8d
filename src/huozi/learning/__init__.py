"""Concurrent learning: explore, select, label, retrain, until nothing is new."""
