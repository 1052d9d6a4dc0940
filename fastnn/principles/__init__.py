"""First principles of neural networks, small enough to look at: perceptrons and Boolean functions, Taylor's views of a
loss, towers of sigmoids, bias and variance, early stopping beside L2."""

from fastnn.principles.boolean import boolean_functions, count_separable, is_separable, separable_functions
from fastnn.principles.perceptron import Perceptron
from fastnn.principles.quadratic import QuadraticPaths, early_stopping_and_l2
from fastnn.principles.resampling import BiasVariance, bias_variance
from fastnn.principles.taylor import TaylorViews, taylor_views
from fastnn.principles.towers import tower_network_1d, tower_network_2d

__all__ = [
    "BiasVariance",
    "Perceptron",
    "QuadraticPaths",
    "TaylorViews",
    "bias_variance",
    "boolean_functions",
    "count_separable",
    "early_stopping_and_l2",
    "is_separable",
    "separable_functions",
    "taylor_views",
    "tower_network_1d",
    "tower_network_2d",
]
