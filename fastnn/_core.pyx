# cython: language_level=3, initializedcheck=False, cdivision=True
"""The boundary between Python and csrc/: addresses, sizes, one GIL-free call, a status.

No arithmetic happens here, and no checking of shapes: fastnn.kernels checks what users pass, the compiler
knows what it emits. Arrays come in as NumPy arrays or as addresses; whoever makes a Plan keeps alive what its
operations point to (`Plan.keep`).
"""

cimport cython
cimport numpy as cnp
from cpython.buffer cimport PyBuffer_FillInfo
from libc.stdint cimport int32_t, int64_t, uint64_t, uintptr_t
from libc.string cimport memset

import os

import numpy

cnp.import_array()


cdef extern from "fastnn.h" nogil:
    enum: FN_MAX_OPERANDS, FN_MAX_INTS, FN_MAX_REALS, FN_MAX_THREADS
    enum: FN_ISA_COUNT, FN_ISA_AVX512, FN_ISA_AMX
    ctypedef enum fn_status: FN_OK, FN_ENOMEM, FN_EBUSY

    ctypedef struct fn_kernel:
        const char *name
        int split
    ctypedef struct fn_table:
        const char *isa
        const char *dtype
        int width
        int count
        const fn_kernel *kernels
    ctypedef struct fn_op:
        const fn_kernel *kernel
        int32_t split
        int32_t batched
        double cost
        void *p[16]
        int64_t i[40]
        double f[8]
    ctypedef struct fn_step:
        int64_t rows, index
        uint64_t seed
        const double *hyper
        const int64_t *order
        int64_t first
    ctypedef struct fn_run:
        const int64_t *order
        int64_t first, last, batch, index
        uint64_t seed
        const double *hyper
        int64_t width
        int threads
        double seconds
        double *times
    ctypedef struct fn_plan:
        pass

    const char *fn_isa_names[4]
    int fn_cpu_isa() noexcept
    int fn_cpu_pairs() noexcept
    int fn_cpu_tiles() noexcept
    int fn_cpu_count() noexcept
    int64_t fn_cpu_cache(int level) noexcept
    void fn_cpu_name(char *out, size_t size) noexcept
    const fn_table *fn_find_table(int isa, int float64) noexcept
    void *fn_alloc(size_t bytes) noexcept
    void fn_free(void *block, size_t bytes) noexcept
    int64_t fn_first_outside(const void *data, int kind, int64_t n, int64_t classes) noexcept
    int64_t fn_first_not_finite(const void *data, int float64, int64_t n) noexcept
    int fn_get_threads() noexcept
    void fn_set_threads(int n) noexcept
    fn_status fn_plan_new(fn_plan **out, const fn_op *ops, int count, const int64_t *chunk, int once) noexcept
    void fn_plan_free(fn_plan *plan) noexcept
    fn_op *fn_plan_op(fn_plan *plan, int index) noexcept
    fn_status fn_plan_run(fn_plan *plan, const fn_run *run, int64_t *done) noexcept
    fn_status fn_run_op(const fn_op *op, const fn_step *step) noexcept


cdef extern from *:
    """
    #ifdef __clang__
    #define FN_COMPILER __VERSION__
    #else
    #define FN_COMPILER "GCC " __VERSION__
    #endif
    """
    const char *FN_COMPILER

#: The C compiler that this build was made with.
COMPILER = FN_COMPILER.decode()


# ---- the choice of instruction set, once ----

cdef const fn_table *TABLES[2]  # float32, float64
cdef int LEVEL


def _names(int highest):
    return [fn_isa_names[j].decode() for j in range(highest + 1) if fn_find_table(j, 0) != NULL]


cdef void _choose() except *:
    global LEVEL
    cdef int best = fn_cpu_isa(), j
    usable = _names(best)
    asked = os.environ.get("FASTNN_ISA", "")
    if asked and asked not in usable:
        raise RuntimeError(f"FASTNN_ISA={asked!r}, but this build and processor support: {', '.join(usable)}")
    name = asked or usable[-1]
    for j in range(FN_ISA_COUNT):
        if fn_isa_names[j].decode() == name:
            LEVEL = j
            TABLES[0] = fn_find_table(j, 0)
            TABLES[1] = fn_find_table(j, 1)


_choose()

