"""fastnn: neural networks on the CPU, Keras 3's layer API over hand-written C kernels."""

__version__ = "0.1.0"
