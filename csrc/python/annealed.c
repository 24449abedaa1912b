/* annealed.c - annealed importance sampling as a function of traced arrays. */
#include "samplers/annealed.h"

#include "python/bound.h"
#include "python/convert.h"
#include "python/energy.h"
#include "python/error.h"
#include "python/graph.h"
#include "python/sampler.h"

/* (x, log w, acceptance, sizes or None), as nodes of the graph. */
static PyObject *results(ebm_py_graph *graph, const ebm_annealed *out)
{
    const ebm_ref refs[] = {out->x, out->log_weight, out->acceptance, out->size};
    PyObject *tuple = PyTuple_New(4);
    for (int k = 0; tuple && k < 4; k++) {
        PyObject *item = refs[k] == EBM_NONE ? Py_NewRef(Py_None)
                                             : ebm__py_node_new(graph, refs[k], false);
        if (item)
            PyTuple_SET_ITEM(tuple, k, item);
        else
            Py_CLEAR(tuple);
    }
    return tuple;
}

/* annealed(sampler, base, target, n_steps, x, key, betas, sizes or None) */
static PyObject *annealed(PyObject *module, PyObject *args)
{
    ebm_py_state *state = ebm__py_state(module);
    PyObject *pair, *base, *target, *x, *key, *betas, *sizes, *result = NULL;
    long long n_steps;
    if (!state ||
        !PyArg_ParseTuple(args, "OOOLO!O!O!O:annealed", &pair, &base, &target, &n_steps,
                          state->node, &x, state->node, &key, state->node, &betas, &sizes))
        return NULL;
    ebm_py_graph *graph = ((ebm_py_node *)x)->graph;
    if (!ebm__py_graph_get(state, (PyObject *)graph)) return NULL;
    ebm_graph *g = graph->graph;
    ebm_ref refs[4] = {ebm__py_ref(state, x, graph), ebm__py_ref(state, key, graph),
                       ebm__py_ref(state, betas, graph), EBM_NONE};
    if (sizes != Py_None) refs[3] = ebm__py_ref(state, sizes, graph);
    if (PyErr_Occurred()) return NULL;
    ebm_py_energy functions[2] = {{0}, {0}};
    ebm_energy energies[2];
    ebm_dtype dtype = ebm_ref_dtype(g, refs[0]);
    ebm_sampler *sampler = NULL;
    if (ebm__py_as_energy(module, base, dtype, &functions[0], &energies[0]) == 0 &&
        ebm__py_as_energy(module, target, dtype, &functions[1], &energies[1]) == 0)
        sampler = ebm__py_sampler(module, pair);
    if (sampler) {
        ebm_annealing a = {sampler, &energies[0], &energies[1], n_steps};
        ebm_annealed out = ebm_annealed_build(&a, g, refs[0], refs[1], refs[2], refs[3]);
        ebm_status status = ebm_graph_status(g);
        if (status == EBM_OK)
            result = results(graph, &out);
        else
            ebm__py_raise(module, status);
    }
    ebm_sampler_free(sampler);
    ebm__py_energy_fini(&functions[0]);
    ebm__py_energy_fini(&functions[1]);
    return result;
}

static PyMethodDef functions[] = {
    {"annealed", annealed, METH_VARARGS,
     "annealed($module, sampler, base, target, n_steps, x, key, betas, sizes, /)\n--\n\n"
     "(x, log weights, acceptance, step sizes or None) of traced rows, annealed."},
    {0},
};

int ebm__py_add_annealed(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
