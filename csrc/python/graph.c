/* graph.c - the type Graph. */
#include "python/graph.h"

#include "base/alloc.h"
#include "graph/rules.h"
#include "python/convert.h"
#include "python/error.h"

static PyObject *new_graph(PyTypeObject *type, ebm_graph *graph, ebm_py_graph *parent, bool owned)
{
    ebm_py_graph *self = (ebm_py_graph *)type->tp_alloc(type, 0);
    if (!self) return NULL;
    self->graph = graph;
    self->owned = owned;
    Py_XINCREF(parent);
    self->parent = parent;
    return (PyObject *)self;
}

static PyObject *graph_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    if (!PyArg_ParseTuple(args, ":Graph")) return NULL;
    if (keywords && PyDict_GET_SIZE(keywords)) {
        PyErr_SetString(PyExc_TypeError, "Graph() takes no arguments");
        return NULL;
    }
    ebm_graph *graph;
    if (ebm_graph_new(&graph) != EBM_OK) return PyErr_NoMemory();
    PyObject *self = new_graph(type, graph, NULL, true);
    if (!self) ebm_graph_free(graph);
    return self;
}

static void graph_dealloc(PyObject *object)
{
    ebm_py_graph *self = (ebm_py_graph *)object;
    if (self->owned) ebm_graph_free(self->graph);
    Py_XDECREF(self->parent);
    ebm__py_free(object);
}

PyObject *ebm__py_graph_lend(PyObject *self, ebm_graph *graph)
{
    ebm_py_state *state = ebm__py_state(self);
    return state ? new_graph(state->graph, graph, NULL, false) : NULL;
}

void ebm__py_graph_detach(PyObject *graph)
{
    ((ebm_py_graph *)graph)->graph = NULL;
}

ebm_graph *ebm__py_graph_alive(const ebm_py_graph *graph)
{
    for (const ebm_py_graph *g = graph; g; g = g->parent)
        if (!g->graph) return NULL;
    return graph->graph;
}

ebm_py_graph *ebm__py_graph_get(ebm_py_state *state, PyObject *object)
{
    if (!PyObject_TypeCheck(object, state->graph)) {
        PyErr_Format(PyExc_TypeError, "a Graph is expected, got %s", Py_TYPE(object)->tp_name);
        return NULL;
    }
    ebm_py_graph *graph = (ebm_py_graph *)object;
    if (ebm__py_graph_alive(graph)) return graph;
    PyErr_SetString(state->exception[EBM_STATE],
                    "a traced array escaped: the energy that it belongs to has been built");
    return NULL;
}

/* What every method needs; NULL with an exception for a wrong number of arguments or a graph
 * that is detached. */
static ebm_py_state *enter(PyObject *self, Py_ssize_t n, Py_ssize_t expected, const char *name)
{
    if (n != expected) {
        PyErr_Format(PyExc_TypeError, "Graph.%s takes %zd arguments, got %zd", name, expected, n);
        return NULL;
    }
    ebm_py_state *state = ebm__py_state(self);
    return state && ebm__py_graph_get(state, self) ? state : NULL;
}

/* A list of the nodes of `refs`; NULL with the graph's error if one is poisoned. */
static PyObject *node_list(ebm_py_graph *graph, const ebm_ref *refs, int32_t n)
{
    PyObject *list = PyList_New(n);
    for (int32_t i = 0; list && i < n; i++) {
        PyObject *node = ebm__py_node_new(graph, refs[i], false);
        if (node)
            PyList_SET_ITEM(list, i, node);
        else
            Py_CLEAR(list);
    }
    return list;
}

/* ---- inputs ------------------------------------------------------------------------------ */

