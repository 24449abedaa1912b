/* trainer.c - the type Trainer: an estimator at work on a network. */
#include "estimators/trainer.h"

#include "base/alloc.h"
#include "ops/ops.h"
#include "python/bound.h"
#include "python/convert.h"
#include "python/error.h"
#include "python/graph.h"
#include "python/options.h"
#include "python/poll.h"
#include "python/sampler.h"

typedef struct ebm_py_trainer {
    PyObject_HEAD ebm_trainer *trainer;
    ebm_trainer_spec spec;    /* its pointers are gone after the constructor */
    ebm_py_function function; /* empty for a network of C */
    PyObject *data;           /* the array that is fed; strong */
    bool busy;
    unsigned long runner; /* the thread that runs it, while it is busy */
} ebm_py_trainer;

static int trainer_traverse(PyObject *object, visitproc visit, void *arg)
{
    ebm_py_trainer *self = (ebm_py_trainer *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->data);
    return ebm__py_function_traverse(&self->function, visit, arg);
}

static void trainer_dealloc(PyObject *object)
{
    ebm_py_trainer *self = (ebm_py_trainer *)object;
    PyObject_GC_UnTrack(object);
    ebm_trainer_free(self->trainer);
    ebm__py_function_fini(&self->function);
    Py_XDECREF(self->data);
    ebm__py_free(object);
}

/* The C parts that a spec points at, while it is made. */
typedef struct parts {
    ebm_network *network;
    ebm_sampler *sampler;
    void *estimator_options, *optimizer_options, *schedule_options;
} parts;

static void parts_free(parts *p)
{
    ebm_network_free(p->network);
    ebm_sampler_free(p->sampler);
    ebm__free(p->estimator_options);
    ebm__free(p->optimizer_options);
    ebm__free(p->schedule_options);
}

static int find_schedule(PyObject *self, ebm_trainer_spec *spec, parts *p, PyObject *schedule)
{
    const char *name;
    PyObject *dict;
    if (schedule == Py_None) return 0;
    if (ebm__py_kind(schedule, &name, &dict) < 0) return -1;
    spec->schedule = ebm_schedule_find(name);
    if (!spec->schedule) {
        ebm__py_raise(self, EBM_VALUE);
        return -1;
    }
    p->schedule_options = ebm__py_options_new(self, dict, &spec->schedule->options);
    spec->schedule_options = p->schedule_options;
    return p->schedule_options ? 0 : -1;
}

static int find_kinds(PyObject *self, ebm_trainer_spec *spec, parts *p, PyObject *estimator,
                      PyObject *optimizer)
{
    const char *name;
    PyObject *dict;
    if (ebm__py_kind(estimator, &name, &dict) < 0) return -1;
    spec->estimator = ebm_estimator_find(name);
    if (!spec->estimator) goto unknown;
    p->estimator_options = ebm__py_options_new(self, dict, &spec->estimator->options);
    if (!p->estimator_options || ebm__py_kind(optimizer, &name, &dict) < 0) return -1;
    spec->optimizer = ebm_optimizer_find(name);
    if (!spec->optimizer) goto unknown;
    p->optimizer_options = ebm__py_options_new(self, dict, &spec->optimizer->options);
    if (!p->optimizer_options) return -1;
    spec->estimator_options = p->estimator_options;
    spec->optimizer_options = p->optimizer_options;
    return 0;
unknown:
    ebm__py_raise(self, EBM_VALUE);
    return -1;
}

static int make_trainer(ebm_py_trainer *self, PyObject *network, PyObject *estimator,
                        PyObject *optimizer, PyObject *sampler, PyObject *training,
                        PyObject *schedule)
{
    PyObject *object = (PyObject *)self;
    parts p = {0};
    int result = -1;
    if (ebm__py_options(object, training, &ebm_training_table, &self->spec.training) < 0)
        goto done;
    if (find_kinds(object, &self->spec, &p, estimator, optimizer) < 0) goto done;
    if (find_schedule(object, &self->spec, &p, schedule) < 0) goto done;
    int is_function = ebm__py_function(&self->function, object, network, self->spec.dtype);
    if (is_function == 0) p.network = ebm__py_network(object, network);
    if (is_function < 0 || (!is_function && !p.network)) goto done;
    if (sampler != Py_None) p.sampler = ebm__py_sampler(object, sampler);
    if (sampler != Py_None && !p.sampler) goto done;
    self->spec.network = p.network;
    self->spec.energy = &self->function.energy;
    self->spec.sampler = p.sampler;
    EBM_PY_TRY_TO(object, ebm_trainer_new(&self->trainer, &self->spec), done);
    result = 0;
done:
    parts_free(&p);
    return result;
}

