"""What all optimizers share: settings, the table of what changes per step, and the list of kernels of a step.

An optimizer holds no arrays of a model. It says
  - which flat arrays it wants beside parameters and gradients, all of one layout: `buffers(ranges)`,
  - which kernels make one step over given ranges of them: `program(ranges)`,
  - what changes from step to step, a row of float64 for each: `hyper(first, steps)`.
The trainer allocates, binds and runs; `apply` does the same for a list of NumPy arrays.
"""

import re
from typing import NamedTuple

import numpy as np

from fastnn import _core, graph
from fastnn.optimizers import schedules
from fastnn.optimizers.schedules.schedule import evaluate
from fastnn.utils.checks import boolean, number
from fastnn.variables import Variable

BLOCK = 4096  # elements of a task: FN_UPDATE_BLOCK
L2, TORCH = 1, 2  # FN_UPDATE_L2, FN_UPDATE_TORCH


class Range(NamedTuple):
    """Parameters [offset, offset + size) of the flat store that share their settings."""

    offset: int
    size: int
    learning_rate_factor: float = 1.0
    weight_decay: bool = True
    #: of the variable, for methods that look at its rows and columns or go by its name
    shape: tuple = ()
    path: str = ""
    apart: bool = False  # has records of its own


class Operand(NamedTuple):
    """Element `offset` of the array that plays `role`."""

    role: str
    offset: int


class Record(NamedTuple):
    """One kernel of a step: operands[j] is an Operand or None; hyper columns are numbers within `ints`."""

    kernel: str
    operands: tuple
    ints: tuple
    reals: tuple
    cost: float


class Buffer(NamedTuple):
    """An array the trainer keeps for the optimizer: dtype None means the parameters', initial None their values."""

    size: int
    dtype: type | None = None
    initial: float | None = 0.0
    saved: bool = True