static PyObject *graph_input(PyObject *object, PyObject *const *args, Py_ssize_t n)
{
    ebm_py_graph *self = (ebm_py_graph *)object;
    if (!enter(object, n, 4, "input")) return NULL;
    const char *name = args[0] == Py_None ? NULL : PyUnicode_AsUTF8(args[0]);
    ebm_dtype dtype;
    ebm_shape shape;
    int weak = PyObject_IsTrue(args[3]);
    if ((!name && args[0] != Py_None) || weak < 0) return NULL;
    if (ebm__py_dtype(args[1], &dtype) < 0) return NULL;
    if (ebm__py_shape(args[2], &shape, "input") < 0) return NULL;
    return ebm__py_node_new(self, ebm_graph_input(self->graph, name, dtype, &shape), weak);
}

static PyObject *graph_capture(PyObject *object, PyObject *array)
{
    ebm_py_graph *self = (ebm_py_graph *)object;
    if (!enter(object, 1, 1, "capture")) return NULL;
    ebm_tensor *tensor;
    if (ebm__py_tensor(object, array, &tensor, "constant") < 0) return NULL;
    ebm_ref ref = ebm_graph_capture(self->graph, tensor);
    ebm_tensor_release(tensor);
    return ebm__py_node_new(self, ref, false);
}

static PyObject *graph_lift(PyObject *object, PyObject *node)
{
    ebm_py_graph *self = (ebm_py_graph *)object;
    ebm_py_state *state = enter(object, 1, 1, "lift");
    ebm_ref ref = state ? ebm__py_ref(state, node, self) : EBM_POISON;
    return ref == EBM_POISON ? NULL : ebm__py_node_new(self, ref, ((ebm_py_node *)node)->weak);
}

/* ---- repeat ------------------------------------------------------------------------------ */

static PyObject *graph_repeat_open(PyObject *object, PyObject *const *args, Py_ssize_t n)
{
    ebm_py_graph *self = (ebm_py_graph *)object;
    ebm_py_state *state = enter(object, n, 3, "repeat_open");
    if (!state) return NULL;
    long long steps = PyLong_AsLongLong(args[0]);
    if (steps == -1 && PyErr_Occurred()) return NULL;
    ebm_ref *carry = NULL, *xs = NULL, *inner = NULL, i = EBM_POISON;
    PyObject *body = NULL, *result = NULL;
    int32_t n_xs = 0, n_carry = ebm__py_refs(state, args[1], self, &carry);
    if (n_carry >= 0) n_xs = ebm__py_refs(state, args[2], self, &xs);
    if (n_carry < 0 || n_xs < 0) goto out;
    inner = ebm__alloc((size_t)n_carry + (size_t)n_xs, sizeof *inner);
    if (!inner) {
        PyErr_NoMemory();
        goto out;
    }
    ebm_graph *graph = ebm_repeat_open(self->graph, steps, carry, n_carry, xs, n_xs, &i, inner,
                                       inner + n_carry);
    if (ebm__py_check_graph(object, self->graph) < 0 || !graph) goto out;
    body = new_graph(state->graph, graph, self, false);
    if (!body) goto out;
    ebm_py_graph *inside = (ebm_py_graph *)body;
    result = Py_BuildValue("ONNN", body, ebm__py_node_new(inside, i, false),
                           node_list(inside, inner, n_carry),
                           node_list(inside, inner + n_carry, n_xs));
out:
    Py_XDECREF(body);
    ebm__free(carry);
    ebm__free(xs);
    ebm__free(inner);
    return result;
}

static PyObject *graph_repeat_close(PyObject *object, PyObject *const *args, Py_ssize_t n)
{
    ebm_py_graph *self = (ebm_py_graph *)object;
    ebm_py_state *state = enter(object, n, 3, "repeat_close");
    if (!state) return NULL;
    if (!self->parent) {
        PyErr_SetString(PyExc_TypeError, "repeat_close: not the body of a repeat");
        return NULL;
    }
    int reverse = PyObject_IsTrue(args[2]);
    if (reverse < 0) return NULL;
    ebm_ref *carry = NULL, *ys = NULL, *outer = NULL;
    PyObject *result = NULL;
    int32_t n_ys = 0, n_carry = ebm__py_refs(state, args[0], self, &carry);
    if (n_carry >= 0) n_ys = ebm__py_refs(state, args[1], self, &ys);
    if (n_carry < 0 || n_ys < 0) goto out;
    outer = ebm__alloc((size_t)n_carry + (size_t)n_ys, sizeof *outer);
    if (!outer) {
        PyErr_NoMemory();
        goto out;
    }
    ebm_repeat_close(self->graph, carry, ys, n_ys, reverse, outer, outer + n_carry);
    if (ebm__py_check_graph(object, self->graph) < 0) goto out;
    if (ebm__py_check_graph(object, self->parent->graph) < 0) goto out;
    result = Py_BuildValue("NN", node_list(self->parent, outer, n_carry),
                           node_list(self->parent, outer + n_carry, n_ys));
out:
    ebm__free(carry);
    ebm__free(ys);
    ebm__free(outer);
    return result;
}

