"""A density functional learned from accurate energies and forces, used as a PySCF method."""

from huozi.functional.model import Model, load_model
from huozi.functional.scf import NeuralKS

__all__ = ["Model", "NeuralKS", "load_model"]
