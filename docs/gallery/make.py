"""Runs the examples and writes the index page: pictures into docs/gallery/, the page docs/gallery.md.

    python docs/gallery/make.py [--quick] [--only NAME ...] [--page]

--quick takes the embedded data; --only makes some of the pictures; --page writes the page alone. The page shows each
example's own first paragraphs. Pillow (with matplotlib) makes large pictures smaller.
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
    "Descent": ("backpropagation", "taylor", "optimizers_surface", "optimizers_network", "line_search"),
    "Learning rates": ("schedules", "learning_rate_range"),
    "Components and codes": ("principal_components", "autoencoders"),
    "First weights": ("initialization", "pretraining_filters", "transfer"),
    "Overfitting and its cures": ("bias_variance", "overfitting", "early_stopping_l2"),
    "Many that answer as one": ("ensembles", "dropout_uncertainty"),
    "Images": ("lenet5",),
    "Words": ("word_vectors",),
    "Sequences": ("reading_rows", "attention"),
}
#: Those with large pictures of their own making, and what they are called with.
LARGE = {"lenet5": ("--augment", "--epochs", "6"), "word_vectors": ()}
WEEKS = (
    ("Perceptrons, Boolean functions", ("perceptron", "boolean_functions")),
    ("Sigmoid neurons, what networks can represent", ("sigmoid_neuron", "towers", "decision_boundaries")),
    ("Feedforward networks, backpropagation", ("backpropagation", "activations")),
    ("Gradient descent and its kin, learning rates",
     ("taylor", "optimizers_surface", "optimizers_network", "line_search", "schedules", "learning_rate_range")),
    ("Principal components, singular values", ("principal_components",)),
    ("Autoencoders", ("autoencoders",)),
    ("Regularization: bias and variance, early stopping, ensembles, dropout",
     ("bias_variance", "overfitting", "early_stopping_l2", "ensembles", "dropout_uncertainty")),
    ("Pre-training, activations, first weights, batch normalization",
     ("pretraining_filters", "transfer", "initialization")),
    ("Vectors of words", ("word_vectors",)),
    ("Convolutional networks", ("lenet5",)),
    ("Recurrent networks", ("reading_rows",)),
    ("Encoders and decoders, attention", ("attention",)),
)  # fmt: skip
#: Examples without a picture here.
ALSO = {
    "Convolutional networks": ("resnet20",),
    "Recurrent networks": ("forecasting", "surnames", "generate_text"),
}


def paragraphs(name):
    """(first sentences, the rest) of an example's docstring, without the commands."""
    doc = ast.get_docstring(ast.parse((EXAMPLES / f"{name}.py").read_text()))
    title, *rest = [part for part in doc.split("\n\n") if not part.startswith("    ")]
    return " ".join(title.split()).rstrip("."), " ".join(rest).replace("\n", " ")


def anchor(name):
    """What a heading is linked by: lower case, punctuation gone, hyphens for spaces."""
    title = paragraphs(name)[0].lower()
    return "".join(c for c in title if c.isalnum() or c in " -").replace(" ", "-")


def shrink(path, width=720, colors=256):
    """Makes a picture smaller in place."""
    from PIL import Image

    picture = Image.open(path).convert("RGB")
    height = round(picture.height * width / picture.width)
    picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    picture.quantize(colors, Image.Quantize.FASTOCTREE).save(path, optimize=True)


def page():
    out = [
        "# Gallery",
        "",
        "One short script for each topic of a first course, in [examples/](../examples). Each runs by itself: "
        "`python examples/NAME.py`, or with `--quick` in seconds and without files. Most of those that learn from "
        "images take `--data` (see `--help`): MNIST, unless it says `fashion_mnist`, and with `--quick` the digits "
        "that come with the package. `python docs/gallery/make.py` makes this page.",
        "",
        "| week of a course | examples |",
        "|---:|---|",
    ]
    for number, (subject, names) in enumerate(WEEKS, 1):
        links = [f"[{name}](#{anchor(name)})" for name in names]
        links += [f"[{name}](../examples/{name}.py)" for name in ALSO.get(subject, ())]
        out.append(f"| {number}. {subject} | {', '.join(links)} |")
    for topic, names in TOPICS.items():
        out += ["", f"## {topic}"]
        for name in names:
            title, text = paragraphs(name)
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
        command += ["--quick"] if given.quick else LARGE.get(name, ())
        subprocess.run(command, check=True, cwd=EXAMPLES, stdout=subprocess.DEVNULL)
        if name in LARGE:
            shrink(path)
        size = path.stat().st_size
        print(f"{name:24} {time.perf_counter() - start:6.1f} s {size:6} bytes", flush=True)
        if size > MOST_BYTES:
            raise SystemExit(f"{path.name} is larger than {MOST_BYTES} bytes")
    (HERE.parent / "gallery.md").write_text(page())


if __name__ == "__main__":
    main()