/* ---- derivatives ------------------------------------------------------------------------- */

/* vjp(outs, cts or None, wrt) and jvp(outs, wrt, tangents) differ in what goes with what. */
static PyObject *derivative(PyObject *object, PyObject *const *args, Py_ssize_t n, bool forward)
{
    ebm_py_graph *self = (ebm_py_graph *)object;
    ebm_py_state *state = enter(object, n, 3, forward ? "jvp" : "vjp");
    if (!state) return NULL;
    PyObject *wrt_list = args[forward ? 1 : 2], *with_list = args[forward ? 2 : 1];
    ebm_ref *outs = NULL, *wrt = NULL, *with = NULL, *result = NULL;
    int32_t n_wrt = 0, n_with = 0, n_out = ebm__py_refs(state, args[0], self, &outs);
    if (n_out >= 0) n_wrt = ebm__py_refs(state, wrt_list, self, &wrt);
    bool given = with_list != Py_None;
    if (n_out >= 0 && n_wrt >= 0 && given) n_with = ebm__py_refs(state, with_list, self, &with);
    PyObject *list = NULL;
    if (n_out < 0 || n_wrt < 0 || n_with < 0) goto out;
    if ((forward || given) && n_with != (forward ? n_wrt : n_out)) {
        PyErr_Format(PyExc_ValueError, "%s: %d values go with %d", forward ? "jvp" : "vjp",
                     (int)n_with, (int)(forward ? n_wrt : n_out));
        goto out;
    }
    int32_t n_result = forward ? n_out : n_wrt;
    result = ebm__alloc((size_t)n_result, sizeof *result);
    if (!result) {
        PyErr_NoMemory();
        goto out;
    }
    if (forward)
        ebm_jvp(self->graph, outs, n_out, wrt, with, n_wrt, result);
    else
        ebm_vjp(self->graph, outs, with, n_out, wrt, n_wrt, result);
    if (ebm__py_check_graph(object, self->graph) == 0) list = node_list(self, result, n_result);
out:
    ebm__free(outs);
    ebm__free(wrt);
    ebm__free(with);
    ebm__free(result);
    return list;
}

static PyObject *graph_vjp(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
    return derivative(self, args, n, false);
}

static PyObject *graph_jvp(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
    return derivative(self, args, n, true);
}

/* ---- reading ----------------------------------------------------------------------------- */

static PyObject *graph_print(PyObject *object, PyObject *outs)
{
    ebm_py_graph *self = (ebm_py_graph *)object;
    ebm_py_state *state = enter(object, 1, 1, "print");
    if (!state) return NULL;
    ebm_ref *refs;
    int32_t n = ebm__py_refs(state, outs, self, &refs);
    if (n < 0) return NULL;
    char *text = NULL;
    ebm_status status = ebm_graph_print(&text, self->graph, refs, n);
    ebm__free(refs);
    EBM_PY_TRY(object, status);
    PyObject *result = PyUnicode_FromString(text);
    ebm__free(text);
    return result;
}

