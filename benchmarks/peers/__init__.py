"""Whole training steps of other libraries, each as its own experts would write it, for benchmarks/bench_step.py."""
