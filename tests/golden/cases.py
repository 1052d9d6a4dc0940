"""What is recorded and compared, as tables: nothing here needs a peer, and both sides read the same tables.

Builders take the module ``keras``: the real one when recording, fastnn when testing.
"""

import itertools

import numpy as np
import pytest

from .store import rand

# ---------------------------------------------------------------------------------------------------- activations
KINKS = (-6.0, -3.0, -2.5, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 2.5, 3.0, 6.0)
GRID = np.unique(np.concatenate([np.linspace(-9.1, 9.1, 53), KINKS, [-80.0, -20.0, -1e-3, 1e-3, 20.0, 80.0]]))
ROWS = np.concatenate([rand(11, (4, 6), -4, 4), [[0.0] * 6, [30, -30, 0, 1, 1, 2.0], [1.0, 1, 1, -1, -1, -1]]])

# name -> (function, keyword arguments, input)
ACTIVATIONS = {
    name: (name, {}, GRID)
    for name in (
        "celu elu exponential gelu hard_shrink hard_sigmoid hard_silu hard_swish hard_tanh leaky_relu linear "
        "log_sigmoid mish relu relu6 selu sigmoid silu soft_shrink softplus softsign sparse_plus "
        "sparse_sigmoid squareplus swish tanh tanh_shrink"
    ).split()
} | {
    "celu_alpha": ("celu", {"alpha": 0.5}, GRID),
    "elu_alpha": ("elu", {"alpha": 0.5}, GRID),
    "gelu_tanh": ("gelu", {"approximate": True}, GRID),
    "hard_shrink_threshold": ("hard_shrink", {"threshold": 1.0}, GRID),
    "leaky_relu_slope": ("leaky_relu", {"negative_slope": 0.01}, GRID),
    "relu_slope": ("relu", {"negative_slope": 0.1}, GRID),
    "relu_max": ("relu", {"max_value": 3.0}, GRID),
    "relu_threshold": ("relu", {"threshold": 1.0}, GRID),
    "relu_all": ("relu", {"negative_slope": 0.1, "max_value": 6.0, "threshold": 0.5}, GRID),
    "soft_shrink_threshold": ("soft_shrink", {"threshold": 1.0}, GRID),
    "squareplus_b": ("squareplus", {"b": 1.0}, GRID),
    "threshold": ("threshold", {"threshold": 0.5, "default_value": -0.25}, GRID),
    "glu": ("glu", {}, ROWS),
    "log_softmax": ("log_softmax", {}, ROWS),
    "softmax": ("softmax", {}, ROWS),
    "softmax_axis0": ("softmax", {"axis": 0}, ROWS),
}