static PyObject *graph_same(PyObject *object, PyObject *const *args, Py_ssize_t n)
{
    ebm_py_graph *self = (ebm_py_graph *)object;
    ebm_py_state *state = enter(object, n, 3, "same");
    ebm_py_graph *other = state ? ebm__py_graph_get(state, args[1]) : NULL;
    if (!other) return NULL;
    ebm_ref *a = NULL, *b = NULL;
    int32_t n_a = ebm__py_refs(state, args[0], self, &a);
    int32_t n_b = n_a < 0 ? -1 : ebm__py_refs(state, args[2], other, &b);
    bool same = n_a == n_b && n_b >= 0 && ebm_graph_same(self->graph, other->graph);
    for (int32_t k = 0; same && k < n_a; k++) same = a[k] == b[k];
    ebm__free(a);
    ebm__free(b);
    return n_b < 0 ? NULL : PyBool_FromLong(same);
}

static PyObject *graph_parse(PyObject *type, PyObject *argument)
{
    const char *text = PyUnicode_AsUTF8(argument);
    if (!text) return NULL;
    PyObject *self = new_graph((PyTypeObject *)type, NULL, NULL, true);
    if (!self) return NULL;
    ebm_py_graph *made = (ebm_py_graph *)self;
    ebm_ref *outs = NULL;
    int32_t n = 0;
    ebm_status status = ebm_graph_parse(&made->graph, &outs, &n, text);
    if (status != EBM_OK) {
        ebm__py_raise(self, status);
        Py_DECREF(self);
        return NULL;
    }
    PyObject *nodes = node_list(made, outs, n);
    ebm__free(outs);
    return Py_BuildValue("NN", self, nodes);
}

/* The node for an input of `source`, if it is of the same dtype and shape; else EBM_POISON with an
 * exception. */
static ebm_ref for_input(ebm_py_state *state, ebm_py_graph *self, const ebm_graph *source,
                         int32_t k, PyObject *node)
{
    ebm_ref ref = ebm__py_ref(state, node, self), input = ebm_graph_input_ref(source, k);
    if (ref == EBM_POISON) return EBM_POISON;
    ebm_shape wanted = ebm_ref_shape(source, input), shape = ebm_ref_shape(self->graph, ref);
    ebm_dtype dtype = ebm_ref_dtype(self->graph, ref), own = ebm_ref_dtype(source, input);
    if (dtype == own && ebm_shape_equal(&shape, &wanted)) return ref;
    char had[128], text[128];
    ebm__py_raise((PyObject *)self,
                  ebm_fail(EBM_SHAPE, "inline: input %d: got %s %s, expected %s %s", (int)k,
                           ebm_dtype_name(dtype), ebm_shape_text(&shape, had, sizeof had),
                           ebm_dtype_name(own), ebm_shape_text(&wanted, text, sizeof text)));
    return EBM_POISON;
}

/* map[input] of the nodes given for the inputs; 0 where None is given. */
static int map_inputs(ebm_py_state *state, ebm_py_graph *self, const ebm_graph *source,
                      PyObject *inputs, ebm_ref *map)
{
    int32_t n = ebm_graph_n_inputs(source);
    PyObject *items = PySequence_Fast(inputs, "a sequence of traced arrays is expected");
    if (!items) return -1;
    bool good = PySequence_Fast_GET_SIZE(items) == n;
    if (!good)
        PyErr_Format(PyExc_ValueError, "inline: got %zd nodes for %d inputs",
                     PySequence_Fast_GET_SIZE(items), (int)n);
    for (int32_t k = 0; good && k < n; k++) {
        PyObject *node = PySequence_Fast_GET_ITEM(items, k);
        if (node == Py_None) continue;
        ebm_ref ref = for_input(state, self, source, k, node);
        map[ebm_graph_input_ref(source, k)] = ref;
        good = ref != EBM_POISON;
    }
    Py_DECREF(items);
    return good ? 0 : -1;
}

