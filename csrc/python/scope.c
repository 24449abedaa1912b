/* scope.c - the type Scope, and networks that are Python functions. */
#include "python/scope.h"

#include <string.h>

#include "networks/layers.h"
#include "python/convert.h"
#include "python/error.h"
#include "python/options.h"

typedef struct ebm_py_scope {
    PyObject_HEAD ebm_py_graph *graph; /* strong */
    const ebm_scope *scope;            /* NULL once detached */
    const ebm_shape *row;              /* of what a generator makes; NULL for an energy */
} ebm_py_scope;

PyObject *ebm__py_scope_lend(ebm_py_graph *graph, const ebm_scope *scope, const ebm_shape *row)
{
    ebm_py_state *state = ebm__py_state((PyObject *)graph);
    ebm_py_scope *self = state ? (ebm_py_scope *)state->scope->tp_alloc(state->scope, 0) : NULL;
    if (!self) return NULL;
    self->graph = (ebm_py_graph *)Py_NewRef(graph);
    self->scope = scope;
    self->row = row;
    return (PyObject *)self;
}

void ebm__py_scope_detach(PyObject *scope)
{
    ((ebm_py_scope *)scope)->scope = NULL;
}

static void scope_dealloc(PyObject *self)
{
    Py_XDECREF(((ebm_py_scope *)self)->graph);
    ebm__py_free(self);
}

/* The scope, while it is lent; NULL with StateError. */
static ebm_py_scope *lent(PyObject *object)
{
    ebm_py_scope *self = (ebm_py_scope *)object;
    ebm_py_state *state = ebm__py_state(object);
    if (!state) return NULL;
    if (self->scope && ebm__py_graph_alive(self->graph)) return self;
    PyErr_SetString(state->exception[EBM_STATE],
                    "a scope escaped: the network that it belongs to has been built");
    return NULL;
}

/* param(name, shape, constant, scale) */
static PyObject *scope_param(PyObject *object, PyObject *args)
{
    const char *name;
    PyObject *shape_object;
    ebm_shape shape;
    ebm_init init;
    if (!PyArg_ParseTuple(args, "sOdd:param", &name, &shape_object, &init.constant, &init.scale) ||
        ebm__py_shape(shape_object, &shape, name) < 0)
        return NULL;
    ebm_py_scope *self = lent(object);
    if (!self) return NULL;
    ebm_ref ref = ebm_scope_param(self->scope, self->graph->graph, name, &shape, init);
    return ebm__py_node_new(self->graph, ref, false);
}

/* The rows that a layer gets, in the scope's graph; EBM_POISON with an exception.  What a step of a
 * loop sees of a batch, nobody outside of it can keep. */
static ebm_ref rows_of(const ebm_py_scope *self, const char *layer, PyObject *x)
{
    ebm_py_state *state = ebm__py_state((PyObject *)self);
    ebm_py_graph *of_x = PyObject_TypeCheck(x, state->node) ? ((ebm_py_node *)x)->graph : NULL;
    while (of_x && of_x != self->graph) of_x = of_x->parent;
    if (of_x && of_x != ((ebm_py_node *)x)->graph) {
        PyErr_Format(PyExc_ValueError,
                     "layer '%s': got rows of a step of a repeat, expected it outside of loops",
                     layer);
        return EBM_POISON;
    }
    return ebm__py_ref(state, x, self->graph);
}

/* batch_norm(name, x) */
static PyObject *scope_batch_norm(PyObject *object, PyObject *args)
{
    const char *name;
    PyObject *x;
    ebm_py_scope *self = lent(object);
    if (!self || !PyArg_ParseTuple(args, "sO:batch_norm", &name, &x)) return NULL;
    ebm_ref rows = rows_of(self, name, x);
    if (rows == EBM_POISON) return NULL;
    ebm_ref ref = ebm_layer_batch_norm(self->scope, self->graph->graph, name, rows);
    return ebm__py_node_new(self->graph, ref, false);
}

/* dropout(name, x, rate) */
static PyObject *scope_dropout(PyObject *object, PyObject *args)
{
    const char *name;
    PyObject *x;
    double rate;
    ebm_py_scope *self = lent(object);
    if (!self || !PyArg_ParseTuple(args, "sOd:dropout", &name, &x, &rate)) return NULL;
    ebm_ref rows = rows_of(self, name, x);
    if (rows == EBM_POISON) return NULL;
    ebm_ref ref = ebm_layer_dropout(self->scope, self->graph->graph, name, rows, rate);
    return ebm__py_node_new(self->graph, ref, false);
}

static PyObject *scope_row(PyObject *object, void *unused)
{
    (void)unused;
    ebm_py_scope *self = lent(object);
    if (!self) return NULL;
    return self->row ? ebm__py_shape_tuple(self->row) : Py_NewRef(Py_None);
}

/* ---- functions as networks --------------------------------------------------------------- */

static ebm_ref build(const void *context, const ebm_scope *scope, ebm_graph *graph, ebm_ref x)
{
    const ebm_py_function *function = context;
    return ebm__py_energy_call(&function->call, scope, NULL, graph, &x, 1);
}

static ebm_ref generate(const void *context, const ebm_scope *scope, ebm_graph *graph,
                        ebm_ref z, const ebm_shape *row)
{
    const ebm_py_function *function = context;
    return ebm__py_energy_call(&function->call, scope, row, graph, &z, 1);
}