static PyObject *trainer_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"network", "estimator", "optimizer", "sampler",  "training",
                            "shape",   "dtype",     "key",       "schedule", NULL};
    PyObject *network, *estimator, *optimizer, *sampler, *training, *shape, *dtype, *key;
    PyObject *schedule = Py_None;
    ebm_trainer_spec spec = {.device = NULL};
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OOOOO!OOO|O:Trainer", names, &network,
                                     &estimator, &optimizer, &sampler, &PyDict_Type, &training,
                                     &shape, &dtype, &key, &schedule))
        return NULL;
    if (ebm__py_shape(shape, &spec.row, "shape") < 0 || ebm__py_dtype(dtype, &spec.dtype) < 0 ||
        ebm__py_key(key, spec.key) < 0)
        return NULL;
    ebm_py_trainer *self = (ebm_py_trainer *)type->tp_alloc(type, 0);
    if (!self) return NULL;
    self->spec = spec;
    if (ebm__py_device((PyObject *)self, NULL, &self->spec.device) == 0 &&
        make_trainer(self, network, estimator, optimizer, sampler, training, schedule) == 0)
        return (PyObject *)self;
    Py_DECREF(self);
    return NULL;
}

/* False with StateError while a run is under way: its arrays belong to the run. */
static bool is_idle(ebm_py_trainer *self)
{
    if (!self->busy) return true;
    ebm__py_raise((PyObject *)self, ebm_fail(EBM_STATE, "trainer: it is running"));
    return false;
}

/* ---- data and runs ----------------------------------------------------------------------- */

/* Rows that are whole in themselves may lie anywhere: a memory map is not copied. */
static bool rows_are_whole(PyArrayObject *array)
{
    npy_intp expected = PyArray_ITEMSIZE(array);
    for (int i = PyArray_NDIM(array) - 1; i > 0; i--) {
        if (PyArray_DIM(array, i) != 1 && PyArray_STRIDE(array, i) != expected) return false;
        expected *= PyArray_DIM(array, i);
    }
    return PyArray_ISALIGNED(array) && PyArray_ISNOTSWAPPED(array);
}

static PyObject *trainer_feed(PyObject *object, PyObject *args)
{
    ebm_py_trainer *self = (ebm_py_trainer *)object;
    PyObject *data;
    ebm_rows rows = {.scale = 1.0};
    if (!PyArg_ParseTuple(args, "O!|dd:feed", &PyArray_Type, &data, &rows.scale, &rows.shift))
        return NULL;
    if (!is_idle(self)) return NULL;
    PyArrayObject *array = (PyArrayObject *)data;
    if (ebm__py_array_dtype(array, &rows.dtype, "feed") < 0) return NULL;
    if (PyArray_NDIM(array) < 1 || !rows_are_whole(array)) {
        PyErr_SetString(PyExc_ValueError, "feed: an array of contiguous rows is expected");
        return NULL;
    }
    rows.data = PyArray_DATA(array);
    rows.n = PyArray_DIM(array, 0);
    rows.row = rows.n > 0 ? PyArray_SIZE(array) / rows.n : 0;
    rows.row_stride = PyArray_STRIDE(array, 0);
    EBM_PY_TRY(object, ebm_trainer_feed(self->trainer, &rows));
    Py_XSETREF(self->data, Py_NewRef(data));
    Py_RETURN_NONE;
}

/* run(n, callback): what stopped it early is raised; a callback that returns False just ends
 * it. */
