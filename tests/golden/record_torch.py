"""Record PyTorch's optimizers and schedules: ``python tests/golden/record_torch.py``. See README.md beside it."""

import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from golden import cases
from golden.store import save


def optimizers():
    out = {}
    for name, (cls, config, _) in cases.TORCH_OPTIMIZERS.items():
        variables = [torch.nn.Parameter(torch.tensor(v)) for v in cases.optimizer_variables()]
        optimizer = getattr(torch.optim, cls)(variables, **config)
        for step in range(1, cases.OPTIMIZER_STEPS + 1):
            for variable, gradient in zip(variables, cases.optimizer_gradients(step), strict=True):
                variable.grad = torch.tensor(gradient)
            optimizer.step()
            if step in cases.OPTIMIZER_KEPT:
                for i, variable in enumerate(variables):
                    out[f"{name}/{step}/{i}"] = variable.detach().numpy().copy()
    return out


def schedules():
    """The learning rate of each step. OneCycleLR ends with its last step; the others could go on."""
    out = {}
    for name, (cls, config, rate) in cases.TORCH_SCHEDULES.items():
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate)
        schedule = getattr(torch.optim.lr_scheduler, cls)(optimizer, **config)
        rates = []
        for step in cases.SCHEDULE_STEPS:
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            if step < cases.SCHEDULE_STEPS[-1]:
                schedule.step()
        out[name] = rates
    return out


if __name__ == "__main__":
    warnings.simplefilter("error")
    for family in (optimizers, schedules):
        made = family()
        path = save(f"torch_{family.__name__}", made, library="torch", version=torch.__version__, dtype="float64")
        print(f"{path.name}: {len(made)} arrays, {path.stat().st_size} bytes")
