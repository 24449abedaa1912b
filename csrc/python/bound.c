/* bound.c - the type Bound: a network bound to a shape, with arrays of its own. */
#include "python/bound.h"

#include <string.h>

#include "base/alloc.h"
#include "python/convert.h"
#include "python/error.h"
#include "python/graph.h"
#include "python/options.h"
#include "python/poll.h"

/* ---- what other files use ---------------------------------------------------------------- */

ebm_network *ebm__py_network(PyObject *self, PyObject *pair)
{
    const char *name;
    PyObject *dict;
    if (ebm__py_kind(pair, &name, &dict) < 0) return NULL;
    const ebm_network_kind *kind = ebm_network_find(name);
    if (!kind) {
        ebm__py_raise(self, EBM_VALUE);
        return NULL;
    }
    void *options = ebm__py_options_new(self, dict, &kind->options);
    if (!options) return NULL;
    ebm_network *network = NULL;
    ebm_status status = ebm_network_new(&network, kind, options);
    ebm__free(options);
    if (status != EBM_OK) ebm__py_raise(self, status);
    return network;
}

static ebm_ref build_function(const void *context, const ebm_scope *scope, ebm_graph *graph,
                              ebm_ref x)
{
    (void)scope;
    ebm_py_energy energy = *(const ebm_py_energy *)context;
    return ebm__py_energy_build(&energy, graph, &x, 1);
}

int ebm__py_as_energy(PyObject *self, PyObject *object, ebm_dtype dtype,
                      ebm_py_energy *function, ebm_energy *energy)
{
    ebm_py_state *state = ebm__py_state(self);
    if (!state) return -1;
    *function = (ebm_py_energy){0};
    if (PyObject_TypeCheck(object, state->bound)) {
        *energy = ebm_bound_energy(((ebm_py_bound *)object)->bound);
        return 0;
    }
    if (ebm__py_energy_init(function, self, object, dtype) < 0) return -1;
    *energy = (ebm_energy){.build = build_function,
                           .context = function,
                           .rows_independent = true,
                           .name = "energy"};
    return 0;
}

/* The part of `name` behind "<prefix>."; NULL if it begins otherwise. */
static const char *behind(const char *name, const char *prefix)
{
    size_t length = strlen(prefix);
    if (length == 0) return name;
    return strncmp(name, prefix, length) == 0 && name[length] == '.' ? name + length + 1 : NULL;
}

PyObject *ebm__py_state_dict(PyObject *self, ebm_state *state, const char *prefix)
{
    PyObject *dict = PyDict_New();
    for (int32_t i = 0; dict && i < ebm_state_count(state); i++) {
        const char *name = behind(ebm_state_name(state, i), prefix);
        if (!name) continue;
        PyObject *array = ebm__py_from_tensor(self, ebm_state_tensor(state, i));
        if (!array || PyDict_SetItemString(dict, name, array) < 0) Py_CLEAR(dict);
        Py_XDECREF(array);
    }
    return dict;
}

static int add_like(PyObject *self, ebm_state *state, const char *name, PyObject *value)
{
    ebm_dtype dtype;
    ebm_shape shape;
    PyArrayObject *array = ebm__py_array_any(self, value, name);
    if (!array) return -1;
    int result = ebm__py_array_dtype(array, &dtype, name);
    if (result == 0) result = ebm__py_array_shape(array, &shape, name);
    if (result == 0) {
        ebm_status status = ebm_state_add(state, name, dtype, &shape);
        if (status != EBM_OK) ebm__py_raise(self, status), result = -1;
    }
    Py_DECREF(array);
    return result;
}

