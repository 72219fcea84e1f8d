"""Huozi report."""
