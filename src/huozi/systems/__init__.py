"""Atoms, labels, data sets: reading, writing, checking, splitting."""

from huozi.systems.frame import Dataset, Frame, Labels, System

__all__ = ["Dataset", "Frame", "Labels", "System"]
