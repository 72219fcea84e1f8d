"""Deep potentials: train, test, evaluate, save."""

from huozi.potential.calibration import Calibration, calibrate
from huozi.potential.ensemble import Ensemble, load_ensemble, member_forces
from huozi.potential.metrics import Metrics, evaluate
from huozi.potential.model import Model, load_model
from huozi.potential.moment import MomentConfig
from huozi.potential.settings import TrainConfig
from huozi.potential.train import TrainResult, train

__all__ = [
    "Calibration",
    "Ensemble",
    "Metrics",
    "Model",
    "MomentConfig",
    "TrainConfig",
    "TrainResult",
    "calibrate",
    "evaluate",
    "load_ensemble",
    "load_model",
    "member_forces",
    "train",
]