static int update_one(PyObject *self, ebm_state *state, const char *name, PyObject *value,
                      bool add)
{
    if (add && ebm_state_find(state, name) < 0 && add_like(self, state, name, value) < 0)
        return -1;
    int32_t index = ebm_state_find(state, name);
    if (index < 0) {
        PyErr_Format(PyExc_ValueError, "unknown array '%s'", name);
        return -1;
    }
    const ebm_tensor *tensor = ebm_state_tensor(state, index);
    PyArrayObject *array = ebm__py_array(self, value, tensor->dtype, &tensor->shape, name);
    if (!array) return -1;
    ebm_status status = ebm_state_write(state, index, PyArray_DATA(array),
                                        ebm_tensor_bytes(tensor));
    Py_DECREF(array);
    if (status != EBM_OK) ebm__py_raise(self, status);
    return status == EBM_OK ? 0 : -1;
}

int ebm__py_state_update(PyObject *self, ebm_state *state, const char *prefix, PyObject *dict,
                         bool add)
{
    PyObject *name_object, *value;
    Py_ssize_t at = 0;
    char full[EBM_NAME_SIZE];
    while (PyDict_Next(dict, &at, &name_object, &value)) {
        const char *name = PyUnicode_AsUTF8(name_object);
        if (!name) return -1;
        if (prefix[0]) name = ebm_name_join(full, prefix, name);
        if (update_one(self, state, name, value, add) < 0) return -1;
    }
    return 0;
}

/* ---- the type ---------------------------------------------------------------------------- */

static ebm_bound *bound_of(PyObject *self)
{
    return ((ebm_py_bound *)self)->bound;
}

static int bound_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    return ebm__py_function_traverse(&((ebm_py_bound *)self)->function, visit, arg);
}

static void bound_dealloc(PyObject *self)
{
    PyObject_GC_UnTrack(self);
    ebm_bound_free(bound_of(self));
    ebm__py_function_fini(&((ebm_py_bound *)self)->function);
    ebm__py_free(self);
}

/* A network of C, or a function. */
static int make_bound(ebm_py_bound *self, PyObject *pair, const ebm_shape *row, ebm_dtype dtype,
                      const uint32_t key[2])
{
    PyObject *object = (PyObject *)self;
    const ebm_device *device = NULL;
    if (ebm__py_device(object, NULL, &device) < 0) return -1;
    int is_function = ebm__py_function(&self->function, object, pair, dtype);
    ebm_network *network = is_function == 0 ? ebm__py_network(object, pair) : NULL;
    if (is_function < 0 || (!is_function && !network)) return -1;
    const ebm_py_function *f = &self->function;
    ebm_status status;
    if (network)
        status = ebm_bound_new(&self->bound, network, row, dtype, device, key);
    else if (f->generator.build)
        status = ebm_bound_new_generator(&self->bound, &f->generator, row, dtype, device, key);
    else
        status = ebm_bound_new_energy(&self->bound, &f->energy, row, dtype, device, key);
    ebm_network_free(network);
    if (status != EBM_OK) ebm__py_raise(object, status);
    return status == EBM_OK ? 0 : -1;
}

static PyObject *bound_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    PyObject *pair, *row_object, *dtype_object, *key_object;
    ebm_shape row;
    ebm_dtype dtype;
    uint32_t key[2];
    if (keywords && PyDict_GET_SIZE(keywords)) {
        PyErr_SetString(PyExc_TypeError, "Bound() takes no keyword arguments");
        return NULL;
    }
    if (!PyArg_ParseTuple(args, "OOOO:Bound", &pair, &row_object, &dtype_object, &key_object))
        return NULL;
    if (ebm__py_shape(row_object, &row, "shape") < 0 ||
        ebm__py_dtype(dtype_object, &dtype) < 0 || ebm__py_key(key_object, key) < 0)
        return NULL;
    PyObject *self = type->tp_alloc(type, 0);
    if (!self) return NULL;
    if (make_bound((ebm_py_bound *)self, pair, &row, dtype, key) == 0) return self;
    Py_DECREF(self);
    return NULL;
}

/* ---- its faces --------------------------------------------------------------------------- */

