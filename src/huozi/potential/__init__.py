"""Huozi potential."""
