"""Huozi demo."""