/* The face of that name, and how many arrays follow it: args are (name, array, ...). */
static int face_of(PyObject *self, PyObject *args, ebm_face *face, ebm_face_shape *shape)
{
    static const char *const names[EBM_FACE_COUNT] = {"energy", "score", "mean", "sample",
                                                      "log_joint"};
    Py_ssize_t n = PyTuple_GET_SIZE(args);
    const char *name = n > 0 ? PyUnicode_AsUTF8(PyTuple_GET_ITEM(args, 0)) : NULL;
    int f = 0;
    while (name && f < EBM_FACE_COUNT && strcmp(name, names[f]) != 0) f++;
    if (!name || f == EBM_FACE_COUNT) {
        if (!PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "face: unknown");
        return -1;
    }
    *face = (ebm_face)f;
    ebm_status status = ebm_bound_face(bound_of(self), *face, shape);
    if (status != EBM_OK) {
        ebm__py_raise(self, status);
        return -1;
    }
    if (n - 1 == shape->n_in) return 0;
    PyErr_Format(PyExc_TypeError, "%s: got %zd arrays, expected %d", name, n - 1,
                 (int)shape->n_in);
    return -1;
}

/* Number i of the arrays, as n rows; n is that of the first one. */
static PyArrayObject *rows_of(PyObject *self, PyObject *args, const ebm_face_shape *shape,
                              int32_t i, int64_t *n)
{
    ebm_shape rows;
    PyObject *object = PyTuple_GET_ITEM(args, i + 1);
    ebm_dtype dtype = ebm_bound_params(bound_of(self))->dtype;
    PyArrayObject *array = ebm__py_array(self, object, dtype, NULL, "x");
    if (!array) return NULL;
    if (i == 0) *n = PyArray_NDIM(array) > 0 ? PyArray_DIM(array, 0) : 1;
    ebm_status status = ebm_rows_shape(&rows, *n, &shape->in[i]);
    PyArrayObject *checked = NULL;
    if (status == EBM_OK)
        checked = ebm__py_array(self, (PyObject *)array, dtype, &rows, "x");
    else
        ebm__py_raise(self, status);
    Py_DECREF(array);
    return checked;
}

static PyObject *run_face(PyObject *self, ebm_face face, const ebm_face_shape *shape,
                          PyArrayObject *const *arrays, int64_t n)
{
    ebm_shape rows;
    const void *in[EBM_FACE_INPUTS] = {NULL, NULL};
    for (int32_t i = 0; i < shape->n_in; i++) in[i] = PyArray_DATA(arrays[i]);
    ebm_status status = ebm_rows_shape(&rows, n, &shape->out);
    PyObject *result = NULL;
    if (status == EBM_OK) {
        result = ebm__py_empty(ebm_bound_params(bound_of(self))->dtype, &rows);
        if (!result) return NULL;
        ebm_py_run run;
        void *out = PyArray_DATA((PyArrayObject *)result);
        ebm__py_run_begin(&run, NULL);
        status = ebm_bound_run_face(bound_of(self), face, in, n, out, &run.poll);
        ebm__py_run_end(&run);
    }
    if (status != EBM_OK) {
        ebm__py_raise(self, status);
        Py_CLEAR(result);
    }
    return result;
}

/* run(face, *arrays): of rows, as an array. */
static PyObject *bound_run(PyObject *self, PyObject *args)
{
    ebm_face face;
    ebm_face_shape shape;
    PyArrayObject *arrays[EBM_FACE_INPUTS] = {NULL, NULL};
    int64_t n = 0;
    if (face_of(self, args, &face, &shape) < 0) return NULL;
    bool ok = true;
    for (int32_t i = 0; i < shape.n_in && ok; i++) {
        arrays[i] = rows_of(self, args, &shape, i, &n);
        ok = arrays[i] != NULL;
    }
    PyObject *result = ok ? run_face(self, face, &shape, arrays, n) : NULL;
    for (int32_t i = 0; i < EBM_FACE_INPUTS; i++) Py_XDECREF(arrays[i]);
    return result;
}

