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
    ebm_trainer_spec spec;                   /* its pointers are gone after the constructor */
    ebm_py_function function[EBM_PARTS_MAX]; /* of the energy, then of the others; empty for a
                                              * network of C */
    PyObject *data;                          /* the array that is fed; strong */
    bool busy;
    unsigned long runner; /* the thread that runs it, while it is busy */
} ebm_py_trainer;

static int trainer_traverse(PyObject *object, visitproc visit, void *arg)
{
    ebm_py_trainer *self = (ebm_py_trainer *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->data);
    for (int k = 0; k < EBM_PARTS_MAX; k++) {
        int stop = ebm__py_function_traverse(&self->function[k], visit, arg);
        if (stop) return stop;
    }
    return 0;
}

static void trainer_dealloc(PyObject *object)
{
    ebm_py_trainer *self = (ebm_py_trainer *)object;
    PyObject_GC_UnTrack(object);
    ebm_trainer_free(self->trainer);
    for (int k = 0; k < EBM_PARTS_MAX; k++) ebm__py_function_fini(&self->function[k]);
    Py_XDECREF(self->data);
    ebm__py_free(object);
}

/* The C objects that a spec points at, while it is made. */
typedef struct parts {
    ebm_network *network[EBM_PARTS_MAX]; /* of the energy, then of the others */
    void *optimizer_options[EBM_PARTS_MAX], *schedule_options[EBM_PARTS_MAX];
    ebm_sampler *sampler;
    void *estimator_options, *entropy_options;
} parts;

static void parts_free(parts *p)
{
    for (int k = 0; k < EBM_PARTS_MAX; k++) {
        ebm_network_free(p->network[k]);
        ebm__free(p->optimizer_options[k]);
        ebm__free(p->schedule_options[k]);
    }
    ebm_sampler_free(p->sampler);
    ebm__free(p->estimator_options);
    ebm__free(p->entropy_options);
}

/* The struct of a pair (kind, options), with the table that `find` has for the kind; -1 with an
 * exception. */
static void *find_options(PyObject *self, PyObject *pair, const void *(*find)(const char *),
                          const void **kind)
{
    const char *name;
    PyObject *dict;
    if (ebm__py_kind(pair, &name, &dict) < 0) return NULL;
    *kind = find(name);
    if (*kind) return ebm__py_options_new(self, dict, *kind);
    ebm__py_raise(self, EBM_VALUE);
    return NULL;
}

/* Kinds begin with their tables of options. */
static const void *estimator_of(const char *name)
{
    return ebm_estimator_find(name);
}
static const void *optimizer_of(const char *name)
{
    return ebm_optimizer_find(name);
}
static const void *schedule_of(const char *name)
{
    return ebm_schedule_find(name);
}
static const void *entropy_of(const char *name)
{
    return ebm_entropy_find(name);
}

/* An update: (optimizer, schedule or None, options), the first two (kind, options). */
static int find_update(PyObject *self, PyObject *object, ebm_update *update, parts *p, int k)
{
    PyObject *optimizer, *schedule, *options;
    const void *kind;
    if (!PyArg_ParseTuple(object, "OOO!:update", &optimizer, &schedule, &PyDict_Type, &options) ||
        ebm__py_options(self, options, &ebm_update_table, &update->options) < 0)
        return -1;
    p->optimizer_options[k] = find_options(self, optimizer, optimizer_of, &kind);
    if (!p->optimizer_options[k]) return -1;
    update->optimizer = kind;
    update->optimizer_options = p->optimizer_options[k];
    if (schedule == Py_None) return 0;
    p->schedule_options[k] = find_options(self, schedule, schedule_of, &kind);
    if (!p->schedule_options[k]) return -1;
    update->schedule = kind;
    update->schedule_options = p->schedule_options[k];
    return 0;
}

/* The network of part k, as one of C or a function. */
static int find_network(PyObject *self, PyObject *pair, ebm_dtype dtype, int k, parts *p,
                        ebm_py_function *function)
{
    int is_function = ebm__py_function(&function[k], self, pair, dtype);
    if (is_function == 0) p->network[k] = ebm__py_network(self, pair);
    return is_function < 0 || (!is_function && !p->network[k]) ? -1 : 0;
}

/* {name: (network or None, update)} */
static int find_parts(PyObject *self, PyObject *dict, ebm_trainer_spec *spec, parts *p,
                      ebm_py_function *function)
{
    PyObject *name, *value, *network, *update;
    Py_ssize_t at = 0;
    while (PyDict_Next(dict, &at, &name, &value)) {
        int k = spec->n_parts + 1;
        if (k == EBM_PARTS_MAX) {
            PyErr_Format(PyExc_ValueError, "parts: got more than %d", EBM_PARTS_MAX - 1);
            return -1;
        }
        ebm_part_spec *part = &spec->part[spec->n_parts++];
        part->name = PyUnicode_AsUTF8(name);
        if (!part->name || !PyArg_ParseTuple(value, "OO!:part", &network, &PyTuple_Type, &update))
            return -1;
        if (network != Py_None && find_network(self, network, spec->dtype, k, p, function) < 0)
            return -1;
        part->network = p->network[k];
        if (network != Py_None && !p->network[k]) part->generator = &function[k].generator;
        if (find_update(self, update, &part->update, p, k) < 0) return -1;
    }
    return 0;
}

