"""Huozi cli."""
