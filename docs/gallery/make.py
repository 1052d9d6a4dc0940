"""Runs the examples and writes the index page: pictures into docs/gallery/, the page docs/gallery.md.

    python docs/gallery/make.py [--quick] [--only NAME ...] [--page]

--quick takes the embedded data; --only makes some of the pictures; --page writes the page alone. The page shows each
example's own first paragraphs.
"""

import argparse
import ast
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
EXAMPLES = HERE.parents[1] / "examples"
MOST_BYTES = 60_000

TOPICS = {
    "Perceptrons and sigmoid neurons": ("perceptron", "boolean_functions", "sigmoid_neuron"),
    "What networks can represent": ("towers", "decision_boundaries", "activations"),
    "Descent": ("taylor", "optimizers_surface", "optimizers_network", "line_search"),
    "Learning rates": ("schedules", "learning_rate_range"),
    "First weights": ("initialization", "pretraining_filters", "autoencoders", "transfer"),
    "Overfitting and its cures": ("bias_variance", "overfitting", "early_stopping_l2"),
    "Many that answer as one": ("ensembles", "dropout_uncertainty"),
}


def page():
    out = [
        "# Gallery",
        "",
        "One short script for each topic of a first course, in [examples/](../examples). Each runs by itself: "
        "`python examples/NAME.py` (MNIST, or `--data fashion_mnist`), or with `--quick` on the digits that come with "
        "the package, in seconds. `python docs/gallery/make.py` makes this page. A convolutional network: "
        "[lenet5.py](../examples/lenet5.py).",
    ]
    for topic, names in TOPICS.items():
        out += ["", f"## {topic}"]
        for name in names:
            doc = ast.get_docstring(ast.parse((EXAMPLES / f"{name}.py").read_text()))
            title, *rest = [part for part in doc.split("\n\n") if not part.startswith("    ")]
            text = " ".join(rest).replace("\n", " ")
            title = " ".join(title.split()).rstrip(".")
            out += ["", f"### {title}", "", f"[`{name}.py`](../examples/{name}.py). {text}"]
            out += ["", f"![{name}](gallery/{name}.png)"]
    return "\n".join(out) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--page", action="store_true")
    given = parser.parse_args()
    names = [] if given.page else given.only or [name for group in TOPICS.values() for name in group]
    for name in names:
        path, start = HERE / f"{name}.png", time.perf_counter()
        command = [sys.executable, str(EXAMPLES / f"{name}.py"), "--output", str(path)]
        subprocess.run(command + ["--quick"] * given.quick, check=True, cwd=EXAMPLES, stdout=subprocess.DEVNULL)
        size = path.stat().st_size
        print(f"{name:24} {time.perf_counter() - start:6.1f} s {size:6} bytes", flush=True)
        if size > MOST_BYTES:
            raise SystemExit(f"{path.name} is larger than {MOST_BYTES} bytes")
    (HERE.parent / "gallery.md").write_text(page())


if __name__ == "__main__":
    main()
