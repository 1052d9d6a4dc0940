"""Learning curves as a picture (needs matplotlib: `pip install fastnn-cpu[plot]`)."""

import os


def plot_history(history, path=None, title=None):
    """Draws each metric of a fit, training and validation in one panel, a panel a metric.

    `history` is a `History` or its `history` dictionary; `path` names a file to write (PNG, SVG, PDF by its ending).
    Returns the matplotlib figure. Works without a display.
    """
    logs = getattr(history, "history", history)
    if not isinstance(logs, dict) or not logs:
        raise ValueError("plot_history: history is empty; pass what fit() returned after at least one epoch")
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator
    except ImportError:
        raise ImportError("plot_history needs matplotlib: pip install matplotlib") from None
    names = [name for name in logs if not name.startswith("val_")]
    names = names or list(logs)
    figure = Figure(figsize=(5.5 * len(names), 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for key, label in ((name, "training"), (f"val_{name}", "validation")):
            values = logs.get(key)
            if values:
                # Validation may run on every n-th epoch only: its last value belongs to the last such epoch.
                step = max(1, round(len(logs[name]) / len(values)))
                epochs = [step * (j + 1) for j in range(len(values))]
                axes.plot(epochs, values, label=label, marker="." if len(values) < 40 else None)
        axes.set_xlabel("epoch")
        axes.set_ylabel(name)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend()
    if title:
        figure.suptitle(title)
    if path is not None:
        figure.savefig(os.fspath(path), dpi=120)
    return figure