#: Number of each kernel in the tables, by name.
KERNELS = {TABLES[0].kernels[j].name.decode(): j for j in range(TABLES[0].count)}
SPLITS = {TABLES[0].kernels[j].name.decode(): TABLES[0].kernels[j].split for j in range(TABLES[0].count)}
MAX_OPERANDS, MAX_INTS, MAX_REALS = FN_MAX_OPERANDS, FN_MAX_INTS, FN_MAX_REALS
ROWS, BLOCKS, SERIAL = 0, 1, 2  # fn_split


def isa():
    """Name of the instruction set in use: "base", "avx2", "avx512" or "amx"."""
    return fn_isa_names[LEVEL].decode()


def bfloat16_units():
    """What multiplies bfloat16 here, at the level in use: {"vectors": bool, "tiles": bool, "refused": whether there
    are tiles that the operating system keeps from us}."""
    return {
        "vectors": LEVEL >= FN_ISA_AVX512 and fn_cpu_pairs() != 0,
        "tiles": LEVEL >= FN_ISA_AMX,
        "refused": fn_cpu_tiles() == 1,
    }


def isas():
    """Names of the instruction sets that this build and processor support, slowest first."""
    return _names(fn_cpu_isa())


def cpu():
    """What is known of the processor: its name, highest level, usable processors, cache sizes in bytes."""
    cdef char name[128]
    fn_cpu_name(name, sizeof(name))
    return {
        "name": (<bytes>name).decode(errors="replace").strip(),
        "highest": fn_isa_names[fn_cpu_isa()].decode(),
        "processors": fn_cpu_count(),
        "caches": {level: fn_cpu_cache(level) for level in (1, 2, 3)},
        "vector_width": {"float32": TABLES[0].width, "float64": TABLES[1].width},
    }


def get_threads():
    return fn_get_threads()


def set_threads(int n):
    fn_set_threads(n)


MAX_THREADS = FN_MAX_THREADS


def _threads_asked():
    """What the environment says: FASTNN_NUM_THREADS, else OMP_NUM_THREADS, which process pools set for their workers."""
    for name in ("FASTNN_NUM_THREADS", "OMP_NUM_THREADS"):
        text = os.environ.get(name, "").strip()
        if text.isdigit() and 1 <= int(text) <= FN_MAX_THREADS:
            return int(text) if name == "FASTNN_NUM_THREADS" else min(int(text), fn_cpu_count())
        if text and name == "FASTNN_NUM_THREADS":
            raise RuntimeError(f"FASTNN_NUM_THREADS must be an integer from 1 to {FN_MAX_THREADS}, got {text!r}")
    return 0


if _threads_asked():
    fn_set_threads(_threads_asked())


# ---- memory ----

cdef class Memory:
    """`nbytes` zeroed bytes, 64-byte aligned, on huge pages when large; read and written by the buffer protocol."""

    cdef void *block
    cdef readonly size_t nbytes

    def __cinit__(self, size_t nbytes):
        self.nbytes = nbytes
        with nogil:
            self.block = fn_alloc(nbytes)
        if self.block == NULL:
            raise MemoryError(f"cannot allocate {nbytes} bytes")

    def __dealloc__(self):
        fn_free(self.block, self.nbytes)

    def __getbuffer__(self, Py_buffer *view, int flags):
        PyBuffer_FillInfo(view, self, self.block, self.nbytes, 0, flags)

    @property
    def address(self):
        return <uintptr_t>self.block


def empty(shape, dtype):
    """A zeroed NumPy array on its own aligned Memory."""
    import numpy as np
    dtype = np.dtype(dtype)
    count = 1
    for n in shape:
        count *= int(n)
    if count < 0 or count * dtype.itemsize > 2**62:
        raise MemoryError(f"cannot allocate an array of shape {tuple(shape)}")
    return np.frombuffer(Memory(max(count * dtype.itemsize, 1)), dtype=dtype, count=count).reshape(shape)


# ---- operations ----

cdef inline void *_address(object operand) except? NULL:
    if operand is None:
        return NULL
    if cnp.PyArray_Check(operand):
        return cnp.PyArray_DATA(operand)
    return <void *><uintptr_t>operand


