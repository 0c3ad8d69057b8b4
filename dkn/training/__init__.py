"""Training: `config.py` says how, `crops.py` draws what a step learns from, `trainer.py` takes the steps."""

from dkn.training.config import LOSSES, OPTIMISERS, RECIPES, TrainConfig
from dkn.training.crops import Batch, draw_batch
from dkn.training.trainer import MODEL, STATE, Trainer, loss_of

__all__ = [
    "LOSSES",
    "MODEL",
    "OPTIMISERS",
    "RECIPES",
    "STATE",
    "Batch",
    "TrainConfig",
    "Trainer",
    "draw_batch",
    "loss_of",
]