/* build(face, *nodes): a node of the same graph. */
static PyObject *bound_build(PyObject *self, PyObject *args)
{
    ebm_py_state *state = ebm__py_state(self);
    ebm_face face;
    ebm_face_shape shape;
    ebm_ref in[EBM_FACE_INPUTS];
    if (!state || face_of(self, args, &face, &shape) < 0) return NULL;
    PyObject *first = PyTuple_GET_ITEM(args, 1);
    if (!PyObject_TypeCheck(first, state->node)) {
        PyErr_Format(PyExc_TypeError, "a traced array is expected, got %s",
                     Py_TYPE(first)->tp_name);
        return NULL;
    }
    ebm_py_graph *graph = ((ebm_py_node *)first)->graph;
    if (!ebm__py_graph_get(state, (PyObject *)graph)) return NULL;
    for (int32_t i = 0; i < shape.n_in; i++) {
        in[i] = ebm__py_ref(state, PyTuple_GET_ITEM(args, i + 1), graph);
        if (in[i] == EBM_POISON) return NULL;
    }
    ebm_ref result = ebm_bound_build(bound_of(self), face, graph->graph, in);
    return ebm__py_node_new(graph, result, false);
}

/* The statistics among the refs, one a parameter, as a dict of nodes. */
static PyObject *seen_dict(ebm_py_graph *graph, const ebm_params *params, const ebm_ref *seen)
{
    PyObject *dict = PyDict_New();
    for (int64_t k = 0; dict && k < params->n; k++) {
        if (seen[k] <= EBM_POISON) continue;
        PyObject *node = ebm__py_node_new(graph, seen[k], false);
        if (!node || PyDict_SetItemString(dict, params->at[k].name, node) < 0) Py_CLEAR(dict);
        Py_XDECREF(node);
    }
    return dict;
}

/* train(z, key): (rows, {name: statistic}). */
static PyObject *bound_train(PyObject *self, PyObject *args)
{
    ebm_py_state *state = ebm__py_state(self);
    PyObject *z, *key, *result = NULL;
    if (!state || !PyArg_ParseTuple(args, "O!O:train", (PyTypeObject *)state->node, &z, &key))
        return NULL;
    ebm_py_graph *graph = ((ebm_py_node *)z)->graph;
    const ebm_params *params = ebm_bound_params(bound_of(self));
    if (!ebm__py_graph_get(state, (PyObject *)graph)) return NULL;
    ebm_ref of_z = ebm__py_ref(state, z, graph);
    ebm_ref of_key = key == Py_None ? EBM_NONE : ebm__py_ref(state, key, graph);
    if (of_z == EBM_POISON || of_key == EBM_POISON) return NULL;
    ebm_ref *seen = ebm__alloc((size_t)params->n, sizeof *seen);
    if (!seen) return ebm__py_raise(self, EBM_NOMEM);
    ebm_ref rows = ebm_bound_train(bound_of(self), graph->graph, of_z, of_key, seen);
    PyObject *node = ebm__py_node_new(graph, rows, false);
    PyObject *statistics = node ? seen_dict(graph, params, seen) : NULL;
    if (statistics) result = PyTuple_Pack(2, node, statistics);
    Py_XDECREF(statistics);
    Py_XDECREF(node);
    ebm__free(seen);
    return result;
}

/* traits(): what it is, by name. */
static PyObject *bound_traits(PyObject *self, PyObject *unused)
{
    (void)unused;
    const ebm_generator *gen = ebm_bound_generator(bound_of(self));
    const ebm_network_kind *kind = ebm_bound_kind(bound_of(self));
    bool normalized = ebm_bound_energy(bound_of(self)).normalized;
    bool energy = ebm_bound_is_energy(bound_of(self));
    return Py_BuildValue("{sOsLsOsOsO}", "energy", energy ? Py_True : Py_False, "latent",
                         gen ? (long long)gen->latent : 0LL, "noisy",
                         gen && gen->noisy ? Py_True : Py_False, "normalized",
                         normalized ? Py_True : Py_False, "exact",
                         kind && kind->exact ? Py_True : Py_False);
}

static PyObject *bound_get(PyObject *self, PyObject *unused)
{
    (void)unused;
    return ebm__py_state_dict(self, ebm_bound_state(bound_of(self)), "params");
}

