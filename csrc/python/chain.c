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
    static char *names[] = {"sampler", "energy", "dtype", "shape", "n", "thin", "info", NULL};
    PyObject *pair, *energy, *dtype_object, *shape_object;
    long long n, thin = 0;
    int info = 0;
    ebm_chain_options options = {.device = ebm_device_cpu()};
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OOOOL|Lp:Chain", names, &pair, &energy,
                                     &dtype_object, &shape_object, &n, &thin, &info))
        return NULL;
    if (ebm__py_dtype(dtype_object, &options.dtype) < 0 ||
        ebm__py_shape(shape_object, &options.x, "x0") < 0)
        return NULL;
    options.n = n;
    options.thin = thin;
    options.info = info;
    ebm_py_chain *self = (ebm_py_chain *)type->tp_alloc(type, 0);
    if (!self) return NULL;
    self->options = options;
    if (compile(self, pair, energy) == 0) return (PyObject *)self;
    Py_DECREF(self);
    return NULL;
}

/* ---- runs -------------------------------------------------------------------------------- */

/* Fresh arrays for what comes behind x: the trace, or each info; a tuple. */
static PyObject *make_extras(const ebm_py_chain *self)
{
    const ebm_chain_options *o = &self->options;
    int32_t n = o->info ? self->kind->n_info : o->thin > 0 ? 1 : 0;
    PyObject *extras = PyTuple_New(n);
    for (int32_t k = 0; extras && k < n; k++) {
        ebm_shape shape = EBM_DIMS(o->x.dim[0]);
        if (!o->info) ebm_rows_shape(&shape, o->n / o->thin, &o->x);
        PyObject *array = ebm__py_empty(o->dtype, &shape);
        if (array)
            PyTuple_SET_ITEM(extras, k, array);
        else
            Py_CLEAR(extras);
    }
    return extras;
}

static ebm_status run(ebm_py_chain *self, PyArrayObject *x, const uint32_t key[2],
                      int32_t first, PyObject *end, PyObject *extras)
{
    void *extra[EBM_SAMPLER_MAX] = {0}, *out = PyArray_DATA((PyArrayObject *)end);
    for (Py_ssize_t k = 0; k < PyTuple_GET_SIZE(extras); k++)
        extra[k] = PyArray_DATA((PyArrayObject *)PyTuple_GET_ITEM(extras, k));
    const void *start = PyArray_DATA(x);
    bool info = self->options.info;
    ebm_py_run unlocked;
    ebm__py_run_begin(&unlocked, NULL);
    ebm_status status = ebm_chain_run(self->chain, start, key, first, out, info ? NULL : extra[0],
                                      info ? extra : NULL, &unlocked.poll);
    ebm__py_run_end(&unlocked);
    return status;
}

/* chain(x, key, first) -> (x after the steps, trace or infos...). */
static PyObject *chain_call(PyObject *object, PyObject *args, PyObject *keywords)
{
    ebm_py_chain *self = (ebm_py_chain *)object;
    PyObject *x_object, *key_object, *end = NULL, *extras = NULL, *result = NULL;
    int first;
    uint32_t key[2];
    if (keywords && PyDict_GET_SIZE(keywords)) {
        PyErr_SetString(PyExc_TypeError, "a chain takes no keyword arguments");
        return NULL;
    }
    if (!PyArg_ParseTuple(args, "OOi:Chain", &x_object, &key_object, &first)) return NULL;
    if (ebm__py_key(key_object, key) < 0) return NULL;
    if (self->busy) EBM_PY_TRY(object, ebm_fail(EBM_STATE, "chain: it is running already"));
    PyArrayObject *x = ebm__py_array(object, x_object, self->options.dtype, &self->options.x,
                                     "x0");
    if (x) end = ebm__py_empty(self->options.dtype, &self->options.x);
    if (end) extras = make_extras(self);
    if (extras) {
        self->busy = true;
        ebm_status status = run(self, x, key, first, end, extras);
        self->busy = false;
        if (status == EBM_OK)
            result = Py_BuildValue("OO", end, extras);
        else
            ebm__py_raise(object, status);
    }
    Py_XDECREF(x);
    Py_XDECREF(end);
    Py_XDECREF(extras);
    return result;
}

static PyObject *get_info(PyObject *object, void *unused)
{
    (void)unused;
    const ebm_sampler_kind *kind = ((ebm_py_chain *)object)->kind;
    PyObject *names = PyTuple_New(kind->n_info);
    for (int32_t k = 0; names && k < kind->n_info; k++) {
        PyObject *name = PyUnicode_FromString(kind->info[k]);
        if (name)
            PyTuple_SET_ITEM(names, k, name);
        else
            Py_CLEAR(names);
    }
    return names;
}

static PyGetSetDef attributes[] = {
    {"info", get_info, NULL, "The names of what a step reports.", NULL},
    {0},
};

static PyType_Slot slots[] = {
    EBM_PY_SLOT(Py_tp_new, chain_new),
    EBM_PY_SLOT(Py_tp_dealloc, chain_dealloc),
    EBM_PY_SLOT(Py_tp_call, chain_call),
    {Py_tp_doc, "Chain(sampler, energy, dtype, shape, n, thin=0, info=False)\n--\n\n"
                "A walk of n steps: called with (x, key, first step), gives (x, extras)."},
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
