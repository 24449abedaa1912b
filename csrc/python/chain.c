/* chain.c - the type Chain: a sampler's walk compiled for one energy and shape. */
#include "base/alloc.h"
#include "python/bound.h"
#include "python/convert.h"
#include "python/error.h"
#include "python/options.h"
#include "python/poll.h"
#include "python/sampler.h"

typedef struct ebm_py_chain {
    PyObject_HEAD ebm_chain *chain;
    ebm_chain_options options;
    const ebm_sampler_kind *kind;
    bool busy;
} ebm_py_chain;

ebm_sampler *ebm__py_sampler(PyObject *self, PyObject *pair)
{
    const char *name;
    PyObject *dict;
    if (ebm__py_kind(pair, &name, &dict) < 0) return NULL;
    const ebm_sampler_kind *kind = ebm_sampler_find(name);
    if (!kind) {
        ebm__py_raise(self, EBM_VALUE);
        return NULL;
    }
    void *options = ebm__py_options_new(self, dict, &kind->options);
    if (!options) return NULL;
    ebm_sampler *sampler = NULL;
    ebm_status status = ebm_sampler_new(&sampler, kind, options);
    ebm__free(options);
    if (status != EBM_OK) ebm__py_raise(self, status);
    return sampler;
}

static void chain_dealloc(PyObject *self)
{
    ebm_chain_free(((ebm_py_chain *)self)->chain);
    ebm__py_free(self);
}

static int compile(ebm_py_chain *self, PyObject *pair, PyObject *energy_object)
{
    ebm_py_energy function;
    ebm_energy energy;
    PyObject *object = (PyObject *)self;
    if (ebm__py_as_energy(object, energy_object, self->options.dtype, &function, &energy) < 0)
        return -1;
    ebm_sampler *sampler = ebm__py_sampler(object, pair);
    ebm_status status = EBM_OK;
    if (sampler) {
        self->kind = ebm_sampler_get_kind(sampler);
        status = ebm_chain_new(&self->chain, sampler, &energy, &self->options);
        if (status != EBM_OK) ebm__py_raise(object, status);
        ebm_sampler_free(sampler);
    }
    ebm__py_energy_fini(&function);
    return self->chain ? 0 : -1;
}

static PyObject *chain_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"sampler", "energy", "dtype", "shape", "leg",
                            "rest",    "info",   "block", NULL};
    PyObject *pair, *energy, *dtype_object, *shape_object;
    long long leg, rest = 0, block = EBM_CHAIN_ALL;
    int info = 0;
    ebm_chain_options options = {.device = NULL};
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OOOOL|LpL:Chain", names, &pair, &energy,
                                     &dtype_object, &shape_object, &leg, &rest, &info, &block))
        return NULL;
    if (ebm__py_dtype(dtype_object, &options.dtype) < 0 ||
        ebm__py_shape(shape_object, &options.x, "x0") < 0)
        return NULL;
    options.leg = leg;
    options.rest = rest;
    options.info = info;
    options.block = block;
    ebm_py_chain *self = (ebm_py_chain *)type->tp_alloc(type, 0);
    if (!self) return NULL;
    self->options = options;
    if (ebm__py_device((PyObject *)self, NULL, &self->options.device) == 0 &&
        compile(self, pair, energy) == 0)
        return (PyObject *)self;
    Py_DECREF(self);
    return NULL;
}

/* ---- runs -------------------------------------------------------------------------------- */

/* Fresh arrays (legs, N) for what the legs report; a tuple. */
static PyObject *make_infos(const ebm_py_chain *self, int64_t legs, ebm_chain_run_args *args)
{
    int32_t n = self->options.info ? self->kind->n_info : 0;
    ebm_shape shape = EBM_DIMS(legs, self->options.x.dim[0]);
    PyObject *infos = PyTuple_New(n);
    for (int32_t k = 0; infos && k < n; k++) {
        PyObject *array = ebm__py_empty(self->options.dtype, &shape);
        if (!array) {
            Py_CLEAR(infos);
            break;
        }
        PyTuple_SET_ITEM(infos, k, array);
        args->info[k] = PyArray_DATA((PyArrayObject *)array);
    }
    return infos;
}