/* Of (k, out, function): input k is what the function makes of a node's copy. */
static int make_input(ebm_py_state *state, ebm_py_graph *self, ebm_py_graph *source,
                      PyObject *how, ebm_ref *map)
{
    int k;
    PyObject *object, *function;
    if (!PyArg_ParseTuple(how, "iOO:inline", &k, &object, &function)) return -1;
    ebm_ref out = ebm__py_ref(state, object, source), copy;
    if (out == EBM_POISON) return -1;
    if (k < 0 || k >= ebm_graph_n_inputs(source->graph)) {
        PyErr_Format(PyExc_ValueError, "inline: got input %d", k);
        return -1;
    }
    ebm__graph_inline(self->graph, source->graph, map, &out, 1, &copy);
    if (ebm__py_check_graph((PyObject *)self, self->graph) < 0) return -1;
    PyObject *node = ebm__py_node_new(self, copy, false);
    PyObject *made = node ? PyObject_CallOneArg(function, node) : NULL;
    ebm_ref ref = made ? for_input(state, self, source->graph, k, made) : EBM_POISON;
    map[ebm_graph_input_ref(source->graph, k)] = ref;
    Py_XDECREF(node);
    Py_XDECREF(made);
    return ref == EBM_POISON ? -1 : 0;
}

static int make_inputs(ebm_py_state *state, ebm_py_graph *self, ebm_py_graph *source,
                       PyObject *list, ebm_ref *map)
{
    PyObject *items = PySequence_Fast(list,
                                      "a sequence of (input, node, function) is expected");
    if (!items) return -1;
    int result = 0;
    for (Py_ssize_t i = 0; result == 0 && i < PySequence_Fast_GET_SIZE(items); i++)
        result = make_input(state, self, source, PySequence_Fast_GET_ITEM(items, i), map);
    Py_DECREF(items);
    return result;
}

/* inline(source, outs, inputs, made=()) */
static PyObject *graph_inline(PyObject *object, PyObject *const *args, Py_ssize_t n)
{
    ebm_py_graph *self = (ebm_py_graph *)object;
    ebm_py_state *state = enter(object, n, n == 4 ? 4 : 3, "inline");
    ebm_py_graph *source = state ? ebm__py_graph_get(state, args[0]) : NULL;
    if (!source) return NULL;
    PyObject *list = NULL;
    ebm_ref *outs = NULL, *results = NULL, *map = NULL;
    int32_t n_out = ebm__py_refs(state, args[1], source, &outs);
    if (n_out < 0) return NULL;
    map = ebm__alloc((size_t)ebm_graph_count(source->graph), sizeof *map);
    results = ebm__alloc((size_t)n_out, sizeof *results);
    if (!map || !results) {
        PyErr_NoMemory();
    } else if (map_inputs(state, self, source->graph, args[2], map) == 0 &&
               (n == 3 || make_inputs(state, self, source, args[3], map) == 0)) {
        ebm__graph_inline(self->graph, source->graph, map, outs, n_out, results);
        if (ebm__py_check_graph(object, self->graph) == 0)
            list = node_list(self, results, n_out);
    }
    ebm__free(outs);
    ebm__free(map);
    ebm__free(results);
    return list;
}

static PyObject *graph_verify(PyObject *self, PyObject *unused)
{
    (void)unused;
    if (!enter(self, 0, 0, "verify")) return NULL;
    EBM_PY_TRY(self, ebm_graph_verify(((ebm_py_graph *)self)->graph));
    Py_RETURN_NONE;
}

static PyObject *get_parent(PyObject *self, void *unused)
{
    (void)unused;
    PyObject *parent = (PyObject *)((ebm_py_graph *)self)->parent;
    return Py_NewRef(parent ? parent : Py_None);
}

static PyObject *get_count(PyObject *self, void *unused)
{
    (void)unused;
    if (!enter(self, 0, 0, "count")) return NULL;
    return PyLong_FromLong(ebm_graph_count(((ebm_py_graph *)self)->graph) - 1);
}