static PyObject *trainer_run(PyObject *object, PyObject *args)
{
    ebm_py_trainer *self = (ebm_py_trainer *)object;
    long long n;
    PyObject *callback = Py_None;
    if (!PyArg_ParseTuple(args, "L|O:run", &n, &callback) || !is_idle(self)) return NULL;
    ebm_py_run run;
    self->busy = true;
    self->runner = PyThread_get_thread_ident();
    ebm__py_run_begin(&run, callback == Py_None ? NULL : callback);
    ebm_status status = ebm_trainer_run(self->trainer, n, &run.poll);
    ebm__py_run_end(&run);
    self->busy = false;
    if (status == EBM_CANCELLED && run.stopped && !PyErr_Occurred()) Py_RETURN_FALSE;
    EBM_PY_TRY(object, status);
    Py_RETURN_TRUE;
}

/* metrics(first=0): {name: array of the values of the steps run by this trainer, from
 * `first`}.  While it runs, from its callback only: rows are appended between polls. */
static PyObject *trainer_metrics(PyObject *object, PyObject *args)
{
    ebm_py_trainer *self = (ebm_py_trainer *)object;
    const ebm_trainer *trainer = self->trainer;
    long long first = 0;
    if (!PyArg_ParseTuple(args, "|L:metrics", &first)) return NULL;
    bool inside = self->busy && self->runner == PyThread_get_thread_ident();
    if (!inside && !is_idle(self)) return NULL;
    int64_t width = ebm_trainer_n_metrics(trainer), n = ebm_trainer_n_rows(trainer);
    first = first < 0 ? 0 : first > n ? n : first;
    ebm_shape shape = EBM_DIMS(n - first);
    PyObject *dict = PyDict_New();
    for (int32_t k = 0; dict && k < width; k++) {
        PyObject *values = ebm__py_empty(EBM_F64, &shape);
        double *to = values ? PyArray_DATA((PyArrayObject *)values) : NULL;
        for (int64_t i = first; to && i < n; i++)
            to[i - first] = ebm_trainer_rows(trainer)[i * width + k];
        if (!values || PyDict_SetItemString(dict, ebm_trainer_metric(trainer, k), values) < 0)
            Py_CLEAR(dict);
        Py_XDECREF(values);
    }
    return dict;
}

/* ---- arrays ------------------------------------------------------------------------------ */

static PyObject *trainer_get(PyObject *object, PyObject *args)
{
    ebm_py_trainer *self = (ebm_py_trainer *)object;
    const char *prefix = "";
    if (!PyArg_ParseTuple(args, "|s:get", &prefix) || !is_idle(self)) return NULL;
    return ebm__py_state_dict(object, ebm_trainer_state(self->trainer), prefix);
}