cdef int _fill(fn_op *op, int float64, int kernel, tuple operands, tuple ints, tuple reals, int batched, double cost,
               int split) except -1:
    cdef Py_ssize_t j
    if not 0 <= kernel < TABLES[0].count:
        raise ValueError(f"there is no kernel number {kernel}")
    if len(operands) > FN_MAX_OPERANDS or len(ints) > FN_MAX_INTS or len(reals) > FN_MAX_REALS:
        raise ValueError(f"kernel {TABLES[0].kernels[kernel].name.decode()}: too many operands or parameters")
    memset(op, 0, sizeof(fn_op))
    op.kernel = &TABLES[float64].kernels[kernel]
    op.split = op.kernel.split if split < 0 else split
    op.batched = batched
    op.cost = cost
    for j in range(len(operands)):
        op.p[j] = _address(operands[j])
    for j in range(len(ints)):
        op.i[j] = ints[j]
    for j in range(len(reals)):
        op.f[j] = reals[j]
    return 0


def run(str kernel, bint float64, tuple operands, tuple ints, tuple reals=(), *, double cost=0.0, int split=-1,
        int64_t rows=0, uint64_t seed=0, int64_t index=0, cnp.ndarray hyper=None, const int64_t[::1] order=None,
        int64_t first=0):
    """Runs one kernel at once. `rows` > 0 makes it batched: ints[0] then counts the rows of one sample.
    `cost` is a rough time in ns (per sample when batched): it decides on the number of threads."""
    cdef fn_op op
    cdef fn_step step
    cdef fn_status status
    _fill(&op, float64, KERNELS[kernel], operands, ints, reals, rows > 0, cost, split)
    memset(&step, 0, sizeof(step))
    step.rows = rows if rows > 0 else 1
    step.seed = seed
    step.index = index
    step.first = first
    if hyper is not None:  # looked at by hand: a memoryview costs more than a small update
        if cnp.PyArray_TYPE(hyper) != cnp.NPY_FLOAT64 or not cnp.PyArray_IS_C_CONTIGUOUS(hyper):
            raise ValueError(f"kernel {kernel}: hyper must be contiguous float64, got {hyper.dtype}")
        step.hyper = <const double *>cnp.PyArray_DATA(hyper)
    if order is not None:
        step.order = &order[0]
    with nogil:
        status = fn_run_op(&op, &step)
    if status == FN_ENOMEM:
        raise MemoryError(f"kernel {kernel}: no memory for scratch")


cdef int MATMUL_NN = KERNELS["matmul_nn"], MATMUL_NT = KERNELS["matmul_nt"], MATMUL_TN = KERNELS["matmul_tn"]


def matmul(a, b, out, bint transpose_a, bint transpose_b, bias, int activation, double alpha, bint accumulate,
           int parts, bint tiled):
    """The product of two plain matrices, or None for anything unusual or wrong: fastnn.kernels.matmul, which documents
    the arguments, has the checks and the messages. `parts` and `tiled` are what fastnn.precision.choose says."""
    cdef fn_op op
    cdef fn_step step
    cdef fn_status status
    cdef cnp.npy_intp m, k, n
    cdef cnp.npy_intp shape[2]
    cdef cnp.ndarray x, y, c, d
    if not (cnp.PyArray_CheckExact(a) and cnp.PyArray_CheckExact(b)) or (transpose_a and transpose_b):
        return None
    x, y = a, b
    cdef int kind = cnp.PyArray_TYPE(x)
    if (kind != cnp.NPY_FLOAT32 and kind != cnp.NPY_FLOAT64) or not (_plain(x, kind, 2) and _plain(y, kind, 2)):
        return None
    m, k, n = cnp.PyArray_DIM(x, transpose_a), cnp.PyArray_DIM(x, not transpose_a), cnp.PyArray_DIM(y, not transpose_b)
    if cnp.PyArray_DIM(y, transpose_b) != k:
        return None
    if out is None:
        if accumulate:
            return None
        shape[0], shape[1] = m, n
        c = cnp.PyArray_EMPTY(2, shape, kind, 0)
    else:
        if not cnp.PyArray_CheckExact(out):
            return None
        c = out
        if not _plain(c, kind, 2) or not cnp.PyArray_ISWRITEABLE(c) or _overlap(c, x) or _overlap(c, y):
            return None
        if cnp.PyArray_DIM(c, 0) != m or cnp.PyArray_DIM(c, 1) != n:
            return None
    memset(&op, 0, sizeof(op))
    memset(&step, 0, sizeof(step))
    if bias is not None:
        if not cnp.PyArray_CheckExact(bias):
            return None
        d = bias
        if not _plain(d, kind, 1) or cnp.PyArray_DIM(d, 0) != n or _overlap(c, d):
            return None
        op.p[3] = cnp.PyArray_DATA(d)
    op.kernel = &TABLES[kind == cnp.NPY_FLOAT64].kernels[
        MATMUL_TN if transpose_a else MATMUL_NT if transpose_b else MATMUL_NN]
    op.split = op.kernel.split
    op.cost = 0.02 * <double>m * <double>n * <double>k
    op.p[0], op.p[1], op.p[2] = cnp.PyArray_DATA(c), cnp.PyArray_DATA(x), cnp.PyArray_DATA(y)
    op.i[0], op.i[1], op.i[2] = k if transpose_a else m, n, m if transpose_a else k
    op.i[3], op.i[4], op.i[5] = m if transpose_a else k, k if transpose_b else n, n
    op.i[6], op.i[7] = accumulate, activation
    if kind == cnp.NPY_FLOAT32:
        op.i[18], op.i[19] = parts, tiled
    op.f[0] = alpha
    step.rows = 1
    with nogil:
        status = fn_run_op(&op, &step)
    if status == FN_ENOMEM:
        raise MemoryError("matmul: no memory for scratch")
    return c


