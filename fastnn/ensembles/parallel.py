"""Several trainings at a time: a thread each, on one core each. C runs without the interpreter's lock, so members of an
ensemble too small to fill all cores with one step fill them side by side."""

import threading

from fastnn import threads


def train_side_by_side(jobs, workers=None):
    """Calls each of `jobs` (functions without arguments) and returns their results in order.

    workers: how many run at a time, None: as many as kernels may use threads (`fastnn.get_num_threads()`). While they
    run, each kernel uses one thread; afterwards the number is as before. The first error of a job is raised once all
    threads have ended; an interruption (Ctrl-C) sets `stop_training` of the models given as the jobs' `model`
    attribute, and lets no further job begin.
    """
    jobs = list(jobs)
    before = threads.get_num_threads()
    workers = before if workers is None else workers
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
        raise ValueError(f"train_side_by_side: workers must be an integer >= 1 or None, got {workers!r}")
    for job in jobs:
        if not callable(job):
            raise TypeError(f"train_side_by_side: jobs must be functions, got {job!r}")
    if not jobs:
        return []
    workers = min(workers, len(jobs))
    results, errors, waiting, lock = [None] * len(jobs), [], list(enumerate(jobs)), threading.Lock()

    def work():
        while True:
            with lock:
                if not waiting or errors:
                    return
                number, job = waiting.pop(0)
            try:
                results[number] = job()
            except BaseException as error:
                with lock:
                    errors.append(error)

    threads.set_num_threads(1)
    crew = [threading.Thread(target=work, name=f"member-{j}") for j in range(workers)]
    try:
        for one in crew:
            one.start()
        for one in crew:
            one.join()
    except BaseException:
        with lock:
            waiting.clear()
        for job in jobs:
            if getattr(job, "model", None) is not None:
                job.model.stop_training = True
        for one in crew:
            if one.ident is not None:
                one.join()
        raise
    finally:
        threads.set_num_threads(before)
    if errors:
        raise errors[0]
    return results


class Fit:
    """The job of training `model` with these arguments of `fit`; returns its History."""

    def __init__(self, model, *args, **kwargs):
        self.model, self.args, self.kwargs = model, args, kwargs

    def __call__(self):
        return self.model.fit(*self.args, **self.kwargs)