/* Where the trace goes: an array of exactly this kind, since a copy would not be seen. */
static int find_trace(ebm_py_chain *self, PyObject *object, int64_t legs, void **trace)
{
    ebm_shape expected, shape;
    const ebm_chain_options *o = &self->options;
    if (object == Py_None) return 0;
    if (ebm_rows_shape(&expected, legs, &o->x) != EBM_OK) {
        ebm__py_raise((PyObject *)self, EBM_SHAPE);
        return -1;
    }
    if (!PyArray_Check(object) || !PyArray_ISCARRAY((PyArrayObject *)object) ||
        PyArray_TYPE((PyArrayObject *)object) != ebm__py_typenum(o->dtype)) {
        PyErr_Format(PyExc_TypeError, "out: expected a contiguous, writable array of %s",
                     o->dtype == EBM_F64 ? "float64" : "float32");
        return -1;
    }
    PyArrayObject *array = (PyArrayObject *)object;
    if (ebm__py_array_shape(array, &shape, "out") < 0) return -1;
    if (!ebm_shape_equal(&shape, &expected)) {
        char got[128], wanted[128];
        ebm__py_raise((PyObject *)self,
                      ebm_fail(EBM_SHAPE, "out: shape %s, expected %s",
                               ebm_shape_text(&shape, got, sizeof got),
                               ebm_shape_text(&expected, wanted, sizeof wanted)));
        return -1;
    }
    *trace = PyArray_DATA(array);
    return 0;
}

/* Fresh arrays for what lasts beside x: a tuple. */
static PyObject *make_carries(const ebm_py_chain *self, ebm_chain_run_args *args)
{
    PyObject *carries = PyTuple_New(self->kind->n_carry - 1);
    for (int32_t k = 1; carries && k < self->kind->n_carry; k++) {
        ebm_shape shape = ebm_chain_carry_shape(self->chain, k);
        PyObject *array = ebm__py_empty(ebm_chain_carry_dtype(self->chain, k), &shape);
        if (!array) {
            Py_CLEAR(carries);
            break;
        }
        PyTuple_SET_ITEM(carries, k - 1, array);
        args->carry_out[k] = PyArray_DATA((PyArrayObject *)array);
    }
    return carries;
}

/* What another run left, as arrays of the chain's dtypes and shapes: a tuple that owns them; of
 * None an empty one. */
static PyObject *find_carries(ebm_py_chain *self, PyObject *object, ebm_chain_run_args *args)
{
    if (object == Py_None) return PyTuple_New(0);
    Py_ssize_t n = self->kind->n_carry - 1;
    PyObject *given = PySequence_Tuple(object);
    PyObject *held = given ? PyTuple_New(n) : NULL;
    if (held && PyTuple_GET_SIZE(given) != n) {
        PyErr_Format(PyExc_ValueError, "carry: got %zd arrays, expected %zd",
                     PyTuple_GET_SIZE(given), n);
        Py_CLEAR(held);
    }
    for (int32_t k = 1; held && k <= n; k++) {
        ebm_shape shape = ebm_chain_carry_shape(self->chain, k);
        PyArrayObject *array = ebm__py_array((PyObject *)self, PyTuple_GET_ITEM(given, k - 1),
                                             ebm_chain_carry_dtype(self->chain, k), &shape,
                                             self->kind->carry[k]);
        if (!array) {
            Py_CLEAR(held);
            break;
        }
        PyTuple_SET_ITEM(held, k - 1, (PyObject *)array);
        args->carry[k] = PyArray_DATA(array);
    }
    Py_XDECREF(given);
    return held;
}

static ebm_status run(ebm_py_chain *self, const ebm_chain_run_args *args)
{
    ebm_py_run unlocked;
    self->busy = true;
    ebm__py_run_begin(&unlocked, NULL);
    ebm_status status = ebm_chain_run(self->chain, args, &unlocked.poll);
    ebm__py_run_end(&unlocked);
    self->busy = false;
    return status;
}

/* Runs with arguments that are checked, into fresh arrays: (x, infos, carries). */
static PyObject *run_into_arrays(ebm_py_chain *self, ebm_chain_run_args *args)
{
    PyObject *object = (PyObject *)self, *result = NULL, *infos = NULL, *carries = NULL;
    PyObject *end = ebm__py_empty(self->options.dtype, &self->options.x);
    if (end) infos = make_infos(self, args->legs, args);
    if (infos) carries = make_carries(self, args);
    if (carries && self->busy) { /* an argument's __array__ gave another thread its turn */
        ebm__py_raise(object, ebm_fail(EBM_STATE, "chain: it is running already"));
    } else if (carries) {
        args->x_out = PyArray_DATA((PyArrayObject *)end);
        ebm_status status = run(self, args);
        if (status == EBM_OK)
            result = Py_BuildValue("OOO", end, infos, carries);
        else
            ebm__py_raise(object, status);
    }
    Py_XDECREF(end);
    Py_XDECREF(infos);
    Py_XDECREF(carries);
    return result;
}

