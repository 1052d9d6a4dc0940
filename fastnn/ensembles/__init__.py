"""Networks that answer together: bagging, averages and votes, snapshots of one training, Monte-Carlo dropout."""

from fastnn.ensembles.bagging import Bagging
from fastnn.ensembles.ensemble import Ensemble
from fastnn.ensembles.montecarlo import MonteCarlo, monte_carlo_predict
from fastnn.ensembles.parallel import train_side_by_side
from fastnn.ensembles.snapshots import Snapshots, snapshot_ensemble

__all__ = [
    "Bagging",
    "Ensemble",
    "MonteCarlo",
    "Snapshots",
    "monte_carlo_predict",
    "snapshot_ensemble",
    "train_side_by_side",
]
