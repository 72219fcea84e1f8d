"""Huozi dynamics."""
