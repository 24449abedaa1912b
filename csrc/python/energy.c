#include "python/energy.h"

#include "python/convert.h"
#include "python/error.h"
#include "python/graph.h"
#include "python/scope.h"

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

/* The arguments of the call: the scope, if there is one, then the nodes. */
static PyObject *as_arguments(PyObject *graph, PyObject *scope, const ebm_ref *refs, int32_t n)
{
    int32_t first = scope ? 1 : 0;
    PyObject *arguments = PyTuple_New(first + n);
    if (arguments && scope) PyTuple_SET_ITEM(arguments, 0, Py_NewRef(scope));
    for (int32_t i = 0; arguments && i < n; i++) {
        PyObject *node = ebm__py_node_new((ebm_py_graph *)graph, refs[i], false);
        if (node)
            PyTuple_SET_ITEM(arguments, first + i, node);
        else
            Py_CLEAR(arguments);
    }
    return arguments;
}

static ebm_ref call_lent(const ebm_py_energy *energy, const ebm_scope *scope,
                         const ebm_shape *row, PyObject *lent, const ebm_ref *args,
                         int32_t n_args)
{
    ebm_ref ref = EBM_POISON;
    ebm_py_state *state = PyModule_GetState(energy->module);
    PyObject *asked = scope ? ebm__py_scope_lend((ebm_py_graph *)lent, scope, row) : NULL;
    if (scope && !asked) return EBM_POISON;
    PyObject *arguments = as_arguments(lent, asked, args, n_args);
    PyObject *result = arguments ? call_traced(energy, lent, arguments) : NULL;
    if (result) ref = ebm__py_ref(state, result, (ebm_py_graph *)lent);
    Py_XDECREF(result);
    Py_XDECREF(arguments);
    if (asked) ebm__py_scope_detach(asked);
    Py_XDECREF(asked);
    return ref;
}

ebm_ref ebm__py_energy_call(const ebm_py_energy *energy, const ebm_scope *scope,
                            const ebm_shape *row, ebm_graph *graph, const ebm_ref *args,
                            int32_t n_args)
{
    for (int32_t i = 0; i < n_args; i++)
        if (args[i] == EBM_POISON) return EBM_POISON;
    ebm_ref ref = EBM_POISON;
    PyGILState_STATE gil = PyGILState_Ensure();
    PyObject *lent = ebm__py_graph_lend(energy->module, graph);
    if (lent) {
        ref = call_lent(energy, scope, row, lent, args, n_args);
        ebm__py_graph_detach(lent);
        Py_DECREF(lent);
    }
    PyGILState_Release(gil);
    if (ref == EBM_POISON)
        ebm_graph_fail(graph, EBM_CANCELLED, "energy: the Python function raised an exception");
    return ref;
}

ebm_ref ebm__py_energy_build(void *context, ebm_graph *graph, const ebm_ref *args, int32_t n_args)
{
    return ebm__py_energy_call(context, NULL, NULL, graph, args, n_args);
}