class Optimizer:
    """Base class. Roles of arrays: "param", "grad", the names in `slot_names`, and those of `buffers`.

    learning_rate: float, a LearningRateSchedule, or a callable without arguments.
    weight_decay: decoupled, p <- p - learning_rate * weight_decay * p before the update (for every optimizer, as
    in Keras); with weight_decay_form="l2" added to the gradient instead, g <- g + weight_decay * p.
    clipnorm (per variable), global_clipnorm, clipvalue: at most one of them.
    use_ema: keeps average = ema_momentum * average + (1 - ema_momentum) * p (role "average"), and puts it in the
    place of the parameters every ema_overwrite_frequency steps.
    loss_scale_factor: fit and train_on_batch multiply the loss by it before they take gradients (not the one they
    tell), and every update divides its gradients by it.
    gradient_accumulation_steps: an update every so many steps, with the mean of their gradients.
    form="torch" (fastnn's own): PyTorch's formulas; weight decay is then L2 unless weight_decay_form says otherwise.
    """

    #: the name where none is given; None: the class's in snake case
    default_name = None
    slot_names = ()
    #: arrays like slots whose contents a step need not find again
    scratch_names = ()
    #: columns of `hyper`: the method's own; those of accumulation and averaging follow
    method_columns = ("learning_rate",)
    #: whether an update looks at a variable as a whole, so that neighbours must not be made one
    by_variable = False
    _forms = ("keras", "torch")
    #: whether an update needs the loss of all samples at several points: `fastnn.optimizers.full_batch`
    full_batch = False

    def __init__(
        self,
        learning_rate,
        weight_decay=None,
        clipnorm=None,
        clipvalue=None,
        global_clipnorm=None,
        use_ema=False,
        ema_momentum=0.99,
        ema_overwrite_frequency=None,
        loss_scale_factor=None,
        gradient_accumulation_steps=None,
        name=None,
        form="keras",
        weight_decay_form=None,
        **kwargs,
    ):
        cls = type(self).__name__
        if kwargs:
            hint = "; use a schedule, e.g. learning_rate=InverseTimeDecay(...)" if "decay" in kwargs else ""
            raise ValueError(f"{cls}: unknown argument(s) {', '.join(sorted(kwargs))}{hint}")
        if form not in self._forms:
            raise ValueError(f"{cls}: form must be one of {', '.join(map(repr, self._forms))}, got {form!r}")
        if weight_decay_form not in (None, "decoupled", "l2"):
            raise ValueError(f"{cls}: weight_decay_form must be 'decoupled' or 'l2', got {weight_decay_form!r}")
        self.name = name or self.default_name or re.sub(r"(?<=[a-z])(?=[A-Z])", "_", cls).lower()
        self.form = form
        self._weight_decay_form = weight_decay_form
        self.weight_decay = self._optional("weight_decay", weight_decay, least=0)
        self.clipnorm = self._optional("clipnorm", clipnorm, least=0)
        self.clipvalue = self._optional("clipvalue", clipvalue, least=0)
        self.global_clipnorm = self._optional("global_clipnorm", global_clipnorm, least=0)
        if sum(c is not None for c in (clipnorm, clipvalue, global_clipnorm)) > 1:
            raise ValueError(
                f"{cls}: only one of clipnorm, clipvalue and global_clipnorm can be set, got clipnorm={clipnorm}, "
                f"clipvalue={clipvalue}, global_clipnorm={global_clipnorm}"
            )
        self.use_ema = self._flag("use_ema", use_ema)
        self.ema_momentum = number(cls, "ema_momentum", ema_momentum, least=0, most=1)
        self.ema_overwrite_frequency = self._count("ema_overwrite_frequency", ema_overwrite_frequency, 1)
        self.loss_scale_factor = self._optional("loss_scale_factor", loss_scale_factor, above=0)
        self.gradient_accumulation_steps = self._count("gradient_accumulation_steps", gradient_accumulation_steps, 2)
        #: steps made since training began, those that only accumulate included
        self.step_count = 0
        self._undecayed, self._undecayed_names = set(), None
        self._learning_rate = None
        self.learning_rate = learning_rate
        self._arrays = None

    # ---- settings ----

    #: attributes that change as training goes on, without any setting having changed
    _running = frozenset(("step_count", "_arrays", "settings_version"))
    settings_version = 0

    def __setattr__(self, name, value):
        object.__setattr__(self, name, value)
        if name not in self._running:
            object.__setattr__(self, "settings_version", self.settings_version + 1)
            if name not in ("learning_rate", "_learning_rate"):
                graph.touch()  # compiled steps hold the other settings as constants

    @property
    def rate_is_called(self):
        """Whether the learning rate is a function without arguments, to be called before every step."""
        return callable(self._learning_rate) and not isinstance(self._learning_rate, schedules.LearningRateSchedule)

    def _number(self, name, value, **bounds):
        return number(type(self).__name__, name, value, **bounds)

    def _optional(self, name, value, **bounds):
        return None if value is None else self._number(name, value, **bounds)

    def _flag(self, name, value):
        return boolean(type(self).__name__, name, value)

    def _count(self, name, value, least):
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
            raise ValueError(f"{type(self).__name__}: {name} must be an integer >= {least} or None, got {value!r}")
        return int(value)

    @property
    def learning_rate(self):
        """The rate of the coming step; may be set between steps unless it is a schedule."""
        return float(self._rates(np.array([self.step_count]))[0])

    @learning_rate.setter
    def learning_rate(self, value):
        if isinstance(value, schedules.LearningRateSchedule) or callable(value):
            self._learning_rate = value
        elif isinstance(self._learning_rate, schedules.LearningRateSchedule):
            raise TypeError(
                f"{type(self).__name__}: learning_rate is a schedule and cannot be set to {value!r}; make the "
                "optimizer with a float learning_rate to set it during training"
            )
        else:
            if isinstance(value, np.ndarray) and value.size == 1:
                value = value.item()
            self._learning_rate = self._number("learning_rate", value, least=0)

    @property
    def iterations(self):
        """Updates made since training began."""
        return self.step_count // (self.gradient_accumulation_steps or 1)

    @iterations.setter
    def iterations(self, value):
        self.step_count = int(value) * (self.gradient_accumulation_steps or 1)

    @property
    def weight_decay_form(self):
        """ "decoupled" or "l2"."""
        return self._weight_decay_form or ("l2" if self.form == "torch" else "decoupled")

    def exclude_from_weight_decay(self, var_list=None, var_names=None):
        """No decay for these variables, or for those whose name matches one of the regular expressions."""
        self._undecayed = {id(v) for v in var_list or ()}
        self._undecayed_names = re.compile("|".join(sorted(set(var_names)))) if var_names else None

    def decays(self, variable):
        """Whether weight decay applies to a variable (an object with a `name`)."""
        return self.weight_decay is not None and self._may_decay(variable)

    def _may_decay(self, variable):
        if id(variable) in self._undecayed:
            return False
        return self._undecayed_names is None or not self._undecayed_names.search(str(getattr(variable, "name", "")))

    # ---- what changes per step ----

    @property
    def hyper_columns(self):
        """Names of the columns of `hyper`."""
        columns = self.method_columns
        if self.gradient_accumulation_steps:
            columns += ("update", "first")
        if self.use_ema:
            columns += ("ema_momentum", "ema_overwrite")
        return columns

    @property
    def hyper_width(self):
        return len(self.hyper_columns)

    def _column(self, name):
        return self.hyper_columns.index(name) if name in self.hyper_columns else 0

    def _rates(self, steps):
        rate = self._learning_rate
        if isinstance(rate, schedules.LearningRateSchedule):
            rates = evaluate(rate, steps)
            return self._within("learning_rate", rates, steps, (rates >= 0) & (rates < np.inf), ">= 0 and finite")
        if callable(rate):
            rate = rate()
            rate = rate.item() if isinstance(rate, np.ndarray) and rate.size == 1 else rate
            rate = self._number("learning_rate", rate, least=0)
        return np.full(len(steps), rate)

    def _within(self, name, values, steps, good, wanted):
        """The values of a schedule, which must be `wanted` at all steps."""
        if not good.all():
            at = int(np.argmin(good))
            raise ValueError(f"{type(self).__name__}: {name} must be {wanted}, got {values[at]} at step {steps[at]}")
        return values

    def hyper(self, first, steps):
        """Rows for steps first .. first+steps-1 (counted as step_count): float64 (steps, hyper_width).

        A pure function of the step and the settings: the same row, however the steps are cut into calls.
        """
        raw = np.arange(first, first + steps)
        every = self.gradient_accumulation_steps or 1
        iteration = raw // every
        table = dict(zip(self.method_columns, self._method_hyper(raw, iteration + 1.0), strict=True))
        if self.gradient_accumulation_steps:
            table["update"] = (raw + 1) % every == 0
            table["first"] = raw % every == 0
        if self.use_ema:
            table["ema_momentum"] = np.where(iteration > 0, self.ema_momentum, 0.0)
            table["ema_overwrite"] = (iteration + 1) % (self.ema_overwrite_frequency or 1) == 0
        out = np.empty((steps, len(table)))
        for j, values in enumerate(table.values()):
            out[:, j] = values
        return out

    def _method_hyper(self, raw, t):
        """Columns `method_columns` for steps `raw`; t = 1, 2, ... numbers the updates."""
        return (self._rates(raw),)

    # ---- which kernels, on which arrays ----

    def _method(self):
        """(kernel, flags, constants f[4:]) of this optimizer."""
        raise NotImplementedError(f"{type(self).__name__} must define _method()")

    @property
    def skips_zeros(self):
        """Whether a gradient of zeros is no update: of a table, only the rows that a step has looked up are then
        touched, by the kernel of the method's name and "_rows"."""
        whole = self.weight_decay or self.clipnorm or self.global_clipnorm or self.gradient_accumulation_steps
        return not (self.full_batch or whole or self.use_ema) and self._method()[0] in ("sgd", "adagrad")

    def slot_initial(self, name):
        """The value that fills a slot before the first step; None: the parameters' own."""
        return 0.0

    def buffers(self, ranges):
        """Arrays to keep beside parameters and gradients, by role. `saved`: part of the optimizer's state."""
        size = max((r.offset + r.size for r in ranges), default=0)
        out = {name: Buffer(size, None, self.slot_initial(name)) for name in self.slot_names}
        out |= {name: Buffer(size, saved=False) for name in self.scratch_names}
        if self.gradient_accumulation_steps:
            out["gradient_accumulator"] = Buffer(size)
        if self.use_ema:
            out["average"] = Buffer(size, initial=None)
        if self.clipnorm or self.global_clipnorm:
            ranges = self._merged(ranges)
            out["norm_partials"] = Buffer(sum(blocks(r.size) for r in ranges), np.float64, saved=False)
            out["clip_factors"] = Buffer(2 * len(ranges), np.float64, saved=False)
        return out

    def _merged(self, ranges):
        """Neighbours with the same settings as one: what lies between them is padding and stays zero."""
        out, apart = [], self.clipnorm or self.by_variable
        for r in sorted((r for r in ranges if r.size > 0), key=lambda r: r.offset):
            last = out[-1] if out else None
            near = last is not None and 0 <= r.offset - (last.offset + last.size) < 16
            if near and not (apart or r.apart or last.apart) and r[2:4] == last[2:4]:
                out[-1] = last._replace(size=r.offset + r.size - last.offset)
            else:
                out.append(r)
        return out

    def program(self, ranges, merge=True):
        """The kernels of one step, in order, over `ranges` (one a variable; neighbours are merged).

        Ranges must not overlap, and padding between them (fewer than 16 elements) must be zero in every array.
        """
        ranges = self._merged(ranges) if merge else [r for r in ranges if r.size > 0]
        _, flags, constants = self._method()
        every = self.gradient_accumulation_steps or 1
        grad, update = "grad", self._column("update")
        scale = 1.0 / every / (self.loss_scale_factor or 1.0)
        if self.weight_decay and self.weight_decay_form == "l2":
            flags |= L2
        torch = TORCH if self.form == "torch" else 0
        out = []
        if every > 1:
            grad = "gradient_accumulator"
            for r in ranges:
                operands = (Operand(grad, r.offset), Operand("grad", r.offset))
                out.append(Record("accumulate", operands, (r.size, self._column("first")), (), cost(r.size, 3)))
        limit, at, partials = self.clipnorm or self.global_clipnorm, 0, []
        if limit:
            for r in ranges:
                operands = (Operand("norm_partials", at), Operand(grad, r.offset))
                out.append(Record("gradient_norm", operands, (r.size, update), (), cost(r.size, 1)))
                partials.append((at, blocks(r.size)))
                at += blocks(r.size)
            for j, (start, count) in enumerate(partials if self.clipnorm else [(0, at)]):
                operands = (Operand("clip_factors", 2 * j), Operand("norm_partials", start))
                out.append(Record("clip_factor", operands, (count, torch), (limit, scale), 5.0 + count))
        for j, r in enumerate(ranges):
            factor = Operand("clip_factors", 2 * j if self.clipnorm else 0) if limit else None
            decay = self.weight_decay if r.weight_decay and self.weight_decay else 0.0
            reals = (r.learning_rate_factor, decay, scale, self.clipvalue or 0.0, *constants)
            out += self._update(r, Operand(grad, r.offset), factor, (r.size, flags, update), reals)
        if self.use_ema:
            overwrite = self._column("ema_overwrite") if self.ema_overwrite_frequency else 0
            for r in ranges:
                operands = (Operand("average", r.offset), Operand("param", r.offset))
                ints = (r.size, self._column("ema_momentum"), overwrite)
                out.append(Record("ema", operands, ints, (), cost(r.size, 3)))
        return out

    def _update(self, r, grad, factor, ints, reals):
        """The records that update a range: by default one, of the method's kernel. factor: of the clip, or None."""
        return [self._pass(self._method()[0], r, grad, self.slot_names, factor, ints, reals)]

    def _pass(self, kernel, r, grad, names, factor, ints, reals):
        """A record of an update kernel on a range of the parameters, with `names` for its slots."""
        operands = [Operand("param", r.offset), grad, *(Operand(name, r.offset) for name in names)]
        if factor is not None:
            operands += [None] * (8 - len(operands)) + [factor]
        return Record(kernel, tuple(operands), ints, reals, cost(r.size, 3 + 2 * len(names)))

    # ---- NumPy arrays ----

    def build(self, variables):
        """Names the variables that `apply` will be given when called with gradients alone."""
        object.__setattr__(self, "_variables", list(variables))

    def apply(self, grads, trainable_variables=None):
        """One step on a list of NumPy arrays or Variables, in place (Keras' order of arguments: gradients first).

        The arrays must be C-contiguous, of one dtype (float32 or float64), and the same in number, order and shape
        in every call: the optimizer keeps its slots for them.
        """
        where = f"{type(self).__name__}.apply"
        trainable_variables = list(
            getattr(self, "_variables", ()) if trainable_variables is None else trainable_variables
        )
        grads = list(grads)
        params = [v.value if isinstance(v, Variable) else v for v in trainable_variables]
        if len(grads) != len(params) or not params:
            raise ValueError(f"{where}: as many gradients as variables are needed, got {len(grads)} and {len(params)}")
        for j, (g, p) in enumerate(zip(grads, params, strict=True)):
            for name, x in (("gradient", g), ("variable", p)):
                if not isinstance(x, np.ndarray):
                    raise TypeError(f"{where}: {name} {j} must be a numpy array, got {type(x).__name__}")
                if x.dtype not in (np.float32, np.float64) or x.dtype != params[0].dtype:
                    raise TypeError(
                        f"{where}: all arrays must be float32 or all float64, got {x.dtype} for {name} {j} "
                        f"and {params[0].dtype} for variable 0"
                    )
                if not x.flags.c_contiguous:
                    raise ValueError(f"{where}: {name} {j} must be C-contiguous; copy it with numpy.ascontiguousarray")
            if not (g.flags.aligned and p.flags.aligned):
                raise ValueError(f"{where}: gradient and variable {j} must be aligned to their dtype; copy them once")
            if g.shape != p.shape:
                raise ValueError(f"{where}: gradient {j} must have its variable's shape {p.shape}, got {g.shape}")
            if not p.flags.writeable:
                raise ValueError(f"{where}: variable {j} is read-only; pass a writable array")
            if np.may_share_memory(g, p):
                raise ValueError(f"{where}: gradient {j} must not share memory with its variable")
        shapes = [p.shape for p in params]
        if self._arrays is None:
            self._arrays = _Arrays(self, params, trainable_variables)
        elif self._arrays.shapes != shapes or self._arrays.dtype != params[0].dtype:
            raise ValueError(
                f"{where}: the optimizer keeps state for {len(self._arrays.shapes)} variables of shapes "
                f"{self._arrays.shapes} ({self._arrays.dtype}), got {shapes} ({params[0].dtype}); "
                "use a new optimizer for other variables"
            )
        self._arrays.step(self, grads, params, trainable_variables)
        self.step_count += 1

    def apply_gradients(self, grads_and_vars):
        """One step on pairs (gradient, variable) of NumPy arrays; returns the number of steps made."""
        pairs = list(grads_and_vars)
        self.apply([g for g, _ in pairs], [v for _, v in pairs])
        return self.step_count

    def finalize_variable_values(self, var_list):
        """Puts the averages in the place of the variables (a list of arrays given to `apply`), if use_ema."""
        if self.use_ema and self._arrays is not None:
            for j, value in self._arrays.views("average"):
                array = var_list[j].value if isinstance(var_list[j], Variable) else var_list[j]
                array[...] = value

    def state(self):
        """What `apply` keeps: {"step_count": int, role: one array per variable}."""
        out = {"step_count": self.step_count}
        for role, buffer in self._arrays.kept.items() if self._arrays else ():
            if buffer.saved:
                out[role] = [value.copy() for _, value in self._arrays.views(role)]
        return out

    def set_state(self, state, trainable_variables):
        """Takes up what `state` gave, for these variables."""
        trainable_variables = list(trainable_variables)
        arrays = _Arrays(self, [getattr(v, "value", v) for v in trainable_variables], trainable_variables)
        for role, buffer in arrays.kept.items():
            if not buffer.saved:
                continue
            if role not in state or len(state[role]) != len(arrays.shapes):
                raise ValueError(f"{type(self).__name__}.set_state: no {role!r} for {len(arrays.shapes)} variables")
            for (j, value), new in zip(arrays.views(role), state[role], strict=True):
                if np.shape(new) != value.shape:
                    where = f"{type(self).__name__}.set_state"
                    raise ValueError(f"{where}: {role} {j} must have shape {value.shape}, got {np.shape(new)}")
                value[...] = new
        self._arrays, self.step_count = arrays, int(state["step_count"])

    # ---- configuration ----

    def get_config(self):
        """Arguments from which `from_config` makes an equal optimizer; fastnn's own only where not the default, so
        that Keras can read the rest."""
        rate = self._learning_rate
        config = {
            "name": self.name,
            "learning_rate": schedules.serialize(rate) if isinstance(rate, schedules.LearningRateSchedule) else rate,
            "weight_decay": self.weight_decay,
            "clipnorm": self.clipnorm,
            "global_clipnorm": self.global_clipnorm,
            "clipvalue": self.clipvalue,
            "use_ema": self.use_ema,
            "ema_momentum": self.ema_momentum,
            "ema_overwrite_frequency": self.ema_overwrite_frequency,
            "loss_scale_factor": self.loss_scale_factor,
            "gradient_accumulation_steps": self.gradient_accumulation_steps,
        }
        if self.form != "keras":
            config["form"] = self.form
        if self._weight_decay_form is not None:
            config["weight_decay_form"] = self._weight_decay_form
        return config

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        for name in ("learning_rate", "momentum"):
            if isinstance(config.get(name), dict):
                config[name] = schedules.deserialize(config[name], custom_objects)
        return cls(**config)

    def __repr__(self):
        shown = {k: v for k, v in self.get_config().items() if v is not None and k != "name"}
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in shown.items())})"


