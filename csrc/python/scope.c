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
} ebm_py_scope;

PyObject *ebm__py_scope_lend(ebm_py_graph *graph, const ebm_scope *scope)
{
    ebm_py_state *state = ebm__py_state((PyObject *)graph);
    ebm_py_scope *self = state ? (ebm_py_scope *)state->scope->tp_alloc(state->scope, 0) : NULL;
    if (!self) return NULL;
    self->graph = (ebm_py_graph *)Py_NewRef(graph);
    self->scope = scope;
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

/* param(name, shape, constant, scale) */
static PyObject *scope_param(PyObject *object, PyObject *args)
{
    ebm_py_scope *self = (ebm_py_scope *)object;
    const char *name;
    PyObject *shape_object;
    ebm_shape shape;
    ebm_init init;
    if (!PyArg_ParseTuple(args, "sOdd:param", &name, &shape_object, &init.constant, &init.scale) ||
        ebm__py_shape(shape_object, &shape, name) < 0)
        return NULL;
    ebm_py_state *state = ebm__py_state(object);
    if (!state) return NULL;
    if (!self->scope || !ebm__py_graph_alive(self->graph)) {
        PyErr_SetString(state->exception[EBM_STATE],
                        "a scope escaped: the network that it belongs to has been built");
        return NULL;
    }
    ebm_ref ref = ebm_scope_param(self->scope, self->graph->graph, name, &shape, init);
    return ebm__py_node_new(self->graph, ref, false);
}

/* ---- functions as networks --------------------------------------------------------------- */

static ebm_ref build(const void *context, const ebm_scope *scope, ebm_graph *graph, ebm_ref x)
{
    const ebm_py_function *function = context;
    return ebm__py_energy_call(&function->call, scope, graph, &x, 1);
}

int ebm__py_function(ebm_py_function *out, PyObject *self, PyObject *pair, ebm_dtype dtype)
{
    const char *kind;
    PyObject *dict;
    if (ebm__py_kind(pair, &kind, &dict) < 0) return -1;
    if (strcmp(kind, "function") != 0) return 0;
    PyObject *call = PyDict_GetItemString(dict, "build");
    PyObject *name = PyDict_GetItemString(dict, "name");
    PyObject *rows = PyDict_GetItemString(dict, "rows_independent");
    PyObject *known = PyDict_GetItemString(dict, "normalized");
    if (!call || !name || !PyUnicode_Check(name) || !rows) {
        PyErr_SetString(PyExc_TypeError, "function: expected build, name and rows_independent");
        return -1;
    }
    int independent = PyObject_IsTrue(rows), normalized = known ? PyObject_IsTrue(known) : 0;
    const char *text = PyUnicode_AsUTF8(name);
    if (independent < 0 || normalized < 0 || !text ||
        ebm__py_energy_init(&out->call, self, call, dtype) < 0)
        return -1;
    out->name = Py_NewRef(name);
    out->energy = (ebm_energy){.build = build,
                               .context = out,
                               .rows_independent = independent != 0,
                               .name = text,
                               .normalized = normalized != 0};
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
    {0},
};

static PyType_Slot slots[] = {
    EBM_PY_SLOT(Py_tp_dealloc, scope_dealloc),
    {Py_tp_doc, "Where a network that is a function gets its parameters."},
    {Py_tp_methods, methods},
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
