"""From a graph to a plan: differentiate, fuse, shrink, place, emit. Each stage is a small function in a file of its
name."""

from fastnn.compiler.differentiate import differentiate
from fastnn.compiler.emit import Plan, Record
from fastnn.compiler.fuse import fuse
from fastnn.compiler.program import Program
from fastnn.compiler.shrink import shrink

__all__ = ["Plan", "Program", "Record", "differentiate", "fuse", "shrink"]
