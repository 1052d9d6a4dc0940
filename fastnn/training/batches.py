"""Training on an iterable of batches, each an (x, y) or (x, y, sample_weight) of its own."""

import itertools


class Batches:
    """An epoch over an iterable of batches."""

    def __init__(self, model, source, steps, class_weight=None):
        self.model, self.source, self.steps, self.class_weight = model, source, steps, class_weight
        self.iterator = None

    def epoch(self, list_of, begin=0):
        """Trains on the batches of an epoch; the first `begin` of them have been trained on before."""
        model = self.model
        if self.iterator is None or self.steps is None:
            self.iterator = iter(self.source)
        number = 0
        while self.steps is None or number < self.steps:
            try:
                x, y, w = unpack(next(self.iterator))
            except StopIteration:
                self.iterator = None
                if number == 0:
                    raise ValueError(
                        "fit: the iterable of batches gave none; pass one that can be iterated anew"
                    ) from None
                break
            if number < begin:
                number += 1
                continue
            list_of.on_train_batch_begin(number)
            model.train_on_batch(x, y, w, self.class_weight)
            list_of.on_train_batch_end(number, model._logs())
            number += 1
            if model.stop_training:
                break
        return model._logs()


def is_batches(x):
    """Whether x is an iterable of batches, not data itself."""
    if hasattr(x, "__array__") or isinstance(x, (list, tuple, dict, str)):
        return False
    return any(hasattr(x, name) for name in ("__next__", "__iter__", "__getitem__"))


def parts_of(batches, steps, where):
    """(number, (x, y, sample_weight)) of the first `steps` batches (None: of all)."""
    number = -1
    for number, batch in enumerate(batches if steps is None else itertools.islice(batches, steps)):
        yield number, unpack(batch)
    if number < 0:
        raise ValueError(f"{where}: the iterable of batches gave none; pass one that can be iterated anew")


def unpack(batch):
    """(x, y, sample_weight) of a batch, None for what it does not have."""
    if not isinstance(batch, (tuple, list)):
        return batch, None, None
    if not 1 <= len(batch) <= 3:
        raise ValueError(f"a batch must be x, (x, y) or (x, y, sample_weight), got {len(batch)} parts")
    return (*batch, *(None,) * (3 - len(batch)))