class _Arrays:
    """Slots for a list of NumPy arrays, and the records of a step bound to them."""

    def __init__(self, optimizer, params, variables):
        self.shapes, self.dtype = [p.shape for p in params], params[0].dtype
        self.ranges, at = [], 0
        for p, v in zip(params, variables, strict=True):
            self.ranges.append(Range(at, p.size, shape=p.shape, path=getattr(v, "path", "")))
            at += -(-p.size // 16) * 16
        self.variable = {r.offset: j for j, r in enumerate(self.ranges) if r.size > 0}
        self.kept = optimizer.buffers(self.ranges)
        if "clip_factors" in self.kept:  # every variable is a range of its own here
            count = sum(blocks(r.size) for r in self.ranges)
            self.kept["norm_partials"] = Buffer(count, np.float64, saved=False)
            self.kept["clip_factors"] = Buffer(2 * len(self.ranges), np.float64, saved=False)
        self.data = {}
        for role, buffer in self.kept.items():
            self.data[role] = _core.empty((max(buffer.size, 1),), buffer.dtype or self.dtype)
            if buffer.initial:
                for _, view in self.views(role):
                    view[...] = buffer.initial

    def views(self, role):
        """(number, view) for each variable's part of a kept array."""
        for j, (r, shape) in enumerate(zip(self.ranges, self.shapes, strict=True)):
            yield j, self.data[role][r.offset : r.offset + r.size].reshape(shape)

    def step(self, optimizer, grads, params, variables):
        hyper = optimizer.hyper(optimizer.step_count, 1)[0]
        ranges = [r._replace(weight_decay=optimizer.decays(v)) for r, v in zip(self.ranges, variables, strict=True)]
        given = {"param": params, "grad": grads}
        for record in optimizer.program(ranges, merge=False):
            operands = tuple(
                None
                if o is None
                else given[o.role][self.variable[o.offset]]
                if o.role in given
                else self.data[o.role][o.offset :]
                for o in record.operands
            )
            _core.run(
                record.kernel,
                self.dtype == np.float64,
                operands,
                record.ints,
                record.reals,
                cost=record.cost,
                hyper=hyper,
            )


def blocks(size):
    return -(-size // BLOCK)


def cost(size, streams):
    """Rough nanoseconds of a pass that moves `streams` numbers an element, out of L2."""
    return 10.0 + 0.06 * size * streams
