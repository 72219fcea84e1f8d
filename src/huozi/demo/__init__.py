"""The founding experiment: learn water from first principles, then let it move."""

from huozi.demo.config import DemoConfig
from huozi.demo.data import embedded_water
from huozi.demo.run import DemoResult, Display, run_demo

__all__ = ["DemoConfig", "DemoResult", "Display", "embedded_water", "run_demo"]
