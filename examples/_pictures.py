"""What the image examples draw: learning curves, the confusion matrix, first-layer filters, misread images."""

import numpy as np


def draw(path, title, model, history, x, y, classes):
    """Draws four panels into the file `path`. `x` (n, h, w, channels) of uint8 and `y` (n,) are the test set."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as plt
    except ImportError:
        print("no picture: pip install 'fastnn-cpu[plot]'")
        return
    p = model.predict(x, batch_size=256)
    guess = p.argmax(axis=1)
    figure, ((curve, matrix), (filters, wrong)) = plt.subplots(2, 2, figsize=(12, 11))
    figure.suptitle(title)
    epochs = np.arange(1, len(history["loss"]) + 1)
    for key, style in (("loss", "C0--"), ("val_loss", "C0-")):
        curve.plot(epochs, history[key], style, label=key)
    curve.set(title="learning curves", xlabel="epoch", ylabel="loss")
    accuracy = curve.twinx()
    for key, style in (("accuracy", "C1--"), ("val_accuracy", "C1-")):
        accuracy.plot(epochs, 100 * np.array(history[key]), style, label=key)
    accuracy.set(ylabel="accuracy in %")
    lines = [*curve.get_lines(), *accuracy.get_lines()]
    curve.legend(lines, [line.get_label() for line in lines], loc="center right")

    confusion = np.zeros((len(classes), len(classes)), int)
    np.add.at(confusion, (y, guess), 1)
    matrix.imshow(np.log1p(confusion), cmap="Blues")
    for row, column in np.ndindex(confusion.shape):
        if confusion[row, column]:
            color = "white" if row == column else "black"
            matrix.text(column, row, confusion[row, column], ha="center", va="center", fontsize=7, color=color)
    ticks = range(len(classes))
    matrix.set(title="confusion", xlabel="answered", ylabel="is", xticks=ticks, yticks=ticks)
    matrix.set_xticklabels(classes, rotation=90)
    matrix.set_yticklabels(classes)

    kernel = next(w.value for layer in model.layers for w in layer.weights if w.ndim == 4)
    low, high = kernel.min(axis=(0, 1, 2)), kernel.max(axis=(0, 1, 2))
    tiles = ((kernel - low) / np.maximum(high - low, 1e-9)).transpose(3, 0, 1, 2)
    filters.imshow(sheet(tiles, -(-len(tiles) // 2) if len(tiles) > 8 else len(tiles)), cmap="gray")
    filters.set(title=f"the {len(tiles)} filters of the first layer", xticks=[], yticks=[])

    misread = np.flatnonzero(guess != y)
    worst = misread[np.argsort(-p[misread, guess[misread]])][:30]  # those it was surest of
    wrong.imshow(sheet(x[worst], 6) if len(worst) else np.ones((1, 1)), cmap="gray")
    for j, i in enumerate(worst):
        row, column = divmod(j, 6)
        at = (column * (x.shape[2] + 1) + 2, row * (x.shape[1] + 1) + 2)
        wrong.text(*at, f"{classes[y[i]]} as {classes[guess[i]]}", fontsize=6, color="orange", va="top")
    wrong.set(title=f"misread: {len(misread)} of {len(y)}; is, as answered", xticks=[], yticks=[])
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    print(f"picture: {path}")


def sheet(images, across):
    """Images (n, h, w, channels) side by side, `across` in a row, with a line between them."""
    n, h, w, channels = images.shape
    down = -(-n // across)
    out = np.full((down * (h + 1), across * (w + 1), channels), images.max(), images.dtype)
    for j, picture in enumerate(images):
        row, column = divmod(j, across)
        out[row * (h + 1) : row * (h + 1) + h, column * (w + 1) : column * (w + 1) + w] = picture
    return out[:-1, :-1, 0] if channels == 1 else out[:-1, :-1]
