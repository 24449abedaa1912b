/* node.c - the type Node: one value of a graph. */
#include "base/alloc.h"
#include "python/convert.h"
#include "python/error.h"
#include "python/graph.h"

static void node_dealloc(PyObject *self)
{
    Py_DECREF(((ebm_py_node *)self)->graph);
    ebm__py_free(self);
}

static PyObject *new_node(PyTypeObject *type, ebm_py_graph *graph, ebm_ref ref, bool weak)
{
    ebm_py_node *node = (ebm_py_node *)type->tp_alloc(type, 0);
    if (!node) return NULL;
    Py_INCREF(graph);
    node->graph = graph;
    node->ref = ref;
    node->weak = weak;
    return (PyObject *)node;
}

PyObject *ebm__py_node_new(ebm_py_graph *graph, ebm_ref ref, bool weak)
{
    ebm_py_state *state = ebm__py_state((PyObject *)graph);
    if (!state) return NULL;
    if (ref == EBM_POISON) {
        if (ebm__py_check_graph((PyObject *)graph, graph->graph) == 0)
            PyErr_SetString(PyExc_SystemError, "a poisoned value without an error");
        return NULL;
    }
    return new_node(state->array ? state->array : state->node, graph, ref, weak);
}

/* True if `owner` is `graph` or one of its ancestors. */
static bool is_ancestor(const ebm_graph *owner, const ebm_graph *graph)
{
    while (graph && graph != owner) graph = ebm_graph_parent(graph);
    return graph && owner;
}

ebm_ref ebm__py_ref(ebm_py_state *state, PyObject *object, ebm_py_graph *graph)
{
    if (!PyObject_TypeCheck(object, state->node)) {
        PyErr_Format(PyExc_TypeError, "a traced array is expected, got %s",
                     Py_TYPE(object)->tp_name);
        return EBM_POISON;
    }
    ebm_py_node *node = (ebm_py_node *)object;
    ebm_graph *owner = ebm__py_graph_alive(node->graph);
    if (owner == graph->graph) return node->ref;
    if (!is_ancestor(owner, graph->graph)) {
        PyErr_SetString(state->exception[EBM_STATE],
                        "a traced array escaped: it belongs to a function, or to a step of a "
                        "repeat, that has ended; return it from there instead of storing it");
        return EBM_POISON;
    }
    ebm_ref ref = ebm_lift(graph->graph, owner, node->ref);
    if (ref == EBM_POISON) ebm__py_check_graph((PyObject *)graph, graph->graph);
    return ref;
}

int32_t ebm__py_refs(ebm_py_state *state, PyObject *sequence, ebm_py_graph *graph, ebm_ref **out)
{
    PyObject *items = PySequence_Fast(sequence, "a sequence of traced arrays is expected");
    if (!items) return -1;
    Py_ssize_t n = PySequence_Fast_GET_SIZE(items);
    ebm_ref *refs = ebm__alloc((size_t)n, sizeof *refs);
    if (!refs) PyErr_NoMemory();
    bool good = refs && n <= INT32_MAX;
    for (Py_ssize_t i = 0; good && i < n; i++) {
        refs[i] = ebm__py_ref(state, PySequence_Fast_GET_ITEM(items, i), graph);
        good = refs[i] != EBM_POISON;
    }
    Py_DECREF(items);
    if (!good) {
        ebm__free(refs);
        return -1;
    }
    *out = refs;
    return (int32_t)n;
}

/* ---- attributes -------------------------------------------------------------------------- */

/* The node's C graph; NULL with StateError once its graph is detached. */
static ebm_graph *graph_of(PyObject *self)
{
    ebm_py_state *state = ebm__py_state(self);
    if (!state) return NULL;
    ebm_py_graph *graph = ebm__py_graph_get(state, (PyObject *)((ebm_py_node *)self)->graph);
    return graph ? graph->graph : NULL;
}

static PyObject *get_graph(PyObject *self, void *unused)
{
    (void)unused;
    return Py_NewRef(((ebm_py_node *)self)->graph);
}

static PyObject *get_ref(PyObject *self, void *unused)
{
    (void)unused;
    return PyLong_FromLong(((ebm_py_node *)self)->ref);
}

static PyObject *get_weak(PyObject *self, void *unused)
{
    (void)unused;
    return PyBool_FromLong(((ebm_py_node *)self)->weak);
}

static PyObject *get_dtype(PyObject *self, void *unused)
{
    (void)unused;
    ebm_graph *graph = graph_of(self);
    return graph ? ebm__py_descr(ebm_ref_dtype(graph, ((ebm_py_node *)self)->ref)) : NULL;
}

static PyObject *get_shape(PyObject *self, void *unused)
{
    (void)unused;
    ebm_graph *graph = graph_of(self);
    if (!graph) return NULL;
    ebm_shape shape = ebm_ref_shape(graph, ((ebm_py_node *)self)->ref);
    return ebm__py_shape_tuple(&shape);
}

static PyObject *get_ndim(PyObject *self, void *unused)
{
    (void)unused;
    ebm_graph *graph = graph_of(self);
    if (!graph) return NULL;
    return PyLong_FromLong(ebm_ref_shape(graph, ((ebm_py_node *)self)->ref).rank);
}

static PyObject *get_size(PyObject *self, void *unused)
{
    (void)unused;
    ebm_graph *graph = graph_of(self);
    if (!graph) return NULL;
    ebm_shape shape = ebm_ref_shape(graph, ((ebm_py_node *)self)->ref);
    return PyLong_FromLongLong(ebm_shape_size(&shape));
}

static PyObject *get_op(PyObject *self, void *unused)
{
    (void)unused;
    ebm_graph *graph = graph_of(self);
    if (!graph) return NULL;
    ebm_node node = ebm_graph_node(graph, ((ebm_py_node *)self)->ref);
    return PyUnicode_FromString(ebm_op_get(node.op)->name);
}

static PyObject *as_weak(PyObject *self, PyObject *unused)
{
    (void)unused;
    ebm_py_node *node = (ebm_py_node *)self;
    return new_node(Py_TYPE(self), node->graph, node->ref, true);
}

static PyGetSetDef attributes[] = {
    {"graph", get_graph, NULL, "The graph that it is a value of.", NULL},
    {"ref", get_ref, NULL, "Its number there.", NULL},
    {"weak", get_weak, NULL, "Whether it was a Python number.", NULL},
    {"dtype", get_dtype, NULL, "The type of its elements.", NULL},
    {"shape", get_shape, NULL, "The sizes of its axes.", NULL},
    {"ndim", get_ndim, NULL, "The number of its axes.", NULL},
    {"size", get_size, NULL, "The number of its elements.", NULL},
    {"op", get_op, NULL, "The name of the op that gives it.", NULL},
    {0},
};

static PyMethodDef methods[] = {
    {"as_weak", as_weak, METH_NOARGS,
     "as_weak($self, /)\n--\n\nThe same value, marked as one that was a Python number."},
    {0},
};

static PyType_Slot slots[] = {
    EBM_PY_SLOT(Py_tp_dealloc, node_dealloc),
    {Py_tp_doc, "A value of a graph: a dtype and a shape, no numbers."},
    {Py_tp_methods, methods},
    {Py_tp_getset, attributes},
    {0, NULL},
};

static PyType_Spec spec = {
    .name = "ebmlib._core.Node",
    .basicsize = sizeof(ebm_py_node),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = slots,
};

int ebm__py_add_node(PyObject *module)
{
    ebm_py_state *state = PyModule_GetState(module);
    return ebm__py_add_type(module, &spec, &state->node);
}
