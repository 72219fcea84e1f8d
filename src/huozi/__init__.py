"""Huozi (活字): AI for molecular simulation, from quantum mechanics to free energies."""

__version__ = "0.1.0"
