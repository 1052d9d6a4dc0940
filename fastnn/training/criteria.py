"""What a training minimizes and what it measures: losses, penalties and metrics of a compiled model, traced into its
steps and read back as logs."""

import numpy as np

from fastnn import graph, ops
from fastnn.ops import core
from fastnn.ops.core import make
from fastnn.ops.image import take_samples
from fastnn.ops.nn import MeanSeed
from fastnn.training.step import RunningMean
from fastnn.variables import Variable


class Criteria:
    """Mixed into Trainer, whose compile() says which losses and metrics there are."""

    def _per_output(self, given, count, what):
        """One entry for each output, from a single one, a list or a dict by output name."""
        names = self.output_names
        if isinstance(given, dict):
            unknown = set(given) - set(names)
            if unknown:
                raise ValueError(f"compile: {what} names {sorted(unknown)}, but the outputs are {names}")
            return [given.get(n) for n in names]
        if isinstance(given, (list, tuple)):
            if len(given) != count:
                raise ValueError(f"compile: {what} must have one entry for each of {count} outputs, got {len(given)}")
            return list(given)
        return [given] * count

    def _prepare_losses(self, targets, outputs):
        from fastnn import losses as losses_module

        if self._losses is None:
            count, left = len(outputs), iter(targets)
            self._losses = [
                None if x is None else losses_module.resolve(x, next(left).shape, y_pred.shape)
                for x, y_pred in zip(self._per_output(self.loss, count, "loss"), outputs, strict=True)
            ]
            weights = self._per_output(self._compile_loss_weights, count, "loss_weights")
            self._loss_factors = [1.0 if f is None else float(f) for f in weights]
            names = self.output_names
            self._trackers = {
                n: RunningMean(f"{n}_loss") for n, x in zip(names, self._losses, strict=False) if x is not None
            }
            self._penalty = RunningMean("penalty")
            object.__setattr__(self, "_first_tracker", next(iter(self._trackers.values())).variable.value)
        return self._losses

    def _add_losses(self, targets, outputs, weights, trace):
        """Traces the losses; pairs (tensor, gradient) for differentiation."""
        from fastnn.losses import weighted_mean

        found = self._prepare_losses(targets, outputs)
        seeds, at = [], 0
        scale = self.optimizer.loss_scale_factor or 1.0 if trace.training else 1.0  # updates divide by it
        for name, loss, factor, y_pred in zip(self.output_names, found, self._loss_factors, outputs, strict=True):
            if loss is None:
                continue
            y, w = targets[at], weights[at]
            at, factor = at + 1, factor * scale
            per_sample, share, of_batch = loss.samples(y, y_pred)
            if trace.mixture is not None:
                per_sample = _mixed(per_sample, loss, y, y_pred, trace.mixture)
            dtype = per_sample.dtype
            weighted = per_sample if w is None else ops.multiply(per_sample, w)
            value = None
            if loss.reduction == "mean_with_sample_weight" and not (w is None and share is None):
                weight = share if w is None else w if share is None else ops.multiply(w, share)
                value = weighted_mean(weighted, weight)
            elif loss.reduction == "sum" and of_batch and w is None:
                value = ops.mean(per_sample)
            if value is not None:
                self._trackers[name].add_scalar(value)
                seeds.append((value, graph.constant(np.full((), factor), dtype)))
                continue
            mean = loss.reduction != "sum"
            if mean:
                self._trackers[name].add(weighted)
            else:
                self._trackers[name].add_scalar(ops.sum(weighted))
            seed = make(MeanSeed((None,), dtype, factor, mean), *([w] if w is not None else []))[0]
            seeds.append((per_sample, seed))
        penalties = list(trace.losses)
        for v in self.trainable_weights:
            if v.regularizer is not None:
                penalties.append(core.as_tensor(v.regularizer(trace.leaf(v)), v.dtype))  # it may be a mere number
        self._has_penalty = bool(penalties)
        if penalties:
            total = penalties[0]
            for p in penalties[1:]:
                total = ops.add(total, p)
            if total.shape != ():
                total = ops.sum(total)
            self._penalty.add_scalar(total)
            seeds.append((total, graph.constant(np.full((), scale), total.dtype)))
        return seeds

    def _prepare_metrics(self, targets, outputs):
        """[(output position, name in logs, metric, weighted)], made when shapes are known."""
        from fastnn import metrics as metrics_module

        if self._metrics_made is not None:
            return self._metrics_made
        count, names = len(outputs), self.output_names
        made = []
        for given, weighted in zip(self._compile_metrics, (False, True), strict=True):
            if given is None:
                continue
            several = count > 1 or isinstance(given, dict)
            lists = self._per_output(given, count, "metrics") if several else [given]
            at = 0
            for j, wanted in enumerate(lists):
                wanted = [] if wanted is None else wanted if isinstance(wanted, (list, tuple)) else [wanted]
                if self._losses[j] is None:
                    continue
                for identifier in wanted:
                    metric = metrics_module.resolve(
                        identifier, targets[at].shape, targets[at].dtype, outputs[j].shape, self._losses[j]
                    )
                    metric.reset_state()  # it may have been used before
                    label = metric.name if count == 1 else f"{names[j]}_{metric.name}"
                    if weighted and any(label == known for _, _, known, _, _ in made):
                        label = f"weighted_{metric.name}" if count == 1 else f"{names[j]}_weighted_{metric.name}"
                    made.append((at, j, label, metric, weighted))
                at += 1
        self._metrics_made = made
        return made

    def _update_metrics(self, targets, outputs, weights):
        for at, j, _, metric, weighted in self._prepare_metrics(targets, outputs):
            w = weights[at] if weighted else None
            metric.update_state(targets[at], outputs[j], **({"sample_weight": w} if w is not None else {}))

    @property
    def metrics(self):
        """The compiled metrics."""
        return [m for _, _, _, m, _ in self._metrics_made or ()]

    @property
    def metrics_names(self):
        """Names of what evaluate() returns, in order."""
        return list(self._logs())

    def reset_metrics(self):
        """Starts all running means anew."""
        for tracker in (self._trackers or {}).values():
            tracker.reset()
        if self._trackers:
            self._penalty.reset()
        for m in self.metrics:
            m.reset_state()

    def _logs(self):
        """Loss and metrics so far, by name."""
        if not self._trackers:
            return {}
        parts = {n: t.result() for n, t in self._trackers.items()}
        factors = [f for f, x in zip(self._loss_factors, self._losses, strict=True) if x is not None]
        total = sum(f * v for f, v in zip(factors, parts.values(), strict=True))
        if self._has_penalty:
            total += self._penalty.result()
        logs = {"loss": total}
        if len(self._losses) > 1:
            logs.update({f"{n}_loss": v for n, v in parts.items()})
        for _, _, label, metric, _ in self._metrics_made or ():
            value = metric.result()
            if isinstance(value, Variable):  # Keras' own example returns its counter
                value = value.value
            logs[label] = float(value) if np.ndim(value) == 0 else np.asarray(value)
        return logs


def _mixed(per_sample, loss, y, y_pred, mixture):
    """The loss of samples that were mixed: weight * loss(own target) + (1 - weight) * loss(the partner's target)."""
    weight, partners = mixture
    other = loss.per_sample(take_samples(y, partners), y_pred)
    for _ in per_sample.shape[1:]:
        weight = ops.expand_dims(weight, -1)
    return ops.add(other, ops.multiply(weight, ops.subtract(per_sample, other)))
