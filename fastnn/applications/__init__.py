"""Ready-made networks for images: functions that return a Model with fresh weights, as in `keras.applications`."""

from fastnn.applications.cifar import CifarCNN
from fastnn.applications.lenet import LeNet5, PartialConv2D, RBFOutput, ScaledTanh, SparseMAPCriterion, Subsampling
from fastnn.applications.resnet import IdentityShortcut, ResNet20, ResNetCifar

__all__ = [
    "CifarCNN",
    "IdentityShortcut",
    "LeNet5",
    "PartialConv2D",
    "RBFOutput",
    "ResNet20",
    "ResNetCifar",
    "ScaledTanh",
    "SparseMAPCriterion",
    "Subsampling",
]