cdef inline bint _plain(cnp.ndarray x, int kind, int ndim):
    """Whether x is a C-contiguous array of this type and number of dimensions."""
    return (cnp.PyArray_TYPE(x) == kind and cnp.PyArray_NDIM(x) == ndim
            and cnp.PyArray_ISCARRAY_RO(x))


cdef inline bint _overlap(cnp.ndarray x, cnp.ndarray y):
    """Whether two contiguous arrays share a byte."""
    cdef char *a = <char *>cnp.PyArray_DATA(x)
    cdef char *b = <char *>cnp.PyArray_DATA(y)
    return a < b + cnp.PyArray_NBYTES(y) and b < a + cnp.PyArray_NBYTES(x)


def is_plain(x):
    """Whether x is a C-contiguous, aligned NumPy array of float32 or float64 in this machine's byte order."""
    if not cnp.PyArray_CheckExact(x):
        return False
    cdef int kind = cnp.PyArray_TYPE(<cnp.ndarray>x)
    return (kind == cnp.NPY_FLOAT32 or kind == cnp.NPY_FLOAT64) and cnp.PyArray_ISCARRAY_RO(<cnp.ndarray>x)


def overlap(cnp.ndarray x, cnp.ndarray y):
    """0: no byte in common (or none found in the bounds of arrays with gaps), 1: some, 2: both begin at the same one."""
    if cnp.PyArray_SIZE(x) == 0 or cnp.PyArray_SIZE(y) == 0:
        return 0
    if cnp.PyArray_IS_C_CONTIGUOUS(x) and cnp.PyArray_IS_C_CONTIGUOUS(y):
        if not _overlap(x, y):
            return 0
    elif not numpy.may_share_memory(x, y):
        return 0
    return 2 if cnp.PyArray_DATA(x) == cnp.PyArray_DATA(y) else 1


