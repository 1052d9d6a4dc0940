"""The training loop: data, compiled steps, fit."""
