"""Learning from inputs alone before learning from targets: autoencoders, greedy layer-wise pre-training, transfer."""

from fastnn.pretraining.autoencoder import Autoencoder, Corruption, TiedDense
from fastnn.pretraining.greedy import pretrain
from fastnn.pretraining.transfer import copy_weights, freeze, unfreeze

__all__ = ["Autoencoder", "Corruption", "TiedDense", "copy_weights", "freeze", "pretrain", "unfreeze"]
