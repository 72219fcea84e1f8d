"""Deep potentials: train, test, evaluate, save."""

from huozi.potential.metrics import Metrics, evaluate
from huozi.potential.model import Model, load_model
from huozi.potential.moment import MomentConfig
from huozi.potential.settings import TrainConfig
from huozi.potential.train import TrainResult, train

__all__ = [
    "Metrics",
    "Model",
    "MomentConfig",
    "TrainConfig",
    "TrainResult",
    "evaluate",
    "load_model",
    "train",
]
