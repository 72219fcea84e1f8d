"""What a model costs on this machine, engine by engine."""

from huozi.benchmark.cost import Cost, cost_per_atom, deeppot_cost_per_atom, model_cost
from huozi.benchmark.run import ENGINES, Speed, benchmark, replicate, water

__all__ = [
    "ENGINES",
    "Cost",
    "Speed",
    "benchmark",
    "cost_per_atom",
    "deeppot_cost_per_atom",
    "model_cost",
    "replicate",
    "water",
]
