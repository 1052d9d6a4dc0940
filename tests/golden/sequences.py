"""Models of sequences that are trained, recorded and compared: recurrent layers with masks, states and both
directions."""

import numpy as np

from .store import rand

ROWS, TIME, FEATURES, UNITS, WORDS = 12, 6, 3, 4, 9
X = rand(50, (ROWS, TIME, FEATURES), -1.5, 1.5)
LENGTHS = np.random.RandomState(51).randint(1, TIME + 1, ROWS)
PADDED = X * (np.arange(TIME) < LENGTHS[:, None])[..., None]
GAPPED = X * (np.random.RandomState(52).rand(ROWS, TIME, 1) < 0.6)  # the first steps too
IDS = np.random.RandomState(53).randint(1, WORDS, (ROWS, TIME)) * (np.arange(TIME) < LENGTHS[:, None])
TARGETS, SERIES = rand(54, (ROWS, 2)), rand(55, (ROWS, TIME, 2))
LABELS = np.random.RandomState(56).randint(0, 3, (ROWS, TIME))

# TensorFlow squares the parts of an Embedding's gradient before it adds them up, so its Adam differs from every other
# backend's there
SGD = ("SGD", {"learning_rate": 0.1, "momentum": 0.9})
CASES = {}


def case(name, build, x, y, loss="mse", optimizer=("Adam", {"learning_rate": 0.02}), **fit):
    CASES[name] = (build, x, y, loss, optimizer, fit)


def chain(*make, shape=(TIME, FEATURES), dtype=None):
    """A Sequential of the layers that the functions make."""
    return lambda k: k.Sequential([k.Input(shape, dtype=dtype), *(m(k.layers) for m in make)])


def dense(units, **kwargs):
    return lambda layers: layers.Dense(units, **kwargs)


def masking(layers):
    return layers.Masking(0.0)


def embedding(layers):
    return layers.Embedding(WORDS, 5, mask_zero=True)


for _cell, _more in (("SimpleRNN", {}), ("LSTM", {}), ("GRU", {}), ("GRU", {"reset_after": False})):
    _tag = _cell.lower() + ("_before" if _more else "")

    def one(units=UNITS, _cell=_cell, _more=_more, **kwargs):
        return lambda layers: getattr(layers, _cell)(units, **_more, **kwargs)

    def both(mode="concat", _cell=_cell, _more=_more, **kwargs):
        return lambda layers: layers.Bidirectional(getattr(layers, _cell)(UNITS, **_more, **kwargs), merge_mode=mode)

    def carried(k, _cell=_cell, _more=_more):
        x = k.Input((TIME, FEATURES))
        make = getattr(k.layers, _cell)
        y, *states = make(UNITS, return_state=True, return_sequences=True, **_more)(k.layers.Masking()(x))
        z = make(UNITS, **_more)(y, initial_state=states)
        return k.Model(x, k.layers.Dense(2)(k.layers.Concatenate()([z, *states])))

    case(f"{_tag}_last", chain(one(), dense(2)), X, TARGETS)
    case(f"{_tag}_stacked", chain(one(return_sequences=True), one(5, go_backwards=True), dense(2)), X, TARGETS)
    case(f"{_tag}_padded", chain(masking, one(), dense(2)), PADDED, TARGETS)
    case(f"{_tag}_gapped", chain(masking, one(return_sequences=True), dense(2)), GAPPED, SERIES)
    case(
        f"{_tag}_zeros", chain(masking, one(return_sequences=True, zero_output_for_mask=True), dense(2)), GAPPED, SERIES
    )
    case(f"{_tag}_backwards", chain(masking, one(return_sequences=True, go_backwards=True), dense(2)), GAPPED, SERIES)
    case(f"{_tag}_both", chain(masking, both(return_sequences=True), dense(2)), GAPPED, SERIES)
    case(f"{_tag}_both_last", chain(masking, both("sum"), dense(2)), PADDED, TARGETS)
    case(f"{_tag}_carried", carried, GAPPED, TARGETS)
    case(f"{_tag}_regular", lambda k, one=one: chain(
        one(kernel_regularizer=k.regularizers.L2(0.01), recurrent_regularizer=k.regularizers.L1(0.01),
            recurrent_constraint=k.constraints.MaxNorm(1.0), bias_regularizer="l2"), dense(2))(k), X,
            TARGETS)  # fmt: skip

case("words", chain(embedding, lambda made: made.LSTM(UNITS), dense(2), shape=(TIME,), dtype="int32"), IDS, TARGETS,
     optimizer=SGD)  # fmt: skip
case("words_tagged", chain(embedding, lambda made: made.GRU(UNITS, return_sequences=True),
     lambda made: made.TimeDistributed(made.Dense(3, activation="softmax")), shape=(TIME,), dtype="int32"),
     IDS, LABELS, "sparse_categorical_crossentropy", SGD)  # fmt: skip
case("words_mean", chain(embedding, lambda made: made.GlobalAveragePooling1D(), dense(2), shape=(TIME,),
dtype="int32"), IDS,
     TARGETS, optimizer=SGD)  # fmt: skip
case("activations", chain(lambda made: made.LSTM(UNITS, activation="softsign", recurrent_activation="hard_sigmoid",
     return_sequences=True), lambda made: made.GRU(UNITS, activation="relu"), dense(2)), X, TARGETS)  # fmt: skip
case("unrolled", chain(masking, lambda made: made.LSTM(UNITS, activation="silu", return_sequences=True),
     lambda made: made.GRU(UNITS, activation="gelu", reset_after=False, return_sequences=True),
     lambda made: made.GRU(UNITS, recurrent_activation="softplus", go_backwards=True), dense(2)), PADDED,
     TARGETS)  # fmt: skip
case("steps", chain(lambda made: made.TimeDistributed(made.Reshape((1, FEATURES))),
lambda made: made.TimeDistributed(made.Flatten()),
     lambda made: made.TimeDistributed(made.Dense(4, activation="relu")), lambda made: made.SimpleRNN(3), dense(2)), X,
     TARGETS)  # fmt: skip


def attention(k):
    """Without a second use of x: MultiHeadAttention of Keras takes the masks off its arguments."""
    ids = k.Input((TIME,), dtype="int32")
    x = k.layers.Embedding(WORDS, 6, mask_zero=True)(ids)
    y = k.layers.LayerNormalization()(k.layers.MultiHeadAttention(2, 4)(x, x, use_causal_mask=True))
    z = k.layers.Attention()([y, y])
    return k.Model(ids, k.layers.Dense(3, activation="softmax")(z))


case("attention", attention, IDS, LABELS, "sparse_categorical_crossentropy", SGD)


def run(keras, name):
    """Build, fit and return what is compared: the history, trained weights, predictions."""
    build, x, y, loss, (optimizer, options), fit = CASES[name]
    model = build(keras)
    for i, w in enumerate(model.trainable_weights):
        shape = tuple(w.shape)
        limit = np.sqrt(6.0 / (shape[0] + shape[-1])) if len(shape) > 1 else 0.1
        w.assign(rand(800 + i, shape, -limit, limit))
    model.compile(optimizer=getattr(keras.optimizers, optimizer)(**options), loss=loss)
    fit = {"batch_size": 5, "epochs": 3, "shuffle": False, "verbose": 0} | fit
    history = model.fit(x, y, **fit)
    results = {f"history/{key}": np.asarray(values) for key, values in history.history.items()}
    results |= {f"weights/{i}": np.asarray(w) for i, w in enumerate(model.trainable_weights)}
    return results | {"predict": np.asarray(model.predict(x, batch_size=5, verbose=0))}
