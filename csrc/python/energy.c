#include "python/energy.h"

#include "python/convert.h"
#include "python/error.h"
#include "python/graph.h"

int ebm__py_energy_init(ebm_py_energy *energy, PyObject *self, PyObject *function, ebm_dtype dtype)
{
    PyObject *module = ebm__py_module(self);
    if (!module) return -1;
    if (!PyCallable_Check(function)) {
        PyErr_Format(PyExc_TypeError, "an energy must be callable, got %s",
                     Py_TYPE(function)->tp_name);
        return -1;
    }
    *energy = (ebm_py_energy){.module = Py_NewRef(module),
                              .function = Py_NewRef(function),
                              .dtype = dtype};
    return 0;
}

void ebm__py_energy_fini(ebm_py_energy *energy)
{
    Py_CLEAR(energy->module);
    Py_CLEAR(energy->function);
}

/* ebmlib._trace.call_in(graph, dtype, function, nodes): traces it into the lent graph. */
static PyObject *call_traced(const ebm_py_energy *energy, PyObject *graph, PyObject *nodes)
{
    PyObject *trace = PyImport_ImportModule("ebmlib._trace");
    if (!trace) return NULL;
    PyObject *result = PyObject_CallMethod(trace, "call_in", "ONOO", graph,
                                           ebm__py_descr(energy->dtype), energy->function, nodes);
    Py_DECREF(trace);
    return result;
}

static PyObject *as_nodes(PyObject *graph, const ebm_ref *refs, int32_t n)
{
    PyObject *nodes = PyTuple_New(n);
    for (int32_t i = 0; nodes && i < n; i++) {
        PyObject *node = ebm__py_node_new((ebm_py_graph *)graph, refs[i], false);
        if (node)
            PyTuple_SET_ITEM(nodes, i, node);
        else
            Py_CLEAR(nodes);
    }
    return nodes;
}

ebm_ref ebm__py_energy_build(void *context, ebm_graph *graph, const ebm_ref *args, int32_t n_args)
{
    const ebm_py_energy *energy = context;
    for (int32_t i = 0; i < n_args; i++)
        if (args[i] == EBM_POISON) return EBM_POISON;
    ebm_ref ref = EBM_POISON;
    PyObject *lent = ebm__py_graph_lend(energy->module, graph);
    if (lent) {
        PyObject *nodes = as_nodes(lent, args, n_args);
        PyObject *result = nodes ? call_traced(energy, lent, nodes) : NULL;
        ebm_py_state *state = PyModule_GetState(energy->module);
        if (result) ref = ebm__py_ref(state, result, (ebm_py_graph *)lent);
        Py_XDECREF(result);
        Py_XDECREF(nodes);
        ebm__py_graph_detach(lent);
        Py_DECREF(lent);
    }
    if (ref == EBM_POISON)
        ebm_graph_fail(graph, EBM_CANCELLED, "energy: the Python function raised an exception");
    return ref;
}