@cython.final
cdef class Plan:
    """A bound list of operations. `ops` holds tuples (kernel, operands, ints, reals, batched, cost, split, chunk);
    `keep` is whatever owns the memory they point to, `once` the number of operations at the beginning that make
    copies of weights (see fastnn.compiler.packed)."""

    cdef fn_plan *plan
    cdef bint claimed
    cdef readonly int count
    cdef readonly int64_t done  # samples the last run since the claim went through, also where Ctrl-C came behind it
    cdef readonly object keep

    def __cinit__(self, bint float64, ops, keep, int once=0):
        cdef Py_ssize_t j, n = len(ops)
        self.keep = keep
        self.count = <int>n
        staged = bytearray((n + 1) * sizeof(fn_op))
        chunks = bytearray((n + 1) * sizeof(int64_t))
        cdef unsigned char[::1] staged_view = staged
        cdef unsigned char[::1] chunks_view = chunks
        cdef fn_op *records = <fn_op *>&staged_view[0]
        cdef int64_t *chunk = <int64_t *>&chunks_view[0]
        for j in range(n):
            kernel, operands, ints, reals, batched, cost, split, samples = ops[j]
            _fill(&records[j], float64, KERNELS[kernel], tuple(operands), tuple(ints), tuple(reals), batched, cost, split)
            chunk[j] = samples
        if fn_plan_new(&self.plan, records, <int>n, chunk, once) != FN_OK:
            raise MemoryError("no memory for a plan")

    def __dealloc__(self):
        fn_plan_free(self.plan)

    def __enter__(self):
        """From binding data to the end of the run a plan belongs to one thread: another one gets an error."""
        if self.claimed:
            raise RuntimeError("this model is already running in another thread; give each thread a model of its own")
        self.claimed = True
        self.done = 0
        return self

    def __exit__(self, *exc):
        self.claimed = False

    def bind(self, int op, int operand, address):
        """Points an operand elsewhere: for the data of a run. The caller keeps it alive while a run lasts."""
        if not (0 <= op < self.count and 0 <= operand < FN_MAX_OPERANDS):
            raise IndexError(f"plan has no operand {operand} of op {op}")
        fn_plan_op(self.plan, op).p[operand] = _address(address)

    def set_int(self, int op, int slot, int64_t value):
        if not (0 <= op < self.count and 0 <= slot < FN_MAX_INTS):
            raise IndexError(f"plan has no int {slot} of op {op}")
        fn_plan_op(self.plan, op).i[slot] = value

    def run(self, int64_t first, int64_t last, int64_t batch, *, const int64_t[::1] order=None, int64_t index=0,
            uint64_t seed=0, const double[:, ::1] hyper=None, int threads=0, double seconds=0.0,
            double[::1] times=None):
        """Steps of `batch` samples through samples [first, last), without the GIL. Returns how many samples were
        gone through: fewer than all when `seconds` was over."""
        cdef fn_run r
        cdef fn_status status
        cdef int64_t done = 0
        memset(&r, 0, sizeof(r))
        r.first, r.last, r.batch, r.index, r.seed = first, last, batch, index, seed
        r.threads, r.seconds = threads, seconds
        if order is not None:
            if order.shape[0] < last or first < 0:
                raise ValueError(f"order has {order.shape[0]} entries, samples {first} to {last} were asked for")
            if last > first:
                r.order = &order[0]
        if hyper is not None and hyper.shape[1] > 0 and last > first:
            if hyper.shape[0] * batch < last - first:
                raise ValueError(
                    f"hyper has {hyper.shape[0]} rows; {last - first} samples in steps of {batch} need one a step"
                )
            r.hyper, r.width = &hyper[0, 0], hyper.shape[1]
        if times is not None:
            if times.shape[0] < self.count:
                raise ValueError(f"times has {times.shape[0]} entries, the plan {self.count} ops")
            r.times = &times[0]
        with nogil:
            status = fn_plan_run(self.plan, &r, &done)
        if status == FN_EBUSY:
            raise RuntimeError("plan is already running in another thread")
        self.done = done  # not before: until then it is the other thread's
        if status == FN_ENOMEM:
            raise MemoryError("no memory for scratch: no step was run")
        return done


# ---- data ----

#: Codes of load_batch for the dtype of its source.
SOURCE_CODES = {"uint8": 0, "int8": 1, "int16": 2, "int32": 3, "int64": 4, "float32": 5, "float64": 6, "bool": 7,
                "uint16": 8, "uint32": 9}
_CODE_OF_DTYPE = {numpy.dtype(name): code for name, code in SOURCE_CODES.items()}


def first_outside(cnp.ndarray labels, int64_t classes):
    """Position (flat) of the first class id outside 0 .. classes - 1, or -1. C-contiguous, of a SOURCE_CODES dtype."""
    cdef int kind = _CODE_OF_DTYPE[labels.dtype]
    cdef void *data = cnp.PyArray_DATA(labels)
    cdef int64_t n = cnp.PyArray_SIZE(labels)
    with nogil:
        n = fn_first_outside(data, kind, n, classes)
    return n


def first_not_finite(cnp.ndarray values):
    """Position (flat) of the first NaN or infinity of a C-contiguous float array, or -1."""
    cdef int float64 = cnp.PyArray_TYPE(values) == cnp.NPY_FLOAT64
    cdef void *data = cnp.PyArray_DATA(values)
    cdef int64_t n = cnp.PyArray_SIZE(values)
    if not float64 and cnp.PyArray_TYPE(values) != cnp.NPY_FLOAT32:
        raise TypeError(f"expected float32 or float64, got {values.dtype}")
    with nogil:
        n = fn_first_not_finite(data, float64, n)
    return n


