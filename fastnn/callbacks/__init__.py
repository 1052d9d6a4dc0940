"""What happens around the steps of a training: Keras' callbacks. No numerics of their own."""

from fastnn.callbacks.base import Callback, CallbackList, History, LambdaCallback
from fastnn.callbacks.logging import CSVLogger, ProgbarLogger, TensorBoard
from fastnn.callbacks.monitors import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau
from fastnn.callbacks.training import BackupAndRestore, LearningRateScheduler, TerminateOnNaN

__all__ = [
    "BackupAndRestore",
    "CSVLogger",
    "Callback",
    "CallbackList",
    "EarlyStopping",
    "History",
    "LambdaCallback",
    "LearningRateScheduler",
    "ModelCheckpoint",
    "ProgbarLogger",
    "ReduceLROnPlateau",
    "TensorBoard",
    "TerminateOnNaN",
]
