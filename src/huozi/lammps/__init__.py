"""LAMMPS: build and find the plugin with ``pair_style huozi``."""

from huozi.lammps.install import (
    command,
    install,
    is_installed,
    is_ready,
    plugin_folder,
)

__all__ = ["command", "install", "is_installed", "is_ready", "plugin_folder"]