cdef enum:
    MAX_ARRAYS = 8
    UNCHECKED = 0
    FINITE = 1
    LABELS = 2


@cython.final
cdef class Call:
    """One step on arrays of a known form: checks them and runs in well under a microsecond of its own.

    `forms` describes the arrays in order: (op and operand to bind, dtype number, shape, class limit): the limit is
    None for no check, 0 for finite numbers, else the number of classes. `rows` is the leading extent of all.
    """

    cdef Plan plan
    cdef int count
    cdef int64_t rows
    cdef int op[MAX_ARRAYS]
    cdef int operand[MAX_ARRAYS]
    cdef int number[MAX_ARRAYS]
    cdef int check[MAX_ARRAYS]
    cdef int code[MAX_ARRAYS]
    cdef int64_t classes[MAX_ARRAYS]
    cdef int ndim[MAX_ARRAYS]
    cdef int64_t shape[MAX_ARRAYS][8]

    def __init__(self, Plan plan, forms, int64_t rows):
        cdef int j, k
        if len(forms) > MAX_ARRAYS:
            raise ValueError(f"at most {MAX_ARRAYS} arrays, got {len(forms)}")
        self.plan, self.count, self.rows = plan, len(forms), rows
        for j, (op, operand, dtype, shape, limit) in enumerate(forms):
            if not -1 <= op < plan.count or not 0 <= operand < FN_MAX_OPERANDS or len(shape) > 8:
                raise ValueError(f"form {j} does not fit the plan")
            self.op[j], self.operand[j], self.number[j] = op, operand, dtype.num
            self.code[j] = SOURCE_CODES[str(dtype)]
            self.check[j] = UNCHECKED if limit is None else FINITE if limit == 0 else LABELS
            self.classes[j] = limit or 0
            self.ndim[j] = len(shape)
            for k in range(len(shape)):
                self.shape[j][k] = shape[k]

    cdef bint fits(self, int j, object x):
        cdef int k
        cdef void *data
        cdef int64_t n
        if not cnp.PyArray_CheckExact(x) or cnp.PyArray_TYPE(x) != self.number[j] \
                or not cnp.PyArray_IS_C_CONTIGUOUS(x) or not cnp.PyArray_ISBEHAVED_RO(x) \
                or cnp.PyArray_NDIM(x) != self.ndim[j]:
            return False
        for k in range(self.ndim[j]):
            if cnp.PyArray_DIM(x, k) != self.shape[j][k]:
                return False
        if self.check[j] != UNCHECKED:
            data, n = cnp.PyArray_DATA(x), cnp.PyArray_SIZE(x)
            if self.check[j] == LABELS:
                return fn_first_outside(data, self.code[j], n, self.classes[j]) < 0
            return fn_first_not_finite(data, self.number[j] == cnp.NPY_FLOAT64, n) < 0
        return True

    def __call__(self, tuple arrays, int64_t index=0, uint64_t seed=0, cnp.ndarray hyper=None, Py_ssize_t row=0):
        """Runs the step; False, with nothing done, when an array is not of the form. hyper: float64 (rows, width)."""
        cdef fn_run r
        cdef int64_t done = 0
        cdef fn_status status
        cdef int j
        if len(arrays) != self.count:
            return False
        for j in range(self.count):
            if not self.fits(j, arrays[j]):
                return False
        if self.plan.claimed:
            self.plan.__enter__()  # raises
        self.plan.claimed = True
        for j in range(self.count):
            if self.op[j] >= 0:
                fn_plan_op(self.plan.plan, self.op[j]).p[self.operand[j]] = cnp.PyArray_DATA(arrays[j])
        memset(&r, 0, sizeof(r))
        r.last = r.batch = self.rows
        r.index, r.seed = index, seed
        if hyper is not None:
            if not 0 <= row < cnp.PyArray_DIM(hyper, 0):
                raise IndexError(f"hyper has no row {row}")
            r.width = cnp.PyArray_DIM(hyper, 1)
            r.hyper = <double *>cnp.PyArray_DATA(hyper) + row * r.width
        with nogil:
            status = fn_plan_run(self.plan.plan, &r, &done)
        self.plan.claimed = False
        if status == FN_ENOMEM:
            raise MemoryError("no memory for scratch: no step was run")
        return True
