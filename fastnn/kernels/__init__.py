"""Kernels on NumPy arrays."""

from fastnn.kernels import convolution, elementwise, movement, random, reductions
from fastnn.kernels.convolution import *  # noqa: F403
from fastnn.kernels.elementwise import *  # noqa: F403
from fastnn.kernels.movement import *  # noqa: F403
from fastnn.kernels.random import *  # noqa: F403
from fastnn.kernels.reductions import *  # noqa: F403

__all__ = [*convolution.__all__, *elementwise.__all__, *movement.__all__, *random.__all__, *reductions.__all__]