/* What is the same for a trainer and for the shapes of its arrays. */
typedef struct arguments {
    PyObject *network, *estimator, *update, *sampler, *entropy, *parts;
} arguments;

/* function: EBM_PARTS_MAX of them, which stay where they are. */
static int find_kinds(PyObject *self, const arguments *a, ebm_trainer_spec *spec, parts *p,
                      ebm_py_function *function)
{
    const void *kind;
    p->estimator_options = find_options(self, a->estimator, estimator_of, &kind);
    if (!p->estimator_options) return -1;
    spec->estimator = kind;
    spec->estimator_options = p->estimator_options;
    if (find_update(self, a->update, &spec->update, p, 0) < 0) return -1;
    if (find_parts(self, a->parts, spec, p, function) < 0) return -1;
    if (a->sampler != Py_None) p->sampler = ebm__py_sampler(self, a->sampler);
    if (a->sampler != Py_None && !p->sampler) return -1;
    spec->sampler = p->sampler;
    if (a->entropy == Py_None) return 0;
    p->entropy_options = find_options(self, a->entropy, entropy_of, &kind);
    if (!p->entropy_options) return -1;
    spec->entropy = (ebm_entropy){kind, p->entropy_options};
    return 0;
}

static int find_energy(PyObject *self, PyObject *pair, ebm_trainer_spec *spec, parts *p,
                       ebm_py_function *function)
{
    if (find_network(self, pair, spec->dtype, EBM_PART_ENERGY, p, function) < 0) return -1;
    spec->network = p->network[EBM_PART_ENERGY];
    spec->energy = &function[EBM_PART_ENERGY].energy;
    return 0;
}

static int make_trainer(ebm_py_trainer *self, const arguments *a, PyObject *training)
{
    PyObject *object = (PyObject *)self;
    parts p = {0};
    int result = -1;
    if (ebm__py_options(object, training, &ebm_training_table, &self->spec.training) < 0 ||
        find_kinds(object, a, &self->spec, &p, self->function) < 0 ||
        find_energy(object, a->network, &self->spec, &p, self->function) < 0)
        goto done;
    EBM_PY_TRY_TO(object, ebm_trainer_new(&self->trainer, &self->spec), done);
    result = 0;
done:
    parts_free(&p);
    return result;
}

static PyObject *trainer_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"network",  "estimator", "update", "sampler", "entropy", "parts",
                            "training", "shape",     "dtype",  "key",     NULL};
    PyObject *training, *shape, *dtype, *key;
    arguments a;
    ebm_trainer_spec spec = {.device = NULL};
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OOO!OOO!O!OOO:Trainer", names, &a.network,
                                     &a.estimator, &PyTuple_Type, &a.update, &a.sampler,
                                     &a.entropy, &PyDict_Type, &a.parts, &PyDict_Type,
                                     &training, &shape, &dtype, &key))
        return NULL;
    if (ebm__py_shape(shape, &spec.row, "shape") < 0 || ebm__py_dtype(dtype, &spec.dtype) < 0 ||
        ebm__py_key(key, spec.key) < 0)
        return NULL;
    ebm_py_trainer *self = (ebm_py_trainer *)type->tp_alloc(type, 0);
    if (!self) return NULL;
    self->spec = spec;
    if (ebm__py_device((PyObject *)self, NULL, &self->spec.device) == 0 &&
        make_trainer(self, &a, training) == 0)
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

static PyObject *trainer_set_rate(PyObject *object, PyObject *args)
{
    ebm_py_trainer *self = (ebm_py_trainer *)object;
    const char *part;
    double rate;
    if (!PyArg_ParseTuple(args, "sd:set_rate", &part, &rate) || !is_idle(self)) return NULL;
    EBM_PY_TRY(object, ebm_trainer_set_rate(self->trainer, part, rate));
    Py_RETURN_NONE;
}

static PyObject *trainer_prefix(PyObject *object, PyObject *name)
{
    ebm_py_trainer *self = (ebm_py_trainer *)object;
    const char *part = PyUnicode_AsUTF8(name);
    char text[EBM_NAME_SIZE];
    if (!part) return NULL;
    EBM_PY_TRY(object, ebm_trainer_prefix(self->trainer, part, text));
    return PyUnicode_FromString(text);
}

static PyObject *get_steps(PyObject *object, void *unused)
{
    (void)unused;
    return PyLong_FromLongLong(ebm_trainer_steps(((ebm_py_trainer *)object)->trainer));
}

static PyObject *get_n_rows(PyObject *object, void *unused)
{
    (void)unused;
    return PyLong_FromLongLong(ebm_trainer_n_rows(((ebm_py_trainer *)object)->trainer));
}