def activation_weight(name):
    """What the value is multiplied with before summing: a plain sum of softmax rows would have no gradient."""
    x = ACTIVATIONS[name][2]
    if x.ndim == 1:
        return np.ones(x.shape)
    return rand(12, (x.shape[0], x.shape[1] // (2 if name == "glu" else 1)))


# ---------------------------------------------------------------------------------------------------- losses, metrics
BATCH, CLASSES = 6, 5
# Labels of sequences of 7 steps, filled up with 0: repeated ones, as many as fit, a single one, none.
SPELLED = np.array([[1, 2, 3, 0], [2, 2, 4, 0], [1, 1, 1, 1], [4, 0, 0, 0], [3, 1, 3, 1], [0, 0, 0, 0]], float)


def labelled(kind, seed):
    """(y_true, y_pred) of one kind, float64; the integer labels of ``sparse`` are floats here and cast where used."""
    y_pred = rand(seed, (BATCH, CLASSES))
    labels = np.random.RandomState(seed + 1).randint(0, CLASSES, BATCH)
    one_hot = np.eye(CLASSES)[labels]
    probabilities = np.exp(2 * y_pred)
    probabilities /= probabilities.sum(axis=-1, keepdims=True)
    unit = y_pred / np.sqrt((y_pred**2).sum(axis=-1, keepdims=True))
    return {
        "regression": (rand(seed + 2, (BATCH, CLASSES)), y_pred),
        "positive": (rand(seed + 2, (BATCH, CLASSES), 0.1, 2.0), 1.5 + y_pred),
        "distribution": (np.roll(probabilities, 1, axis=0), probabilities),
        "one_hot": (one_hot, probabilities),
        "one_hot_logits": (one_hot, 4 * y_pred),
        "soft_logits": (np.roll(probabilities, 1, axis=0), 4 * y_pred),
        "sparse": (labels.astype(float), probabilities),
        "sparse_logits": (labels.astype(float), 4 * y_pred),
        "binary": ((rand(seed + 2, (BATCH, CLASSES)) > 0).astype(float), (1 + 0.98 * y_pred) / 2),
        "binary_logits": ((rand(seed + 2, (BATCH, CLASSES)) > 0).astype(float), 4 * y_pred),
        "binary_column": ((rand(seed + 2, (BATCH, 1)) > 0).astype(float), (1 + 0.98 * y_pred[:, :1]) / 2),
        "certain": ((rand(seed + 2, (BATCH, CLASSES)) > 0).astype(float), (y_pred > 0).astype(float)),
        "signs": (np.sign(rand(seed + 2, (BATCH, CLASSES))), 2 * y_pred),
        "sparse_embedding": (np.array([0.0, 1, 0, 2, 1, 2]), unit),
        "sparse_embedding_alone": (np.array([0.0, 1, 0, 2, 1, 3]), unit),
        "sparse_spelling": (SPELLED, rand(seed, (BATCH, 7, CLASSES), -3, 3)),
        "classes": (labels.astype(float), np.roll(labels, 1).astype(float)),
    }[kind]


WEIGHTS = np.array([1.0, 0.5, 2.0, 0.0, 1.5, 0.25])
REDUCTIONS = ("sum_over_batch_size", "sum", "none", "mean", "mean_with_sample_weight")

# name -> (class, configuration, kind of data)
LOSSES = {
    "bce": ("BinaryCrossentropy", {}, "binary"),
    "bce_certain": ("BinaryCrossentropy", {}, "certain"),
    "bce_column": ("BinaryCrossentropy", {}, "binary_column"),
    "bce_smoothed": ("BinaryCrossentropy", {"label_smoothing": 0.1}, "binary"),
    "bce_logits": ("BinaryCrossentropy", {"from_logits": True}, "binary_logits"),
    "bce_logits_smoothed": ("BinaryCrossentropy", {"from_logits": True, "label_smoothing": 0.2}, "binary_logits"),
    "focal": ("BinaryFocalCrossentropy", {}, "binary"),
    "focal_options": (
        "BinaryFocalCrossentropy",
        {"apply_class_balancing": True, "alpha": 0.3, "gamma": 1.5, "from_logits": True, "label_smoothing": 0.1},
        "binary_logits",
    ),
    "cce": ("CategoricalCrossentropy", {}, "one_hot"),
    "cce_soft": ("CategoricalCrossentropy", {"from_logits": True}, "soft_logits"),
    "cce_smoothed": ("CategoricalCrossentropy", {"label_smoothing": 0.1}, "one_hot"),
    "cce_logits": ("CategoricalCrossentropy", {"from_logits": True}, "one_hot_logits"),
    "cce_logits_smoothed": ("CategoricalCrossentropy", {"from_logits": True, "label_smoothing": 0.2}, "one_hot_logits"),
    "cce_unnormalised": ("CategoricalCrossentropy", {}, "positive"),
    "categorical_focal": ("CategoricalFocalCrossentropy", {}, "one_hot"),
    "categorical_focal_logits": (
        "CategoricalFocalCrossentropy",
        {"alpha": 0.4, "gamma": 1.5, "from_logits": True, "label_smoothing": 0.1},
        "one_hot_logits",
    ),
    "generalized": ("CategoricalGeneralizedCrossEntropy", {"q": 0.7}, "sparse"),
    "sparse": ("SparseCategoricalCrossentropy", {}, "sparse"),
    "sparse_logits": ("SparseCategoricalCrossentropy", {"from_logits": True}, "sparse_logits"),
    "sparse_ignored": ("SparseCategoricalCrossentropy", {"from_logits": True, "ignore_class": 2}, "sparse_logits"),
    "categorical_hinge": ("CategoricalHinge", {}, "one_hot"),
    "cosine": ("CosineSimilarity", {}, "regression"),
    "hinge": ("Hinge", {}, "signs"),
    "hinge_01": ("Hinge", {}, "binary"),
    "squared_hinge": ("SquaredHinge", {}, "signs"),
    "huber": ("Huber", {}, "positive"),
    "huber_delta": ("Huber", {"delta": 0.3}, "regression"),
    "kl": ("KLDivergence", {}, "distribution"),
    "log_cosh": ("LogCosh", {}, "regression"),
    "mae": ("MeanAbsoluteError", {}, "regression"),
    "mape": ("MeanAbsolutePercentageError", {}, "positive"),
    "mse": ("MeanSquaredError", {}, "regression"),
    "msle": ("MeanSquaredLogarithmicError", {}, "positive"),
    "poisson": ("Poisson", {}, "positive"),
    "dice": ("Dice", {}, "binary"),
    "dice_axis": ("Dice", {"axis": 1}, "binary"),
    "circle": ("Circle", {}, "sparse_embedding"),
    "circle_options": ("Circle", {"gamma": 2.0, "margin": 0.25, "remove_diagonal": False}, "sparse_embedding_alone"),
    "circle_alone": ("Circle", {"gamma": 4.0}, "sparse_embedding_alone"),
    "ctc": ("CTC", {}, "sparse_spelling"),
    "tversky": ("Tversky", {"alpha": 0.3, "beta": 0.7}, "binary"),
}

METRICS = {
    "accuracy": ("Accuracy", {}, "classes"),
    "binary_accuracy": ("BinaryAccuracy", {}, "binary"),
    "binary_accuracy_threshold": ("BinaryAccuracy", {"threshold": 0.3}, "binary"),
    "categorical_accuracy": ("CategoricalAccuracy", {}, "one_hot"),
    "sparse_categorical_accuracy": ("SparseCategoricalAccuracy", {}, "sparse"),
    "top_k": ("TopKCategoricalAccuracy", {"k": 2}, "one_hot"),
    "sparse_top_k": ("SparseTopKCategoricalAccuracy", {"k": 3}, "sparse"),
    "mse": ("MeanSquaredError", {}, "regression"),
    "mae": ("MeanAbsoluteError", {}, "regression"),
    "mape": ("MeanAbsolutePercentageError", {}, "positive"),
    "msle": ("MeanSquaredLogarithmicError", {}, "positive"),
    "rmse": ("RootMeanSquaredError", {}, "regression"),
    "log_cosh": ("LogCoshError", {}, "regression"),
    "cosine": ("CosineSimilarity", {}, "regression"),
    "kl": ("KLDivergence", {}, "distribution"),
    "poisson": ("Poisson", {}, "positive"),
    "hinge": ("Hinge", {}, "signs"),
    "squared_hinge": ("SquaredHinge", {}, "signs"),
    "categorical_hinge": ("CategoricalHinge", {}, "one_hot"),
    "bce": ("BinaryCrossentropy", {}, "binary"),
    "bce_logits": ("BinaryCrossentropy", {"from_logits": True, "label_smoothing": 0.1}, "binary_logits"),
    "cce": ("CategoricalCrossentropy", {}, "one_hot"),
    "cce_logits": ("CategoricalCrossentropy", {"from_logits": True, "label_smoothing": 0.1}, "one_hot_logits"),
    "sparse_cce": ("SparseCategoricalCrossentropy", {}, "sparse"),
    "sparse_cce_logits": ("SparseCategoricalCrossentropy", {"from_logits": True}, "sparse_logits"),
    "auc": ("AUC", {}, "binary_column"),
    "auc_pr": ("AUC", {"curve": "PR", "num_thresholds": 50}, "binary_column"),
    "auc_minoring": ("AUC", {"summation_method": "minoring", "num_thresholds": 20}, "binary_column"),
    "auc_majoring": ("AUC", {"summation_method": "majoring", "num_thresholds": 20}, "binary_column"),
    "auc_multi_label": ("AUC", {"multi_label": True, "num_thresholds": 30}, "binary"),
    "auc_logits": ("AUC", {"from_logits": True}, "binary_logits"),
    "precision": ("Precision", {}, "binary"),
    "precision_thresholds": ("Precision", {"thresholds": [0.25, 0.5, 0.75]}, "binary"),
    "precision_top_k": ("Precision", {"top_k": 2}, "one_hot"),
    "precision_class": ("Precision", {"class_id": 1}, "binary"),
    "recall": ("Recall", {}, "binary"),
    "recall_thresholds": ("Recall", {"thresholds": [0.25, 0.5, 0.75]}, "binary"),
    "recall_top_k": ("Recall", {"top_k": 2}, "one_hot"),
    "recall_class": ("Recall", {"class_id": 1}, "binary"),
    "true_positives": ("TruePositives", {}, "binary"),
    "true_negatives": ("TrueNegatives", {}, "binary"),
    "false_positives": ("FalsePositives", {}, "binary"),
    "false_negatives": ("FalseNegatives", {"thresholds": [0.2, 0.8]}, "binary"),
    "sensitivity_at_specificity": ("SensitivityAtSpecificity", {"specificity": 0.5}, "binary_column"),
    "specificity_at_sensitivity": ("SpecificityAtSensitivity", {"sensitivity": 0.5}, "binary_column"),
    "precision_at_recall": ("PrecisionAtRecall", {"recall": 0.5}, "binary_column"),
    "recall_at_precision": ("RecallAtPrecision", {"precision": 0.57}, "binary_column"),
    "f1": ("F1Score", {}, "one_hot"),
    "f1_macro": ("F1Score", {"average": "macro"}, "one_hot"),
    "f1_micro_threshold": ("F1Score", {"average": "micro", "threshold": 0.4}, "binary"),
    "f1_weighted": ("F1Score", {"average": "weighted", "threshold": 0.4}, "binary"),
    "fbeta": ("FBetaScore", {"beta": 2.0, "average": "macro"}, "one_hot"),
    "r2": ("R2Score", {}, "regression"),
    "r2_variance": ("R2Score", {"class_aggregation": "variance_weighted_average"}, "regression"),
    "r2_none": ("R2Score", {"class_aggregation": None}, "regression"),
    "r2_adjusted": ("R2Score", {"num_regressors": 2}, "regression"),
    "pearson": ("PearsonCorrelation", {}, "regression"),
    "concordance": ("ConcordanceCorrelation", {}, "regression"),
    "mean_iou": ("MeanIoU", {"num_classes": CLASSES}, "classes"),
    "iou": ("IoU", {"num_classes": CLASSES, "target_class_ids": [0, 2]}, "classes"),
    "one_hot_iou": ("OneHotIoU", {"num_classes": CLASSES, "target_class_ids": [1, 3]}, "one_hot"),
    "one_hot_mean_iou": ("OneHotMeanIoU", {"num_classes": CLASSES}, "one_hot"),
    "binary_iou": ("BinaryIoU", {"threshold": 0.5}, "binary"),
    "mean": ("Mean", {}, "values"),
    "sum": ("Sum", {}, "values"),
}
# Whole-batch losses have nothing to weight, and the IoU family counts in whole numbers.
UNWEIGHTED = (
    "Dice",
    "Tversky",
    "ConcordanceCorrelation",
    "PearsonCorrelation",
    "BinaryIoU",
    "IoU",
    "MeanIoU",
    "OneHotIoU",
    "OneHotMeanIoU",
)
UPDATES = 3


def metric_updates(name, weighted):
    """The positional and keyword arguments of each ``update_state`` of a metric's case."""
    kind = METRICS[name][2]
    for i in range(UPDATES):
        kwargs = {"sample_weight": np.roll(WEIGHTS, i)} if weighted else {}
        if kind == "values":
            yield (rand(70 + i, (BATCH,)),), kwargs
        else:
            y_true, y_pred = labelled(kind, 50 + 10 * i)
            yield (integers(y_true) if "sparse" in kind or kind == "classes" else y_true, y_pred), kwargs


def integers(labels):
    return np.asarray(labels).astype("int32")


# ---------------------------------------------------------------------------------------------------- schedules
SCHEDULE_STEPS = np.arange(60)
SCHEDULES = {
    "exponential": ("ExponentialDecay", {"initial_learning_rate": 0.1, "decay_steps": 7, "decay_rate": 0.9}),
    "exponential_staircase": (
        "ExponentialDecay",
        {"initial_learning_rate": 0.1, "decay_steps": 7, "decay_rate": 0.9, "staircase": True},
    ),
    "piecewise": ("PiecewiseConstantDecay", {"boundaries": [5, 20, 21], "values": [1.0, 0.5, 0.1, 0.02]}),
    "polynomial": ("PolynomialDecay", {"initial_learning_rate": 0.1, "decay_steps": 25}),
    "polynomial_power": (
        "PolynomialDecay",
        {"initial_learning_rate": 0.1, "decay_steps": 25, "end_learning_rate": 0.01, "power": 2.0},
    ),
    "polynomial_cycle": (
        "PolynomialDecay",
        {"initial_learning_rate": 0.1, "decay_steps": 12, "end_learning_rate": 0.01, "power": 0.5, "cycle": True},
    ),
    "inverse_time": ("InverseTimeDecay", {"initial_learning_rate": 0.1, "decay_steps": 6, "decay_rate": 0.5}),
    "inverse_time_staircase": (
        "InverseTimeDecay",
        {"initial_learning_rate": 0.1, "decay_steps": 6, "decay_rate": 0.5, "staircase": True},
    ),
    "cosine": ("CosineDecay", {"initial_learning_rate": 0.1, "decay_steps": 40}),
    "cosine_alpha": ("CosineDecay", {"initial_learning_rate": 0.1, "decay_steps": 40, "alpha": 0.1}),
    "cosine_warmup": (
        "CosineDecay",
        {"initial_learning_rate": 0.0, "decay_steps": 40, "alpha": 0.1, "warmup_target": 0.1, "warmup_steps": 10},
    ),
    "cosine_restarts": ("CosineDecayRestarts", {"initial_learning_rate": 0.1, "first_decay_steps": 8}),
    "cosine_restarts_options": (
        "CosineDecayRestarts",
        {"initial_learning_rate": 0.1, "first_decay_steps": 7, "t_mul": 1.5, "m_mul": 0.8, "alpha": 0.05},
    ),
    "cosine_restarts_equal": (
        "CosineDecayRestarts",
        {"initial_learning_rate": 0.1, "first_decay_steps": 9, "t_mul": 1.0, "m_mul": 0.9},
    ),
}

# name -> (torch class, torch arguments, base learning rate). CyclicLR needs a momentum to cycle unless told not to.
TORCH_SCHEDULES = {
    f"cyclic_{mode}": (
        "CyclicLR",
        {
            "base_lr": 0.01,
            "max_lr": 0.1,
            "step_size_up": 6,
            "step_size_down": down,
            "mode": mode,
            "gamma": 0.97,
            "cycle_momentum": False,
        },
        0.01,
    )
    for mode, down in (("triangular", None), ("triangular2", 9), ("exp_range", 4))
} | {
    "one_cycle": ("OneCycleLR", {"max_lr": 0.1, "total_steps": 60}, 0.01),
    "one_cycle_linear": (
        "OneCycleLR",
        {
            "max_lr": 0.1,
            "total_steps": 60,
            "pct_start": 0.4,
            "anneal_strategy": "linear",
            "div_factor": 10.0,
            "three_phase": True,
        },
        0.01,
    ),
    "step": ("StepLR", {"step_size": 11, "gamma": 0.3}, 0.1),
    "multi_step": ("MultiStepLR", {"milestones": [5, 20, 21], "gamma": 0.3}, 0.1),
    "exponential": ("ExponentialLR", {"gamma": 0.95}, 0.1),
    "cosine": ("CosineAnnealingLR", {"T_max": 20, "eta_min": 0.01}, 0.1),
    "warm_restarts": ("CosineAnnealingWarmRestarts", {"T_0": 8, "eta_min": 0.01}, 0.1),
    "warm_restarts_2": ("CosineAnnealingWarmRestarts", {"T_0": 6, "T_mult": 2}, 0.1),
    "polynomial": ("PolynomialLR", {"total_iters": 30, "power": 2.0}, 0.1),
}

# ---------------------------------------------------------------------------------------------------- optimizers
VARIABLE_SHAPES = ((3, 4), (3, 2), (3, 1))
OPTIMIZER_STEPS = 30
OPTIMIZER_KEPT = (1, 2, 5, 10, 30)


def optimizer_variables():
    return [rand(300 + i, shape) for i, shape in enumerate(VARIABLE_SHAPES)]


def optimizer_names():
    """Names of the variables, for what goes by them."""
    return [f"v{i}" for i in range(len(VARIABLE_SHAPES))]


def optimizer_gradients(step):
    """Gradients of one step (1, 2, ...): scales from 0.01 to 10, and a row that is zero in two steps of three."""
    scale = 10.0 ** rand(400 + step, (), -2, 1)
    gradients = [scale * rand(500 + 10 * step + i, shape) for i, shape in enumerate(VARIABLE_SHAPES)]
    if step % 3:
        gradients[0][1] = 0.0
    return gradients


SCHEDULED = object()  # stands for the exponential schedule below as the learning rate

OPTIMIZERS = {}
for _name, _base, *_variants in (
    ("SGD", {}, {"momentum": 0.9}, {"momentum": 0.8, "nesterov": True}, {"learning_rate": SCHEDULED, "momentum": 0.9}),
    (
        "RMSprop",
        {},
        {"rho": 0.8, "momentum": 0.9},
        {"centered": True},
        {"centered": True, "momentum": 0.7, "epsilon": 1e-3},
        {"learning_rate": SCHEDULED},
    ),
    ("Adagrad", {}, {"learning_rate": 0.1, "initial_accumulator_value": 0.5, "epsilon": 1e-3}),
    ("Adadelta", {}, {"learning_rate": 1.0, "rho": 0.9, "epsilon": 1e-6}),
    (
        "Adam",
        {},
        {"amsgrad": True, "learning_rate": 0.01},
        {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3},
        {"learning_rate": SCHEDULED},
    ),
    ("AdamW", {}, {"learning_rate": 0.01, "weight_decay": 0.1}, {"amsgrad": True, "weight_decay": 0.02}),
    ("Adamax", {}, {"learning_rate": 0.01, "beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-3}),
    ("Nadam", {}, {"learning_rate": 0.01, "beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3}),
    (
        "Ftrl",
        {},
        {
            "learning_rate": 0.1,
            "l1_regularization_strength": 0.01,
            "l2_regularization_strength": 0.02,
            "l2_shrinkage_regularization_strength": 0.03,
            "beta": 0.1,
            "learning_rate_power": -0.7,
        },
    ),
    ("Lion", {}, {"learning_rate": 0.01, "beta_1": 0.8, "beta_2": 0.95}),
    ("Lamb", {}, {"learning_rate": 0.01, "epsilon": 1e-3}),
    ("Adafactor", {}, {"learning_rate": 0.01, "relative_step": False}),
    (
        "Muon",
        {},
        {"learning_rate": 0.01, "momentum": 0.8, "nesterov": False, "ns_steps": 3, "rms_rate": None},
        {"learning_rate": 0.01, "weight_decay": 0.05, "exclude_layers": ["v[12]"], "adam_lr_ratio": 0.5},
        {"learning_rate": 0.01, "adam_weight_decay": None, "exclude_layers": ["v0"], "adam_beta_1": 0.8},
    ),
    ("ScheduleFreeAdamW", {}, {"learning_rate": 0.01, "beta_1": 0.8, "beta_2": 0.95, "warmup_steps": 7}),
):
    OPTIMIZERS[_name.lower()] = (_name, _base)
    for _i, _variant in enumerate(_variants):
        OPTIMIZERS[f"{_name.lower()}_{_i + 1}"] = (_name, _variant)
for (_name, _base), (_tag, _options) in itertools.product(
    (("SGD", {"learning_rate": 0.05, "momentum": 0.9}), ("Adam", {"learning_rate": 0.01}), ("RMSprop", {})),
    (
        ("decay", {"weight_decay": 0.05}),
        ("clipnorm", {"clipnorm": 0.5}),
        ("clipvalue", {"clipvalue": 0.1}),
        ("global_clipnorm", {"global_clipnorm": 0.5}),
        ("ema", {"use_ema": True, "ema_momentum": 0.8}),
        ("ema_overwrite", {"use_ema": True, "ema_momentum": 0.8, "ema_overwrite_frequency": 4}),
        ("accumulate", {"gradient_accumulation_steps": 3}),
    ),
):
    OPTIMIZERS[f"{_name.lower()}_{_tag}"] = (_name, _base | _options)


def make_optimizer(keras, name):
    cls, config = OPTIMIZERS[name]
    config = dict(config)
    if config.get("learning_rate") is SCHEDULED:
        config["learning_rate"] = keras.optimizers.schedules.ExponentialDecay(0.05, decay_steps=4, decay_rate=0.7)
    if not hasattr(keras.optimizers, cls):
        pytest.skip(f"there is no {cls} yet")
    return getattr(keras.optimizers, cls)(**config)


TORCH_FORM = {"form": "torch"}

# name -> (torch class, its arguments, (Keras class, arguments) of the same update, "form" where only fastnn has it)
TORCH_OPTIMIZERS = {
    "sgd": ("SGD", {"lr": 0.1}, ("SGD", {"learning_rate": 0.1})),
    "sgd_momentum": ("SGD", {"lr": 0.1, "momentum": 0.9}, ("SGD", {"learning_rate": 0.1, "momentum": 0.9})),
    "sgd_nesterov": (
        "SGD",
        {"lr": 0.1, "momentum": 0.9, "nesterov": True},
        ("SGD", {"learning_rate": 0.1, "momentum": 0.9, "nesterov": True}),
    ),
    "sgd_dampening": (
        "SGD",
        {"lr": 0.1, "momentum": 0.9, "dampening": 0.3},
        ("SGD", {"learning_rate": 0.1, "momentum": 0.9, "dampening": 0.3, **TORCH_FORM}),
    ),
    "sgd_l2": (
        "SGD",
        {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.05},
        ("SGD", {"learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.05, **TORCH_FORM}),
    ),
    "adam": ("Adam", {"lr": 0.01}, ("Adam", {"learning_rate": 0.01, "epsilon": 1e-8, **TORCH_FORM})),
    "adam_no_eps": ("Adam", {"lr": 0.01, "eps": 1e-30}, ("Adam", {"learning_rate": 0.01, "epsilon": 1e-30})),
    "adam_amsgrad": (
        "Adam",
        {"lr": 0.01, "amsgrad": True},
        ("Adam", {"learning_rate": 0.01, "amsgrad": True, "epsilon": 1e-8, **TORCH_FORM}),
    ),
    "adam_l2": (
        "Adam",
        {"lr": 0.01, "weight_decay": 0.05},
        ("Adam", {"learning_rate": 0.01, "weight_decay": 0.05, "epsilon": 1e-8, **TORCH_FORM}),
    ),
    "adamw": (
        "AdamW",
        {"lr": 0.01},
        ("AdamW", {"learning_rate": 0.01, "weight_decay": 0.01, "epsilon": 1e-8, **TORCH_FORM}),
    ),
    "adamw_no_eps": (
        "AdamW",
        {"lr": 0.01, "eps": 1e-30, "weight_decay": 0.1},
        ("AdamW", {"learning_rate": 0.01, "epsilon": 1e-30, "weight_decay": 0.1}),
    ),
    "nadam": (
        "NAdam",
        {"lr": 0.01},
        ("Nadam", {"learning_rate": 0.01, "momentum_decay": 0.004, "epsilon": 1e-8, **TORCH_FORM}),
    ),
    "nadam_no_eps": (
        "NAdam",
        {"lr": 0.01, "eps": 1e-30, "momentum_decay": 1.0},
        ("Nadam", {"learning_rate": 0.01, "epsilon": 1e-30}),
    ),
    "adamax": ("Adamax", {"lr": 0.01}, ("Adamax", {"learning_rate": 0.01, "epsilon": 1e-8, **TORCH_FORM})),
    "adamax_no_eps": ("Adamax", {"lr": 0.01, "eps": 1e-30}, ("Adamax", {"learning_rate": 0.01, "epsilon": 1e-30})),
    "rmsprop": (
        "RMSprop",
        {"lr": 0.01},
        ("RMSprop", {"learning_rate": 0.01, "rho": 0.99, "epsilon": 1e-8, **TORCH_FORM}),
    ),
    "rmsprop_no_eps": (
        "RMSprop",
        {"lr": 0.01, "alpha": 0.9, "eps": 1e-30, "momentum": 0.5},
        ("RMSprop", {"learning_rate": 0.01, "rho": 0.9, "epsilon": 1e-30, "momentum": 0.5}),
    ),
    "rmsprop_centered": (
        "RMSprop",
        {"lr": 0.01, "centered": True, "momentum": 0.5},
        (
            "RMSprop",
            {"learning_rate": 0.01, "rho": 0.99, "epsilon": 1e-8, "centered": True, "momentum": 0.5, **TORCH_FORM},
        ),
    ),
    "adadelta": ("Adadelta", {}, ("Adadelta", {"learning_rate": 1.0, "rho": 0.9, "epsilon": 1e-6})),
    "adagrad": (
        "Adagrad",
        {"lr": 0.1},
        ("Adagrad", {"learning_rate": 0.1, "initial_accumulator_value": 0.0, "epsilon": 1e-10, **TORCH_FORM}),
    ),
    "adagrad_decay": (
        "Adagrad",
        {"lr": 0.1, "lr_decay": 0.1},
        (
            "Adagrad",
            {
                "learning_rate": ("InverseTimeDecay", (0.1, 1, 0.1)),
                "initial_accumulator_value": 0.0,
                "epsilon": 1e-10,
                **TORCH_FORM,
            },
        ),
    ),
    "adagrad_no_eps": (
        "Adagrad",
        {"lr": 0.1, "eps": 1e-30, "initial_accumulator_value": 0.1},
        ("Adagrad", {"learning_rate": 0.1, "epsilon": 1e-30, "initial_accumulator_value": 0.1}),
    ),
}


# ---------------------------------------------------------------------------------------------------- penalties
# name -> (class, arguments, shape of the weight)
REGULARIZERS = {
    "l1": ("L1", {"l1": 0.03}, (5, 4)),
    "l1_default": ("L1", {}, (7,)),
    "l2": ("L2", {"l2": 0.03}, (3, 3, 2, 4)),
    "l2_default": ("L2", {}, (5, 4)),
    "l1_l2": ("L1L2", {"l1": 0.02, "l2": 0.05}, (5, 4)),
    "orthogonal_rows": ("OrthogonalRegularizer", {"factor": 0.3, "mode": "rows"}, (5, 4)),
    "orthogonal_columns": ("OrthogonalRegularizer", {"factor": 0.3, "mode": "columns"}, (5, 4)),
}
CONSTRAINTS = {
    "max_norm": ("MaxNorm", {"max_value": 1.1}, (5, 4)),
    "max_norm_filters": ("MaxNorm", {"max_value": 0.9, "axis": [0, 1, 2]}, (3, 3, 2, 4)),
    "non_neg": ("NonNeg", {}, (5, 4)),
    "unit_norm": ("UnitNorm", {"axis": 1}, (5, 4)),
    "min_max_norm": ("MinMaxNorm", {"min_value": 1.0, "max_value": 1.2}, (5, 4)),
    "min_max_norm_soft": (
        "MinMaxNorm",
        {"min_value": 1.0, "max_value": 1.2, "rate": 0.4, "axis": [0, 1, 2]},
        (3, 3, 2, 4),
    ),
}


def penalized(shape):
    return rand(950 + len(shape), shape)


# ---------------------------------------------------------------------------------------------------- images
AFFINE = {
    f"{interpolation}_{mode}": {"interpolation": interpolation, "fill_mode": mode, "fill_value": 0.25}
    for interpolation in ("bilinear", "nearest")
    for mode in ("constant", "nearest", "wrap", "reflect")
}


def affine_images():
    """(images, transforms): rotations, zooms and shifts that reach beyond the borders."""
    x, m = rand(90, (5, 6, 7, 2)), np.zeros((5, 8))
    m[:, [0, 1, 3, 4]] = rand(91, (5, 4), -0.6, 0.6) + np.array([1, 0, 0, 1])
    m[:, [2, 5]] = rand(92, (5, 2), -4, 4)
    return x, m