/* A tuple with, for each input, its name or None, its node, and its array if it is captured. */
static PyObject *get_inputs(PyObject *object, void *unused)
{
    (void)unused;
    if (!enter(object, 0, 0, "inputs")) return NULL;
    ebm_py_graph *self = (ebm_py_graph *)object;
    int32_t n = ebm_graph_n_inputs(self->graph);
    PyObject *inputs = PyTuple_New(n);
    for (int32_t k = 0; inputs && k < n; k++) {
        ebm_tensor *tensor = ebm_graph_input_tensor(self->graph, k);
        PyObject *array = tensor ? ebm__py_view(tensor, object) : Py_NewRef(Py_None);
        PyObject *node = ebm__py_node_new(self, ebm_graph_input_ref(self->graph, k), false);
        PyObject *row = NULL;
        if (array && node)
            row = Py_BuildValue("zOO", ebm_graph_input_name(self->graph, k), node, array);
        Py_XDECREF(array);
        Py_XDECREF(node);
        if (row)
            PyTuple_SET_ITEM(inputs, k, row);
        else
            Py_CLEAR(inputs);
    }
    return inputs;
}

static PyGetSetDef attributes[] = {
    {"parent", get_parent, NULL, "The graph whose repeat this is the body of, or None.", NULL},
    {"count", get_count, NULL, "The number of nodes.", NULL},
    {"inputs", get_inputs, NULL, "(name or None, node, array or None) an input.", NULL},
    {0},
};

static PyMethodDef methods[] = {
    {"input", EBM_PY_METHOD(graph_input), METH_FASTCALL,
     "input($self, name, dtype, shape, weak, /)\n--\n\nA new input; name may be None."},
    {"capture", graph_capture, METH_O,
     "capture($self, array, /)\n--\n\nAn input that is bound to a copy of the array."},
    {"lift", graph_lift, METH_O,
     "lift($self, node, /)\n--\n\nA value of an ancestor as one of this graph."},
    {"repeat_open", EBM_PY_METHOD(graph_repeat_open), METH_FASTCALL,
     "repeat_open($self, n, carry, xs, /)\n--\n\n(body, i, carry, xs) as a step sees them."},
    {"repeat_close", EBM_PY_METHOD(graph_repeat_close), METH_FASTCALL,
     "repeat_close($self, carry, ys, reverse, /)\n--\n\nOf a body: (carry, ys) in the parent."},
    {"vjp", EBM_PY_METHOD(graph_vjp), METH_FASTCALL,
     "vjp($self, outs, cts, wrt, /)\n--\n\nThe gradients in wrt; cts None means ones."},
    {"jvp", EBM_PY_METHOD(graph_jvp), METH_FASTCALL,
     "jvp($self, outs, wrt, tangents, /)\n--\n\nThe tangents of outs."},
    {"print", graph_print, METH_O, "print($self, outs, /)\n--\n\nThe text of what outs need."},
    {"same", EBM_PY_METHOD(graph_same), METH_FASTCALL,
     "same($self, outs, other, other_outs, /)\n--\n\n"
     "Whether all nodes of two graphs and outs are the same; arrays of inputs may differ."},
    {"parse", graph_parse, METH_O | METH_CLASS,
     "parse($type, text, /)\n--\n\n(graph, outs) from what print gave."},
    {"inline", EBM_PY_METHOD(graph_inline), METH_FASTCALL,
     "inline($self, source, outs, inputs, made=(), /)\n--\n\n"
     "Outs of another graph, copied into this one around the nodes given for its inputs; those "
     "that\nare None are made in between: (input, node of the other graph, function of its "
     "copy)."},
    {"verify", graph_verify, METH_NOARGS, "verify($self, /)\n--\n\nCheck every node again."},
    {0},
};

static PyType_Slot slots[] = {
    EBM_PY_SLOT(Py_tp_new, graph_new),
    EBM_PY_SLOT(Py_tp_dealloc, graph_dealloc),
    {Py_tp_doc, "Graph()\n--\n\nA computation written down: values without numbers."},
    {Py_tp_methods, methods},
    {Py_tp_getset, attributes},
    {0, NULL},
};

static PyType_Spec spec = {
    .name = "ebmlib._core.Graph",
    .basicsize = sizeof(ebm_py_graph),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = slots,
};

int ebm__py_add_graph(PyObject *module)
{
    ebm_py_state *state = PyModule_GetState(module);
    return ebm__py_add_type(module, &spec, &state->graph);
}