/* chain(x, key, first, legs, trace=None, carry=None) -> (x after the steps, infos, carries); fills
 * the trace. */
static PyObject *chain_call(PyObject *object, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"x", "key", "first", "legs", "trace", "carry", NULL};
    ebm_py_chain *self = (ebm_py_chain *)object;
    PyObject *x_object, *key_object, *trace = Py_None, *carry = Py_None, *result = NULL;
    ebm_chain_run_args run_args = {0};
    long long legs;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OOiL|OO:Chain", names, &x_object,
                                     &key_object, &run_args.first, &legs, &trace, &carry))
        return NULL;
    if (legs < 0) EBM_PY_TRY(object, ebm_fail(EBM_VALUE, "chain: legs: got %lld", legs));
    if (self->busy) EBM_PY_TRY(object, ebm_fail(EBM_STATE, "chain: it is running already"));
    run_args.legs = legs;
    if (ebm__py_key(key_object, run_args.key) < 0 ||
        find_trace(self, trace, legs, &run_args.trace) < 0)
        return NULL;
    PyObject *held = find_carries(self, carry, &run_args);
    PyArrayObject *x = NULL;
    if (held) x = ebm__py_array(object, x_object, self->options.dtype, &self->options.x, "x0");
    if (x) {
        run_args.x = PyArray_DATA(x);
        result = run_into_arrays(self, &run_args);
    }
    Py_XDECREF(x);
    Py_XDECREF(held);
    return result;
}

static PyObject *get_block(PyObject *object, void *unused)
{
    (void)unused;
    return PyLong_FromLongLong(ebm_chain_block(((ebm_py_chain *)object)->chain));
}

static PyObject *get_bytes(PyObject *object, void *unused)
{
    (void)unused;
    return PyLong_FromSize_t(ebm_chain_bytes(((ebm_py_chain *)object)->chain));
}

static PyObject *words(const char *const *word, int32_t n)
{
    PyObject *names = PyTuple_New(n);
    for (int32_t k = 0; names && k < n; k++) {
        PyObject *name = PyUnicode_FromString(word[k]);
        if (name)
            PyTuple_SET_ITEM(names, k, name);
        else
            Py_CLEAR(names);
    }
    return names;
}

static PyObject *get_info(PyObject *object, void *unused)
{
    (void)unused;
    const ebm_sampler_kind *kind = ((ebm_py_chain *)object)->kind;
    return words(kind->info, kind->n_info);
}

static PyObject *get_carry(PyObject *object, void *unused)
{
    (void)unused;
    const ebm_sampler_kind *kind = ((ebm_py_chain *)object)->kind;
    return words(kind->carry + 1, kind->n_carry - 1);
}

static PyGetSetDef attributes[] = {
    {"info", get_info, NULL, "The names of what a step reports.", NULL},
    {"carry", get_carry, NULL, "The names of what lasts beside x.", NULL},
    {"block", get_block, NULL, "Rows that walk at once.", NULL},
    {"bytes", get_bytes, NULL, "Memory of a block.", NULL},
    {0},
};

static PyType_Slot slots[] = {
    EBM_PY_SLOT(Py_tp_new, chain_new),
    EBM_PY_SLOT(Py_tp_dealloc, chain_dealloc),
    EBM_PY_SLOT(Py_tp_call, chain_call),
    {Py_tp_doc, "Chain(sampler, energy, dtype, shape, leg, rest=0, info=False, block=0)\n--\n\n"
                "A walk in legs: (x, key, first step, legs, trace, carry) gives (x, infos, "
                "carries)."},
    {Py_tp_getset, attributes},
    {0, NULL},
};

static PyType_Spec spec = {
    .name = "ebmlib._core.Chain",
    .basicsize = sizeof(ebm_py_chain),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = slots,
};

int ebm__py_add_chain(PyObject *module)
{
    ebm_py_state *state = PyModule_GetState(module);
    return ebm__py_add_type(module, &spec, &state->chain);
}
