"""compile, fit, evaluate, predict: the part of a model that trains it.

A call prepares arrays, finds or makes the compiled `Step` for them, and hands runs of steps to C in chunks of some
50 ms, between which callbacks, the progress bar and Ctrl-C get their turn.
"""

import numpy as np

from fastnn import _core, config, graph, precision
from fastnn.graph import Spec
from fastnn.training import data as adapters
from fastnn.training.batches import Batches, is_batches, parts_of
from fastnn.training.criteria import Criteria
from fastnn.training.data import Arrays
from fastnn.training.step import DataForm, OptimizerState, Step
from fastnn.utils import checks, seeding, tree

CHUNK_SECONDS = 0.05
_PLANS = 8  # compiled steps kept


class Trainer(Criteria):
    """Mixed into Model."""

    _quiet = frozenset(
        "optimizer loss stop_training history _compiled _losses _seed _steps _state_of_optimizer _trackers "
        "_metrics_made _calls_made "
        "_hyper compile_config _initial_epoch _initial_batch metrics_list test_dtype".split()
    )

    def __init__(self):
        self.optimizer = None
        self.loss = None
        self.stop_training = False
        self.history = None
        self.compile_config = None
        self._compiled = False
        self._initial_epoch = self._initial_batch = 0  # where the next fit begins: set by BackupAndRestore
        self._forget_plans()
        self._state_of_optimizer = None
        self._seed = None
        self._hyper = None
        self._losses = None
        self._trackers = None
        self._metrics_made = None

    # ---- compile ----

    def compile(self, optimizer="rmsprop", loss=None, loss_weights=None, metrics=None, weighted_metrics=None,
                run_eagerly=False, steps_per_execution=1, jit_compile="auto", auto_scale_loss=True,
                matmul_precision=None):  # fmt: skip
        """Sets how the model is trained.

        Args:
            optimizer: name or object.
            loss: name, function (y_true, y_pred) or Loss; a list or dict of them for several outputs.
            loss_weights: factors of the outputs' losses in the sum.
            metrics, weighted_metrics: names, functions or Metrics (a list for each of several outputs); the second
                take sample weights into account.
            run_eagerly, steps_per_execution, jit_compile, auto_scale_loss: accepted for Keras' sake; every step is
                compiled here, and they cannot change a result.
            matmul_precision: fastnn's own: "highest", "high", "medium" or "highest_split", of all matrix products of
                training and prediction (see `fastnn.config.set_matmul_precision`); None: the process' setting.
        """
        from fastnn import losses as losses_module
        from fastnn import metrics as metrics_module
        from fastnn import optimizers

        if matmul_precision is not None:
            precision.check(matmul_precision, "compile")
        found = optimizers.get(optimizer)
        for one in tree.flatten(loss):
            if one is not None and not callable(one) and not losses_module.is_by_shape(one):
                losses_module.get(one)
        for one in _metric_names((metrics, weighted_metrics)):
            if not metrics_module.is_by_shape(one):
                metrics_module.get(one)
        for one in tree.flatten(loss_weights):
            if one is not None:
                checks.number("compile", "loss_weights", one)
        kept = found is self.optimizer  # as in Keras, an optimizer goes on where it was: its slots with its step count
        self.optimizer, self.loss = found, loss
        self._compile_loss_weights = loss_weights
        self._compile_metrics = (metrics, weighted_metrics)
        self.compile_config = {
            "optimizer": optimizer, "loss": loss, "loss_weights": loss_weights, "metrics": metrics,
            "weighted_metrics": weighted_metrics, "matmul_precision": matmul_precision,
        }  # fmt: skip
        self._compiled = True
        if not kept:
            self._state_of_optimizer = self._hyper = None
        self._forget_outputs()
        if self._seed is None:
            self._seed = seeding.next_seed()

    @property
    def compiled(self):
        return self._compiled

    @property
    def matmul_precision(self):
        """The precision of matrix products: what `compile` was told, else the process' setting."""
        return (self.compile_config or {}).get("matmul_precision") or config.matmul_precision()

    def _need_compile(self, where):
        if not self._compiled or self.loss is None:
            what = "compiled" if not self._compiled else "compiled with a loss"
            raise RuntimeError(f"{where}: the model must be {what} first: model.compile(optimizer=..., loss=...)")

    def _forget_plans(self):
        object.__setattr__(self, "_steps", {})
        object.__setattr__(self, "_calls_made", {})

    def _forget_outputs(self):
        """Losses, metrics and steps are made anew by the next call: the outputs they belong to have changed."""
        self._losses = self._trackers = self._metrics_made = None
        self._forget_plans()

    def _float_type(self, mixed=False):
        """The float type of the weights, of the layers where there are none; with `mixed`, the model's own where there
        are several, otherwise an error."""
        found = {v.dtype for v in self.weights if v.dtype in ("float32", "float64")}
        if len(found) > 1 and not mixed:
            raise TypeError(f"model {self.name!r}: all layers must have one dtype, got {' and '.join(sorted(found))}")
        if not found:
            found = {layer.dtype for layer in self._flatten_layers() if not isinstance(layer, Trainer)}
        return found.pop() if len(found) == 1 else self.dtype

    # ---- steps ----

    def _pack_inputs(self, x):
        """Inputs in the form that the model's call takes."""
        structure = getattr(self, "inputs_structure", None)
        if structure is not None:
            return tree.pack(structure, x)
        return x[0] if len(x) == 1 else list(x)

    def _specs_of(self, arrays):
        return [Spec((None, *a.shape[1:]), self._type_of(a)) for a in arrays]

    def _form(self, x, y=(), w=()):
        dtype = self._float_type()
        specs = self.input_specs() or self._specs_of(x)
        inner = [
            Spec(s.shape[1:] if None not in s.shape[1:] else a.shape[1:], dtype if s.dtype != "int32" else s.dtype)
            for s, a in zip(specs, x, strict=True)
        ]
        names = [f"x{j}" for j in range(len(x))]
        return DataForm(inner, names, [DataForm.spec(a, dtype) for a in y], [a is not None for a in w])

    def _step(self, mode, form, batch):
        """The compiled step for this data, made if need be."""
        for layer in self._stateful_layers():
            layer.prepare_states(batch)
        key = (mode, form.key)
        step = self._steps.get(key)
        if step is not None and step.version == graph.version() and step.capacity >= batch:
            return step
        try:
            step = Step(self, mode, form, batch)
        except ValueError as error:
            if any(None in s.shape[1:] for s in self.input_specs() or ()):
                error.add_note(
                    f"An Input of this model leaves a length open (None). Layers whose weights depend on it were built "
                    f"for {graph.ANY_LENGTH}: if it is always the same, say so in Input."
                )
            raise
        self._steps.pop(key, None)
        if len(self._steps) >= _PLANS:
            self._steps.pop(next(iter(self._steps)))
        self._steps[key] = step
        return step

    def _stateful_layers(self):
        return [layer for layer in self._flatten_layers() if getattr(layer, "stateful", False)]

    def reset_states(self):
        """Sets the states of stateful layers back to zeros."""
        for layer in self._stateful_layers():
            layer.reset_state()

    def _optimizer_state(self, store):
        state = self._state_of_optimizer
        if state is None:
            state = OptimizerState(self.optimizer, store)
        elif state.store is not store:
            state = state.move(store)
        self._state_of_optimizer = state
        return state

    def _hyper_rows(self):
        """(row, table) of the optimizer's settings for the coming step, from a table made some steps ahead."""
        optimizer = self.optimizer
        at = optimizer.step_count
        version, first, table = self._hyper or (None, 0, ())
        if version != optimizer.settings_version or not 0 <= at - first < len(table):
            first = at
            try:
                table = optimizer.hyper(at, 1 if optimizer.rate_is_called else 64)
            except ValueError:  # a schedule that is wrong later on may be right for this step
                table = optimizer.hyper(at, 1)
            object.__setattr__(self, "_hyper", (optimizer.settings_version, first, table))
        return at - first, table

    def _shuffled(self, epoch, rows):
        """The order of an epoch: a function of the model's seed and the epoch's number."""
        key = np.array([self._seed & 0xFFFFFFFFFFFFFFFF, epoch], dtype=np.uint64)
        return np.random.Generator(np.random.Philox(key=key)).permutation(rows)

    # ---- data ----

    def _input_arrays(self, x, where):
        names = self._known_input_names()
        if names is None:
            given = list(x) if isinstance(x, (list, tuple)) and len(x) and np.ndim(x[0]) > 1 else [x]
        else:
            given = adapters.as_list(x, names, "inputs", where)
        arrays = [adapters.as_rows(a, "x", where) for a in given]
        if self.input_specs() is None:
            if arrays[0].ndim == 1:
                arrays[0] = arrays[0].reshape(-1, 1)
            if self._trial[0] != graph.version():  # a call shows what outputs it has, and which inputs hold ids
                found = self._specs_of(arrays)
                self._build_by_trial(found[0] if len(found) == 1 else found)
        specs = self.input_specs()
        if specs is not None:
            for j, (a, s) in enumerate(zip(arrays, specs, strict=True)):
                wanted = s.shape[1:]
                if None in wanted and a.ndim == 1 + len(wanted):
                    wanted = tuple(n if d is None else d for d, n in zip(wanted, a.shape[1:], strict=True))
                if a.shape[1:] != wanted:
                    if a.ndim == 1 and wanted == (1,):
                        arrays[j] = a.reshape(-1, 1)
                        continue
                    hint = ""
                    if len(wanted) > 1 and a.shape[1:] == (wanted[-1], *wanted[:-1]) and wanted[-1] > 1:
                        hint = "; it looks channels first: numpy.moveaxis(x, 1, -1) puts the channels behind"
                    elif None not in wanted and int(np.prod(a.shape[1:])) == int(np.prod(wanted)):
                        hint = f"; x.reshape({(-1, *wanted)}) would fit"
                    raise ValueError(f"{where}: x must have shape {(None, *wanted)}, got {a.shape}{hint}")
        for a, ids in zip(arrays, self._ids(), strict=False):
            at = -1 if ids is None else _core.first_outside(a, ids)
            if at >= 0:
                raise ValueError(
                    f"{where}: x must hold ids in 0..{ids - 1} (the Embedding's input_dim is {ids}), got "
                    f"{a.ravel()[at]} at row {at // max(a[0].size, 1)}"
                )
        return arrays

    def _ids(self):
        """For each input the number of ids it may hold, None where it goes to no Embedding."""
        source = getattr(self, "_functional", None) or self
        nodes = source.__dict__.get("_nodes")
        return self._trial[3] if nodes is None else [_fewest_ids(nodes, t) for t in source._input_tensors]

    def _known_input_names(self):
        return self.input_names if self.input_specs() is not None else None

    def _dataset(self, x, y, sample_weight, where):
        xs = self._input_arrays(x, where)
        if y is None:
            raise ValueError(f"{where}: y is missing: targets are needed beside x")
        outputs = self.output_names
        given = self._per_output(self.loss, len(outputs), "loss")
        names = [n for n, one in zip(outputs, given, strict=True) if one is not None]
        y = adapters.with_losses(y, outputs, names)
        ys = [adapters.as_rows(a, "y", where) for a in adapters.as_list(y, names, "targets", where)]
        adapters.check_targets(ys, where)
        self._check_labels(ys, given, where)
        ys = [adapters.within_int32(y) for y in ys]
        weights = [None] * len(ys)
        if sample_weight is not None:
            many = isinstance(sample_weight, dict) or (isinstance(sample_weight, (list, tuple)) and len(names) > 1)
            found = (
                adapters.as_list(sample_weight, names, "sample weights", where) if many else [sample_weight] * len(ys)
            )
            for j, a in enumerate(found):
                if a is not None:
                    a = adapters.as_rows(a, "sample_weight", where)
                    weights[j] = a.reshape(len(a)) if a.size == len(a) else a
                    if weights[j].ndim != 1:
                        raise ValueError(f"{where}: sample_weight must have one entry a sample, got shape {a.shape}")
                    adapters.check_finite(weights[j], "sample_weight", where)
        return Arrays(xs, ys, weights, where)

    def _classes(self, j, losses=None):
        """Number of classes that the ids of the j-th target must be below, or None where they are no class ids."""
        losses = losses or [
            one for one in self._per_output(self.loss, len(self.output_names), "loss") if one is not None
        ]
        outputs = self._output_specs() or ()
        if len(outputs) != len(losses):
            return None
        loss = losses[j]
        name = loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__)
        if not any(w in name.lower() for w in ("sparse", "ctc")) or getattr(loss, "ignore_class", None) is not None:
            return None
        return outputs[j].shape[-1]

    def _check_labels(self, ys, losses, where):
        """Class ids must be among the output's classes."""
        losses = [one for one in losses if one is not None]
        for j, y in enumerate(ys):
            classes = self._classes(j, losses)
            at = -1 if classes is None else _core.first_outside(y, classes)
            if at >= 0:
                raise ValueError(
                    f"{where}: labels must be in 0..{classes - 1} (the model has {classes} outputs), "
                    f"got {y.ravel()[at]} at row {at // max(y[0].size, 1)}"
                )
            if classes is not None and y.dtype.kind == "f" and (at := adapters.first_fraction(y)) >= 0:
                raise ValueError(
                    f"{where}: labels must be whole numbers in 0..{classes - 1}, got {y.ravel()[at]} at row "
                    f"{at // max(y[0].size, 1)}; for probabilities use a loss without 'sparse' in its name"
                )

    def _output_specs(self):
        source = getattr(self, "_functional", None) or self
        return source.__dict__.get("_outputs") or self._trial[2]

    def _batch_size(self, batch_size, rows, where):
        if batch_size is None:
            batch_size = 32
        if isinstance(batch_size, bool) or not isinstance(batch_size, (int, np.integer)) or batch_size < 1:
            raise ValueError(f"{where}: batch_size must be a positive integer, got {batch_size!r}")
        batch_size = min(int(batch_size), rows)
        stateful = self._stateful_layers() if rows % batch_size else ()
        if stateful:
            raise ValueError(
                f"{where}: {stateful[0].name!r} is stateful: sample j of a batch goes on where it ended in the one "
                f"before, so all batches need one size, but {rows} samples do not divide into batches of {batch_size}"
            )
        return batch_size

    # ---- fit ----

    def fit(self, x=None, y=None, batch_size=None, epochs=1, verbose="auto", callbacks=None, validation_split=0.0,
            validation_data=None, shuffle=True, class_weight=None, sample_weight=None, initial_epoch=0,
            steps_per_epoch=None, validation_steps=None, validation_batch_size=None, validation_freq=1):  # fmt: skip
        """Trains for some epochs and returns the History.

        Args:
            x: an array (samples, ...), a list or dict of them for several inputs, or an iterable of batches
                (x, y) or (x, y, sample_weight).
            y: targets likewise.
            batch_size: samples a step (32). With LineSearch and LBFGS, which make one update an epoch from all
                samples: how many go through the network at a time (all).
            epochs: number of the last epoch; the first is `initial_epoch`.
            verbose: 0 silent, 1 bar, 2 a line an epoch, "auto": 1.
            callbacks: list of Callbacks.
            validation_split: fraction of the samples, taken from the end, that is validated on instead of trained on.
            validation_data: (x, y) or (x, y, sample_weight) to validate on after each epoch.
            shuffle: a new order of the samples each epoch.
            class_weight: {class: weight}, of training, not of validation.
            sample_weight: one weight a sample.
            steps_per_epoch: batches of an epoch, instead of all; the next epoch goes on where the last one ended.
            validation_steps: so many batches instead of all.
            validation_freq: validate every so many epochs, or after the epochs (from 1) of a list.
        """
        from fastnn.callbacks import CallbackList

        self._need_compile("fit")
        epochs = checks.integer("fit", "epochs", epochs, 0)
        initial_epoch = checks.integer("fit", "initial_epoch", initial_epoch, 0)
        if steps_per_epoch is not None:
            steps_per_epoch = checks.integer("fit", "steps_per_epoch", steps_per_epoch, 1)
        if validation_steps is not None:
            validation_steps = checks.integer("fit", "validation_steps", validation_steps, 1)
        _check_frequency(validation_freq)
        verbose = adapters.verbosity(verbose, "fit")
        batches, whole = None, self.optimizer.full_batch
        if y is None and not isinstance(x, (np.ndarray, list, tuple, dict)) and x is not None and is_batches(x):
            for name, given in (("sample_weight", sample_weight), ("validation_split", validation_split or None)):
                if given is not None:
                    raise ValueError(
                        f"fit: {name} is for arrays; batches are (x, y, sample_weight), and validation_data can be "
                        "batches too"
                    )
            batches = Batches(self, x, steps_per_epoch, class_weight)
            validation = self._validation(validation_data)
            steps = steps_per_epoch or (len(x) if hasattr(x, "__len__") else None)
        else:
            arrays = self._dataset(x, y, sample_weight, "fit")
            if validation_data is None and validation_split:
                arrays, validation = arrays.split(validation_split, "fit")
            else:
                validation = self._validation(validation_data)
            arrays.weigh(class_weight, "fit")
            batch = self._batch_size(arrays.rows if whole and batch_size is None else batch_size, arrays.rows, "fit")
            steps = 1 if whole else steps_per_epoch or -(-arrays.rows // batch)
            step = self._step("train", self._form(arrays.x, arrays.y, arrays.weights), batch)
            if whole:
                from fastnn.training.full_batch import FullBatchRun

                run = FullBatchRun(self, step, arrays, batch)
        list_of = CallbackList(
            callbacks,
            add_history=True,
            add_progbar=verbose != 0,
            model=self,
            verbose=verbose,
            epochs=epochs,
            steps=steps,
            validation_freq=validation_freq,
        )
        self.stop_training = False
        made = self.optimizer.step_count
        list_of.on_train_begin()
        first, begin = self._initial_epoch or initial_epoch, self._initial_batch
        self._initial_epoch = self._initial_batch = 0
        logs = {}
        for epoch in range(first, epochs):
            if begin == 0:  # else the sums of a restored epoch go on
                self.reset_metrics()
            list_of.on_epoch_begin(epoch)
            if batches is not None:
                logs = batches.epoch(list_of, begin)
            else:
                step = self._step("train", step.form, batch)  # a callback may have changed the model
                if whole:
                    logs = run.epoch(step, list_of)
                else:
                    for turn, first, last, number in _stretches(epoch * steps, steps, -(-arrays.rows // batch), begin):
                        order = self._shuffled(turn, arrays.rows) if shuffle else None
                        rows = min(last * batch, arrays.rows)
                        logs = self._run_epoch(step, arrays, batch, rows, order, list_of, first * batch, number)
                        if self.stop_training:
                            break
            begin = 0
            if validation is not None and _due(epoch, validation_freq):
                list_of.on_test_begin()
                found = self._evaluate(validation, validation_batch_size or batch_size, list_of, validation_steps)
                list_of.on_test_end(found)
                logs = {**logs, **{f"val_{k}": v for k, v in found.items()}}
            list_of.on_epoch_end(epoch, logs)
            if self.stop_training:
                break
        if self.optimizer.step_count != made:
            self._take_average()
        list_of.on_train_end(logs)
        self.history = list_of.history  # a callback may have called fit
        return self.history

    def _take_average(self):
        """An optimizer that averages weights leaves their average in the model when training ends."""
        state = self._state_of_optimizer
        if getattr(self.optimizer, "use_ema", False) and state is not None and "average" in state.buffers:
            for v in self.trainable_weights:
                if v in state.updated:
                    v.value[...] = state.store.view(state.buffers["average"], v)

    def _validation(self, given):
        if given is None:
            return None
        if is_batches(given):
            return given
        if not isinstance(given, (tuple, list)) or len(given) not in (2, 3):
            raise ValueError("fit: validation_data must be (x, y), (x, y, sample_weight) or an iterable of batches")
        return self._dataset(given[0], given[1], given[2] if len(given) == 3 else None, "fit: validation_data")

    def _run_epoch(self, step, arrays, batch, rows, order, list_of, done=0, number=0):
        """Steps through samples [done, rows) of `order`, from the epoch's batch `number` on."""
        data = [*arrays.x, *arrays.y, *arrays.weights]
        one_by_one = list_of is not None and list_of.has_train_batch_hooks
        hyper, start, made_for = (), 0, None
        number -= done // batch
        while done < rows:
            if one_by_one:
                list_of.on_train_batch_begin(number + done // batch)
                if step.version != graph.version():  # the callback changed the model
                    step = self._step("train", step.form, batch)
            optimizer = self.optimizer
            at, steps = optimizer.step_count, -(-(rows - done) // batch)
            settings = (optimizer, optimizer.settings_version)
            if made_for != settings or not 0 <= at - start <= len(hyper) - steps:
                hyper = optimizer.hyper(at, 1 if optimizer.rate_is_called else steps)
                start, made_for = at, settings
            single = one_by_one or optimizer.rate_is_called or self.stop_training
            end = min(done + batch, rows) if single else rows
            with step.core:
                step.bind(data)
                try:
                    step.core.run(done, end, batch, order=order, index=at, seed=self._seed, hyper=hyper[at - start :],
                                  seconds=CHUNK_SECONDS)  # fmt: skip
                finally:  # Ctrl-C comes when run has returned: its steps were made
                    optimizer.step_count = at + -(-step.core.done // batch)
            done += step.core.done
            if list_of is not None:
                last = number + (done - 1) // batch
                if one_by_one:
                    list_of.on_train_batch_end(last, self._logs())
                else:
                    list_of.on_train_chunk_end(last, self._logs() if done < rows else None)
            if self.stop_training:
                break
        return self._logs()

    def evaluate(self, x=None, y=None, batch_size=None, verbose="auto", sample_weight=None, steps=None, callbacks=None,
                 return_dict=False):  # fmt: skip
        """Loss and metrics on data, in test mode: the loss, or [loss, metrics ...], or a dict."""
        from fastnn.callbacks import CallbackList

        self._need_compile("evaluate")
        verbose = adapters.verbosity(verbose, "evaluate")
        if steps is not None:
            steps = checks.integer("evaluate", "steps", steps, 1)
        if y is None and x is not None and is_batches(x):
            if sample_weight is not None:
                raise ValueError("evaluate: sample_weight is for arrays; batches are (x, y, sample_weight)")
            data, count = x, len(x) if hasattr(x, "__len__") else None
        else:
            data = self._dataset(x, y, sample_weight, "evaluate")
            count = -(-data.rows // self._batch_size(batch_size, data.rows, "evaluate"))
        list_of = CallbackList(callbacks, add_progbar=verbose != 0, model=self, verbose=verbose, steps=steps or count)
        list_of.on_test_begin()
        logs = self._evaluate(data, batch_size, list_of, steps)
        list_of.on_test_end(logs)
        return logs if return_dict else _flat(logs)

    def _evaluate(self, arrays, batch_size, list_of, steps):
        self.reset_metrics()
        if isinstance(arrays, Arrays):
            self._test(arrays, batch_size, list_of, steps)
        else:
            for number, part in parts_of(arrays, steps, "evaluate"):
                list_of.on_test_batch_begin(number)
                part = self._dataset(*part, "evaluate")
                self._test(part, part.rows)
                list_of.on_test_batch_end(number, self._logs())
        return self._logs()

    def _test(self, arrays, batch_size=None, list_of=None, steps=None):
        batch = self._batch_size(batch_size, arrays.rows, "evaluate")
        step = self._step("test", self._form(arrays.x, arrays.y, arrays.weights), batch)
        data = [*arrays.x, *arrays.y, *arrays.weights]
        rows = arrays.rows if steps is None else min(arrays.rows, steps * batch)
        one_by_one = list_of is not None and list_of.has_test_batch_hooks
        done = 0
        while done < rows:
            if one_by_one:
                list_of.on_test_batch_begin(done // batch)
            end = min(done + batch, rows) if one_by_one else rows
            with step.core:
                step.bind(data)
                done += step.core.run(done, end, batch, seed=self._seed or 0, seconds=CHUNK_SECONDS)
            if one_by_one:
                list_of.on_test_batch_end((done - 1) // batch, self._logs())
            elif list_of is not None:
                list_of.on_test_chunk_end((done - 1) // batch, self._logs())

    def predict(self, x, batch_size=None, verbose=0, steps=None, callbacks=None):
        """The model's outputs for x, as arrays."""
        from fastnn.callbacks import CallbackList

        verbose = adapters.verbosity(verbose, "predict")
        if steps is not None:
            steps = checks.integer("predict", "steps", steps, 1)
        if not isinstance(x, (np.ndarray, list, tuple, dict)) and is_batches(x):
            count = steps or (len(x) if hasattr(x, "__len__") else None)
            list_of = CallbackList(callbacks, add_progbar=verbose not in (0, "auto"), model=self, verbose=verbose,
                                   steps=count)  # fmt: skip
            list_of.on_predict_begin()
            parts = []
            for number, part in parts_of(x, steps, "predict"):
                list_of.on_predict_batch_begin(number)
                parts.append(self.predict_on_batch(part[0]))
                list_of.on_predict_batch_end(number, {})
            list_of.on_predict_end()
            packed = [np.concatenate(leaves) for leaves in zip(*map(tree.flatten, parts), strict=True)]
            return tree.pack(tree.map_leaves(lambda t: None, parts[0]), packed)
        xs = self._input_arrays(x, "predict")
        rows = Arrays(xs, [], [], "predict").rows
        batch = self._batch_size(batch_size, rows, "predict")
        step = self._step("predict", self._form(xs), batch)
        if steps is not None:
            rows = min(rows, steps * batch)
        list_of = CallbackList(callbacks, add_progbar=verbose not in (0, "auto"), model=self, verbose=verbose,
                               steps=-(-rows // batch))  # fmt: skip
        list_of.on_predict_begin()
        outputs = [np.empty((rows, *v.shape[1:]), step.dtype) for v in step.outputs]
        one_by_one = list_of.has_predict_batch_hooks
        done = 0
        while done < rows:
            if one_by_one:
                list_of.on_predict_batch_begin(done // batch)
            end = min(done + batch, rows) if one_by_one else rows
            with step.core:
                step.bind(xs)
                step.bind_outputs(outputs)
                done += step.core.run(done, end, batch, seconds=CHUNK_SECONDS)
            if one_by_one:
                list_of.on_predict_batch_end((done - 1) // batch, {})
            else:
                list_of.on_predict_chunk_end((done - 1) // batch, {})
        list_of.on_predict_end()
        return tree.pack(step.structure, outputs)

    def _draw(self, x, count, batch_size, seed):
        """`count` predictions for x, (count, rows, ...), with random streams of `seed`: see monte_carlo_predict."""
        xs = self._input_arrays(x, "monte_carlo_predict")
        rows = Arrays(xs, [], [], "monte_carlo_predict").rows
        batch = self._batch_size(batch_size, rows, "monte_carlo_predict")
        step = self._step("predict", self._form(xs), batch)
        if len(step.outputs) != 1:
            raise ValueError(f"monte_carlo_predict: the model must have one output, {self.name!r} has several")
        out = np.empty((count, rows, *step.outputs[0].shape[1:]), step.dtype)
        for j in range(count):
            with step.core:
                step.bind(xs)
                step.bind_outputs([out[j]])
                step.core.run(0, rows, batch, index=j * -(-rows // batch), seed=seed)
        return out

    # ---- single batches ----

    def train_on_batch(self, x, y=None, sample_weight=None, class_weight=None, return_dict=False):
        """One update on these samples. Returns the running loss, or [loss, losses of several outputs ..., metrics ...]
        (see `reset_metrics`)."""
        optimizer = self.optimizer
        call = self._calls_made.get("train") if sample_weight is None and class_weight is None else None
        if call is None or call[1] != graph.version() or not self._call_train(call[0], x, y):
            self._need_compile("train_on_batch")
            arrays = self._dataset(x, y, sample_weight, "train_on_batch")
            arrays.weigh(class_weight, "train_on_batch")
            step = self._step("train", self._form(arrays.x, arrays.y, arrays.weights), arrays.rows)
            if optimizer.full_batch:
                from fastnn.training.full_batch import FullBatchRun

                logs, _ = FullBatchRun(self, step, arrays, arrays.rows).update()
                return logs if return_dict else _flat(logs)
            rows, hyper = self._hyper_rows()
            with step.core:
                step.bind([*arrays.x, *arrays.y, *arrays.weights])
                step.core.run(
                    0, arrays.rows, arrays.rows, index=optimizer.step_count, seed=self._seed,
                    hyper=hyper[rows : rows + 1],
                )  # fmt: skip
            self._calls_made["train"] = self._quick_call(step, arrays)
        optimizer.step_count += 1
        if return_dict:
            return self._logs()
        return self._short_loss() if not self._metrics_made else _flat(self._logs())

    def _call_train(self, call, x, y):
        row, hyper = self._hyper_rows()
        return call((x, y), self.optimizer.step_count, self._seed, hyper, row)

    def test_on_batch(self, x, y=None, sample_weight=None, return_dict=False):
        """Loss and metrics, running, with these samples added."""
        self._need_compile("test_on_batch")
        arrays = self._dataset(x, y, sample_weight, "test_on_batch")
        self._test(arrays, arrays.rows)
        logs = self._logs()
        return logs if return_dict else _flat(logs)

    def predict_on_batch(self, x):
        """The outputs for these samples in one step."""
        call = self._calls_made.get("predict")
        if call is not None and call[1] == graph.version():
            out = np.empty(call[2], call[3])
            if call[0]((x, out)):
                return out
        xs = self._input_arrays(x, "predict_on_batch")
        rows = len(xs[0])
        if rows == 0:
            raise ValueError("predict_on_batch: the data is empty (0 samples)")
        step = self._step("predict", self._form(xs), rows)
        outputs = [np.empty((rows, *v.shape[1:]), step.dtype) for v in step.outputs]
        with step.core:
            step.bind(xs)
            step.bind_outputs(outputs)
            step.core.run(0, rows, rows)
        if len(xs) == 1 and len(outputs) == 1 and step.structure is None:
            forms = [
                (_slot(step.slots[0]), 1, xs[0].dtype, xs[0].shape, (self._ids() or [None])[0]),
                (step.store_at, 0, outputs[0].dtype, outputs[0].shape, None),
            ]
            call = _core.Call(step.core, forms, rows)
            self._calls_made["predict"] = (call, step.version, outputs[0].shape, outputs[0].dtype)
        return tree.pack(step.structure, outputs)

    def _quick_call(self, step, arrays):
        """What train_on_batch uses for further batches of the same form: see `_core.Call`."""
        if len(arrays.x) != 1 or len(arrays.y) != 1 or arrays.weights[0] is not None:
            return None
        x, y = arrays.x[0], arrays.y[0]
        limit = 0 if y.dtype.kind == "f" else None
        classes = self._classes(0)
        if classes is not None:
            limit = classes
        if adapters.is_wide(y) if classes is None else y.dtype.kind == "f":
            return None  # the values are to be looked at each time
        forms = [
            (_slot(step.slots[0]), 1, x.dtype, x.shape, (self._ids() or [None])[0]),
            (_slot(step.slots[1]), 1, y.dtype, y.shape, limit),
        ]
        return _core.Call(step.core, forms, arrays.rows), step.version

    def _short_loss(self):
        """The running loss, without metrics."""
        if len(self._losses) > 1 or self._has_penalty or self._loss_factors[0] != 1.0:
            return _flat(self._logs())
        total, count = self._first_tracker.tolist()
        return total / count if count else 0.0

    # ---- looking at it ----

    def _any_step(self, mode, batch_size, where):
        """The compiled step for made-up data of the model's own shapes (those it has seen, if it has)."""
        for (known, _), step in self._steps.items():
            if known == mode and step.version == graph.version() and batch_size in (None, step.capacity):
                return step
        specs = self.input_specs()
        if specs is None:
            raise RuntimeError(f"{where}: the model is not built yet: call it on data, or give it an Input")
        batch = batch_size or 32
        xs = [
            np.zeros(
                (batch, *(graph.ANY_LENGTH if d is None else d for d in s.shape[1:])),
                np.int32 if s.dtype == "int32" else s.dtype,
            )
            for s in specs
        ]
        if mode == "predict":
            return self._step(mode, self._form(xs), batch)
        self._need_compile(where)
        ys = []
        losses = [one for one in self._per_output(self.loss, len(self.output_names), "loss") if one is not None]
        for j, t in enumerate(self._output_specs() or ()):
            classes = self._classes(j, losses)
            shape = t.shape[1:] if classes is None else t.shape[1:-1]
            ys.append(np.zeros((batch, *shape), t.dtype if classes is None else np.int32))
        return self._step(mode, self._form(xs, ys, [None] * len(ys)), batch)

    def plan(self, mode="train", batch_size=None):
        """The compiled step as a table: operations in order, shapes, places in memory, FLOPs, bytes."""
        from fastnn.training.inspection import PlanTable

        self._check_view(mode, batch_size, "plan")
        step = self._any_step(mode, batch_size, "plan")
        return PlanTable(step, batch_size or step.capacity)

    def profile(self, mode="train", batch_size=None, steps=50):
        """Runs the compiled step on random numbers (zeros for integers), on one thread and without changing the model,
        and returns the time of each operation with its share of the machine's ceiling, measured in the same call."""
        from fastnn.training.inspection import Profile, measure_ceiling

        self._check_view(mode, batch_size, "profile")
        step = self._any_step(mode, batch_size, "profile")
        samples = batch_size or step.capacity
        kept = self._everything()
        draw = np.random.default_rng(0).random  # between 0 and 1: images, probabilities and weights alike
        arrays = [
            None if v is None
            else np.zeros((samples, *v.shape[1:]), np.int32) if v.dtype == "int32"
            else draw((samples, *v.shape[1:])).astype(v.dtype)
            for v in [*step.inputs, *step.targets, *step.weights]
        ]  # fmt: skip
        best = None
        hyper = self.optimizer.hyper(self.optimizer.step_count, 1) if mode == "train" else None
        try:
            with step.core:
                step.bind(arrays)
                step.bind_outputs([np.empty((samples, *v.shape[1:]), step.dtype) for v in step.outputs])
                for _ in range(max(int(steps), 1)):
                    times = np.zeros(step.core.count)
                    step.core.run(0, samples, samples, seed=self._seed or 0, hyper=hyper, times=times)
                    best = times if best is None else np.minimum(best, times)
        finally:
            for array, values in kept:
                array[...] = values
        return Profile(step, samples, best, measure_ceiling(step.dtype))

    @staticmethod
    def _check_view(mode, batch_size, where):
        if mode not in ("train", "test", "predict"):
            raise ValueError(f"{where}: mode must be 'train', 'test' or 'predict', got {mode!r}")
        if batch_size is not None and (not isinstance(batch_size, (int, np.integer)) or batch_size < 1):
            raise ValueError(f"{where}: batch_size must be a whole number of samples from 1 on, got {batch_size!r}")

    def _everything(self):
        """All arrays that a step changes, with copies of their values."""
        arrays = [v.value for v in self.weights]
        if self._state_of_optimizer is not None:
            arrays += list(self._state_of_optimizer.buffers.values())
        arrays += [v.value for layer in self._stateful_layers() for v in layer.states or ()]
        if self._trackers:
            arrays += [t.variable.value for t in [*self._trackers.values(), self._penalty]]
        for m in self.metrics:
            arrays += [v.value for v in m.variables]
        return [(a, a.copy()) for a in arrays]


def _metric_names(given):
    """The names among compile's metrics: in lists, in dicts by output, but not in configs."""
    if isinstance(given, dict):
        given = [] if "class_name" in given else list(given.values())
    if isinstance(given, (list, tuple)):
        return [name for part in given for name in _metric_names(part)]
    return [given] if isinstance(given, str) else []


def _fewest_ids(nodes, tensor):
    """The smallest input_dim of the Embeddings among the nodes' layers that read a tensor."""
    found = []
    for node in nodes:
        layer = getattr(node.op, "layer", None)
        for j, t in enumerate(node.inputs if layer is not None else ()):
            if t is tensor:
                dims = layer._ids() if isinstance(layer, Trainer) else [getattr(layer, "ids", None)]
                found += [d for d in dims[j : j + 1] if d is not None]
    return min(found, default=None)


def _check_frequency(frequency):
    several = isinstance(frequency, (list, tuple, set))
    for one in frequency if several else [frequency]:
        checks.integer("fit", "validation_freq" + (" (an epoch of the list)" if several else ""), one, 1)


def _stretches(at, steps, total, begin):
    """An epoch's batches [at + begin, at + steps) of endlessly repeated passes over `total` batches: for each pass its
    number, its first batch, the batch behind its last, and the number in the epoch of the first."""
    number = begin
    while number < steps:
        turn, first = divmod(at + number, total)
        last = min(total, first + steps - number)
        yield turn, first, last, number
        number += last - first


def _due(epoch, frequency):
    return (epoch + 1) in frequency if isinstance(frequency, (list, tuple, set)) else (epoch + 1) % frequency == 0


def _slot(record):
    """The record that loads an array, -1 where the model does not read it."""
    return -1 if record is None else record


def _flat(logs):
    values = list(logs.values())
    return values[0] if len(values) == 1 else values