static PyGetSetDef attributes[] = {
    {"steps", get_steps, NULL, "Good steps so far.", NULL},
    {"n_rows", get_n_rows, NULL, "Steps whose metrics are at hand.", NULL},
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
    {"set_rate", trainer_set_rate, METH_VARARGS,
     "set_rate($self, part, rate, /)\n--\n\nA new learning rate of a part."},
    {"prefix", trainer_prefix, METH_O,
     "prefix($self, part, /)\n--\n\nPrefix of the parameters of a part to evaluate with."},
    {0},
};

static PyType_Slot slots[] = {
    EBM_PY_SLOT(Py_tp_new, trainer_new),
    EBM_PY_SLOT(Py_tp_dealloc, trainer_dealloc),
    EBM_PY_SLOT(Py_tp_traverse, trainer_traverse),
    {Py_tp_doc,
     "Trainer(network, estimator, update, sampler, entropy, parts, training, shape, dtype, key)"
     "\n--\n\nAn estimator at work.  Network, estimator, sampler and entropy are (kind, "
     "options); an update is (optimizer, schedule, options); parts {name: (network, update)}."},
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

/* ---- without arrays ---------------------------------------------------------------------- */

/* {name: (shape, whether it is trained)} */
static PyObject *params_dict(const ebm_params *params)
{
    PyObject *dict = PyDict_New();
    for (int64_t i = 0; dict && i < params->n; i++) {
        PyObject *shape = ebm__py_shape_tuple(&params->at[i].shape);
        PyObject *pair = shape ? Py_BuildValue("NO", shape,
                                               params->at[i].statistic ? Py_False : Py_True)
                               : NULL;
        if (!pair || PyDict_SetItemString(dict, params->at[i].name, pair) < 0) Py_CLEAR(dict);
        Py_XDECREF(pair);
    }
    return dict;
}

/* part_arrays(network, estimator, update, entropy, parts, row): {prefix: {name: (shape,
 * trained)}} of what a trainer would make, so that a file can be held against its own claims
 * before anything is allocated. */
static PyObject *part_arrays(PyObject *module, PyObject *args)
{
    PyObject *row, *dict = NULL;
    arguments a = {.sampler = Py_None};
    ebm_trainer_spec wanted = {.dtype = EBM_F32};
    ebm_py_function function[EBM_PARTS_MAX] = {0};
    parts p = {0};
    ebm_parts *made = NULL;
    if (!PyArg_ParseTuple(args, "OOO!OO!O:part_arrays", &a.network, &a.estimator, &PyTuple_Type,
                          &a.update, &a.entropy, &PyDict_Type, &a.parts, &row) ||
        ebm__py_shape(row, &wanted.row, "shape") < 0)
        return NULL;
    if (find_kinds(module, &a, &wanted, &p, function) < 0 ||
        find_energy(module, a.network, &wanted, &p, function) < 0)
        goto done;
    EBM_PY_TRY_TO(module, ebm_parts_new(&made, &wanted), done);
    dict = PyDict_New();
    for (int32_t k = 0; dict && k < made->n; k++) {
        PyObject *params = params_dict(&made->part[k].params);
        if (!params || PyDict_SetItemString(dict, made->part[k].prefix, params) < 0)
            Py_CLEAR(dict);
        Py_XDECREF(params);
    }
done:
    ebm_parts_free(made);
    parts_free(&p);
    for (int k = 0; k < EBM_PARTS_MAX; k++) ebm__py_function_fini(&function[k]);
    return dict;
}

/* schedule_factor((kind, options), steps): what the learning rate is multiplied with, as a node. */
static PyObject *schedule_factor(PyObject *module, PyObject *args)
{
    ebm_py_state *state = PyModule_GetState(module);
    PyObject *pair, *object, *factor = NULL;
    const void *kind;
    if (!PyArg_ParseTuple(args, "OO!:schedule_factor", &pair, state->node, &object))
        return NULL;
    ebm_py_node *steps = (ebm_py_node *)object;
    if (!ebm__py_graph_get(state, (PyObject *)steps->graph)) return NULL;
    void *options = find_options(module, pair, schedule_of, &kind);
    if (options) {
        ebm_graph *g = steps->graph->graph;
        ebm_ref ref = ebm_schedule_build(kind, options, g, steps->ref);
        if (ref == EBM_ONE) ref = ebm_full_like(g, ebm_cast(g, steps->ref, EBM_F64), 1.0);
        factor = ebm__py_node_new(steps->graph, ref, false);
    }
    ebm__free(options);
    return factor;
}

static PyMethodDef functions[] = {
    {"schedule_factor", schedule_factor, METH_VARARGS,
     "schedule_factor($module, schedule, steps, /)\n--\n\n"
     "What a schedule multiplies the learning rate with, for a traced array of steps."},
    {"part_arrays", part_arrays, METH_VARARGS,
     "part_arrays($module, network, estimator, update, entropy, parts, row, /)\n--\n\n"
     "{prefix: {name: (shape, trained)}} of what an estimator trains."},
    {0},
};

int ebm__py_add_trainer(PyObject *module)
{
    ebm_py_state *state = PyModule_GetState(module);
    if (ebm__py_add_type(module, &spec, &state->trainer) < 0) return -1;
    return PyModule_AddFunctions(module, functions);
}