static int make_energy(ebm_py_function *out, PyObject *dict, const char *name)
{
    PyObject *rows = PyDict_GetItemString(dict, "rows_independent");
    PyObject *known = PyDict_GetItemString(dict, "normalized");
    if (!rows) {
        PyErr_SetString(PyExc_TypeError, "function: expected rows_independent");
        return -1;
    }
    int independent = PyObject_IsTrue(rows), normalized = known ? PyObject_IsTrue(known) : 0;
    out->energy = (ebm_energy){.build = build,
                               .context = out,
                               .rows_independent = independent != 0,
                               .name = name,
                               .normalized = normalized != 0};
    out->generator = (ebm_generator){.name = name};
    return independent < 0 || normalized < 0 ? -1 : 0;
}

static int make_generator(ebm_py_function *out, PyObject *dict, const char *name)
{
    PyObject *latent = PyDict_GetItemString(dict, "latent");
    PyObject *sigma = PyDict_GetItemString(dict, "sigma");
    if (!latent || !sigma) {
        PyErr_SetString(PyExc_TypeError, "function_generator: expected latent and sigma");
        return -1;
    }
    out->generator = (ebm_generator){.build = generate,
                                     .context = out,
                                     .latent = PyLong_AsLongLong(latent),
                                     .sigma = PyFloat_AsDouble(sigma),
                                     .name = name};
    out->generator.noisy = out->generator.sigma > 0;
    out->energy = ebm_generator_as_energy(&out->generator);
    return PyErr_Occurred() ? -1 : 0;
}

int ebm__py_function(ebm_py_function *out, PyObject *self, PyObject *pair, ebm_dtype dtype)
{
    const char *kind;
    PyObject *dict;
    if (ebm__py_kind(pair, &kind, &dict) < 0) return -1;
    bool generates = strcmp(kind, "function_generator") == 0;
    if (!generates && strcmp(kind, "function") != 0) return 0;
    PyObject *call = PyDict_GetItemString(dict, "build");
    PyObject *name = PyDict_GetItemString(dict, "name");
    if (!call || !name || !PyUnicode_Check(name)) {
        PyErr_Format(PyExc_TypeError, "%s: expected build and name", kind);
        return -1;
    }
    const char *text = PyUnicode_AsUTF8(name);
    if (!text || (generates ? make_generator : make_energy)(out, dict, text) < 0 ||
        ebm__py_energy_init(&out->call, self, call, dtype) < 0)
        return -1;
    out->name = Py_NewRef(name);
    return 1;
}

void ebm__py_function_fini(ebm_py_function *function)
{
    ebm__py_energy_fini(&function->call);
    Py_CLEAR(function->name);
}

int ebm__py_function_traverse(ebm_py_function *function, visitproc visit, void *arg)
{
    Py_VISIT(function->call.module);
    Py_VISIT(function->call.function);
    return 0;
}

/* ---- the type ---------------------------------------------------------------------------- */

static PyObject *activation_gain(PyObject *module, PyObject *word)
{
    static const char *const names[] = {
#define EBM_ACTIVATION_NAME(name, builder, gain) #name,
        EBM_ACTIVATIONS(EBM_ACTIVATION_NAME)
#undef EBM_ACTIVATION_NAME
    };
    (void)module;
    const char *text = PyUnicode_AsUTF8(word);
    if (!text) return NULL;
    for (int f = 0; f < EBM_ACTIVATION_COUNT; f++)
        if (strcmp(text, names[f]) == 0)
            return PyFloat_FromDouble(ebm_activation_gain((ebm_activation)f));
    PyErr_Format(PyExc_ValueError, "init: got %R, expected a number or one of: %s", word,
                 EBM_ACTIVATION_WORDS);
    return NULL;
}

static PyMethodDef functions[] = {
    {"activation_gain", activation_gain, METH_O,
     "activation_gain($module, name, /)\n--\n\n1 / rms of the activation of N(0, 1)."},
    {0},
};

static PyMethodDef methods[] = {
    {"param", scope_param, METH_VARARGS,
     "param($self, name, shape, constant, scale, /)\n--\n\n"
     "A parameter that starts as constant + scale * N(0, 1)."},
    {"batch_norm", scope_batch_norm, METH_VARARGS,
     "batch_norm($self, name, x, /)\n--\n\n"
     "By the batch's statistics in training, else by those kept."},
    {"dropout", scope_dropout, METH_VARARGS,
     "dropout($self, name, x, rate, /)\n--\n\nIn training; else x itself."},
    {0},
};

static PyGetSetDef attributes[] = {
    {"row", scope_row, NULL, "Shape of a row that a generator makes; None of an energy.", NULL},
    {0},
};

static PyType_Slot slots[] = {
    EBM_PY_SLOT(Py_tp_dealloc, scope_dealloc),
    {Py_tp_doc, "Where a network that is a function gets its parameters."},
    {Py_tp_methods, methods},
    {Py_tp_getset, attributes},
    {0, NULL},
};

static PyType_Spec spec = {
    .name = "ebmlib._core.Scope",
    .basicsize = sizeof(ebm_py_scope),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = slots,
};

int ebm__py_add_scope(PyObject *module)
{
    ebm_py_state *state = PyModule_GetState(module);
    if (PyModule_AddFunctions(module, functions) < 0) return -1;
    return ebm__py_add_type(module, &spec, &state->scope);
}