static PyObject *bound_set(PyObject *self, PyObject *dict)
{
    if (!PyDict_Check(dict)) {
        PyErr_SetString(PyExc_TypeError, "a dict of arrays is expected");
        return NULL;
    }
    if (ebm__py_state_update(self, ebm_bound_state(bound_of(self)), "params", dict, false) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"run", bound_run, METH_VARARGS,
     "run($self, face, /, *arrays)\n--\n\n"
     "'energy' or 'score' of x, 'mean' of z, 'sample' of z and eps or 'log_joint' of x and z: "
     "of rows of\n"
     "exactly these shapes and this dtype."},
    {"build", bound_build, METH_VARARGS,
     "build($self, face, /, *nodes)\n--\n\nThe same of traced arrays."},
    {"train", bound_train, METH_VARARGS,
     "train($self, z, key, /)\n--\n\n"
     "(rows, {name: statistic}): g of a traced z with the statistics of the batch, and "
     "dropout\n"
     "unless the key is None."},
    {"traits", bound_traits, METH_NOARGS,
     "traits($self)\n--\n\n"
     "energy, latent (0: no generator), noisy, normalized and exact, by name."},
    {"get", bound_get, METH_NOARGS, "get($self)\n--\n\nA dict of copies of the parameters."},
    {"set", bound_set, METH_O, "set($self, arrays, /)\n--\n\nWrites parameters by name."},
    {0},
};

static PyType_Slot slots[] = {
    EBM_PY_SLOT(Py_tp_new, bound_new),
    EBM_PY_SLOT(Py_tp_dealloc, bound_dealloc),
    EBM_PY_SLOT(Py_tp_traverse, bound_traverse),
    {Py_tp_doc,
     "Bound(network, shape, dtype, key)\n--\n\n"
     "A network (kind, options) bound to the shape of a row, with arrays of its own."},
    {Py_tp_methods, methods},
    {0, NULL},
};

static PyType_Spec spec = {
    .name = "ebmlib._core.Bound",
    .basicsize = sizeof(ebm_py_bound),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = slots,
};

/* ---- shapes without arrays --------------------------------------------------------------- */

static PyObject *shapes_dict(const ebm_params *params)
{
    PyObject *dict = PyDict_New();
    for (int64_t i = 0; dict && i < params->n; i++) {
        PyObject *shape = ebm__py_shape_tuple(&params->at[i].shape);
        if (!shape || PyDict_SetItemString(dict, params->at[i].name, shape) < 0) Py_CLEAR(dict);
        Py_XDECREF(shape);
    }
    return dict;
}

/* parameter_shapes(network, row): of a network that is not made yet, so that a file can be held
 * against its own claims before anything is allocated. */
static PyObject *parameter_shapes(PyObject *module, PyObject *args)
{
    PyObject *pair, *row_object, *dict = NULL;
    ebm_shape row;
    if (!PyArg_ParseTuple(args, "OO:parameter_shapes", &pair, &row_object)) return NULL;
    if (ebm__py_shape(row_object, &row, "shape") < 0) return NULL;
    ebm_network *network = ebm__py_network(module, pair);
    if (!network) return NULL;
    ebm_params params = {0};
    ebm_status status = ebm_network_list(network, &row, EBM_F32, &params);
    if (status == EBM_OK)
        dict = shapes_dict(&params);
    else
        ebm__py_raise(module, status);
    ebm_params_fini(&params);
    ebm_network_free(network);
    return dict;
}

static PyMethodDef functions[] = {
    {"parameter_shapes", parameter_shapes, METH_VARARGS,
     "parameter_shapes($module, network, row, /)\n--\n\n"
     "{name: shape} of the parameters of a network (kind, options)."},
    {0},
};

int ebm__py_add_bound(PyObject *module)
{
    ebm_py_state *state = PyModule_GetState(module);
    if (PyModule_AddFunctions(module, functions) < 0) return -1;
    return ebm__py_add_type(module, &spec, &state->bound);
}
