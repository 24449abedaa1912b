/* energy.h - a Python function as an energy, for C code that builds a graph.
 *
 * Samplers, networks and estimators build graphs and want E(x, ...) as a ref.  When the energy
 * is a Python function, the graph is lent to Python as the current trace, the refs as traced
 * arrays, the function is called once, and its result is a ref of the graph again. */
#ifndef EBM_PYTHON_ENERGY_H
#define EBM_PYTHON_ENERGY_H

#include "networks/energy.h"
#include "python/module.h"

typedef struct ebm_py_energy {
    PyObject *module;   /* strong */
    PyObject *function; /* strong: function(x, *args) -> an array, written with NumPy */
    ebm_dtype dtype;    /* of the run: floats that the function closes over become this */
} ebm_py_energy;

/* `self` is the module or an instance of one of its types. */
int ebm__py_energy_init(ebm_py_energy *energy, PyObject *self, PyObject *function,
                        ebm_dtype dtype);
void ebm__py_energy_fini(ebm_py_energy *energy);

/* function(args[0], ..., args[n_args-1]) as a ref of `graph`; wants the GIL.  When Python
 * raises, the exception stays set, the graph fails with CANCELLED and the result is poison:
 * ebm__py_raise then lets the exception through.  The context is an ebm_py_energy, so that this
 * can be a callback. */
ebm_ref ebm__py_energy_build(void *context, ebm_graph *graph, const ebm_ref *args,
                             int32_t n_args);

/* The same for a function of (scope, *args), which asks its scope for parameters; a NULL scope
 * is left out.  row: the scope's (python/scope.h).  Takes the GIL itself. */
ebm_ref ebm__py_energy_call(const ebm_py_energy *energy, const ebm_scope *scope,
                            const ebm_shape *row, ebm_graph *graph, const ebm_ref *args,
                            int32_t n_args);

#endif