static PyObject *trainer_set(PyObject *object, PyObject *dict)
{
    ebm_py_trainer *self = (ebm_py_trainer *)object;
    if (!is_idle(self)) return NULL;
    if (!PyDict_Check(dict)) {
        PyErr_SetString(PyExc_TypeError, "a dict of arrays is expected");
        return NULL;
    }
    if (ebm__py_state_update(object, ebm_trainer_state(self->trainer), "", dict, true) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *trainer_clear(PyObject *object, PyObject *args)
{
    ebm_py_trainer *self = (ebm_py_trainer *)object;
    PyObject *key_object = Py_None;
    uint32_t key[2];
    if (!PyArg_ParseTuple(args, "|O:clear", &key_object) || !is_idle(self)) return NULL;
    bool given = key_object != Py_None;
    if (given && ebm__py_key(key_object, key) < 0) return NULL;
    EBM_PY_TRY(object, ebm_trainer_clear(self->trainer, given ? key : NULL));
    Py_RETURN_NONE;
}

static PyObject *trainer_set_rate(PyObject *object, PyObject *number)
{
    ebm_py_trainer *self = (ebm_py_trainer *)object;
    double rate = PyFloat_AsDouble(number);
    if (PyErr_Occurred() || !is_idle(self)) return NULL;
    EBM_PY_TRY(object, ebm_trainer_set_rate(self->trainer, rate));
    Py_RETURN_NONE;
}

static PyObject *get_steps(PyObject *object, void *unused)
{
    (void)unused;
    return PyLong_FromLongLong(ebm_trainer_steps(((ebm_py_trainer *)object)->trainer));
}

static PyObject *get_prefix(PyObject *object, void *unused)
{
    (void)unused;
    return PyUnicode_FromString(ebm_trainer_prefix(((ebm_py_trainer *)object)->trainer));
}

static PyObject *get_n_rows(PyObject *object, void *unused)
{
    (void)unused;
    return PyLong_FromLongLong(ebm_trainer_n_rows(((ebm_py_trainer *)object)->trainer));
}

static PyGetSetDef attributes[] = {
    {"steps", get_steps, NULL, "Good steps so far.", NULL},
    {"n_rows", get_n_rows, NULL, "Steps whose metrics are at hand.", NULL},
    {"prefix", get_prefix, NULL, "Prefix of the parameters to evaluate with.", NULL},
    {0},
};

static PyMethodDef methods[] = {
    {"feed", trainer_feed,
     METH_VARARGS, "feed($self, rows, scale=1, shift=0, /)\n--\n\nThe data from now on, read as rows * scale + shift."},
    {"run", trainer_run,
     METH_VARARGS, "run($self, n, callback=None, /)\n--\n\nUp to n steps; False if the callback returned False."},
    {"metrics", trainer_metrics, METH_VARARGS,
     "metrics($self, first=0, /)\n--\n\n{name: values of the steps run}."},
    {"get", trainer_get, METH_VARARGS,
     "get($self, prefix='', /)\n--\n\nCopies of the arrays below the prefix."},
    {"set", trainer_set, METH_O,
     "set($self, arrays, /)\n--\n\nWrites arrays by their full names."},
    {"clear", trainer_clear, METH_VARARGS,
     "clear($self, key=None, /)\n--\n\nGo on after a bad step, with another key."},
    {"set_rate", trainer_set_rate, METH_O, "set_rate($self, rate, /)\n--\n\nA new learning rate."},
    {0},
};

static PyType_Slot slots[] = {
    EBM_PY_SLOT(Py_tp_new, trainer_new),
    EBM_PY_SLOT(Py_tp_dealloc, trainer_dealloc),
    EBM_PY_SLOT(Py_tp_traverse, trainer_traverse),
    {Py_tp_doc,
     "Trainer(network, estimator, optimizer, sampler, training, shape, dtype, key, "
     "schedule=None)\n--\n\n"
     "An estimator at work; each of the first four, and the last, is (kind, options)."},
    {Py_tp_methods, methods},
    {Py_tp_getset, attributes},
    {0, NULL},
};

static PyType_Spec spec = {
    .name = "ebmlib._core.Trainer",
    .basicsize = sizeof(ebm_py_trainer),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = slots,
};

/* schedule_factor((kind, options), steps): what the learning rate is multiplied with, as a node. */
static PyObject *schedule_factor(PyObject *module, PyObject *args)
{
    ebm_py_state *state = PyModule_GetState(module);
    PyObject *pair, *object;
    ebm_trainer_spec found = {0};
    parts p = {0};
    if (!PyArg_ParseTuple(args, "OO!:schedule_factor", &pair, state->node, &object))
        return NULL;
    ebm_py_node *steps = (ebm_py_node *)object;
    if (!ebm__py_graph_get(state, (PyObject *)steps->graph)) return NULL;
    PyObject *factor = NULL;
    if (find_schedule(module, &found, &p, pair) == 0) {
        ebm_graph *g = steps->graph->graph;
        ebm_ref ref = ebm_schedule_build(found.schedule, found.schedule_options, g, steps->ref);
        if (ref == EBM_ONE) ref = ebm_full_like(g, ebm_cast(g, steps->ref, EBM_F64), 1.0);
        factor = ebm__py_node_new(steps->graph, ref, false);
    }
    parts_free(&p);
    return factor;
}

static PyMethodDef functions[] = {
    {"schedule_factor", schedule_factor, METH_VARARGS,
     "schedule_factor($module, schedule, steps, /)\n--\n\n"
     "What a schedule multiplies the learning rate with, for a traced array of steps."},
    {0},
};

int ebm__py_add_trainer(PyObject *module)
{
    ebm_py_state *state = PyModule_GetState(module);
    if (ebm__py_add_type(module, &spec, &state->trainer) < 0) return -1;
    return PyModule_AddFunctions(module, functions);
}
