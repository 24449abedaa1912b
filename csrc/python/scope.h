/* scope.h - the scope of parameters as a Python object, and Python functions as networks.
 *
 * A network written in Python is a function of (scope, x) that asks the scope for each parameter
 * by name, shape and initialiser, as the networks of C do (networks/scope.h). */
#ifndef EBM_PYTHON_SCOPE_H
#define EBM_PYTHON_SCOPE_H

#include "networks/generator.h"
#include "python/energy.h"
#include "python/graph.h"

/* A Scope over a C scope for the length of a call; detach it when that ends.  row: of what a
 * generator makes; NULL for an energy. */
PyObject *ebm__py_scope_lend(ebm_py_graph *graph, const ebm_scope *scope, const ebm_shape *row);
void ebm__py_scope_detach(PyObject *scope);

/* A network that is a Python function; it stays where it is: energy and generator point at it. */
typedef struct ebm_py_function {
    ebm_py_energy call;      /* function(scope, x), or function(scope, z) */
    PyObject *name;          /* strong; for messages */
    ebm_energy energy;       /* of a generator: one that fails when it is built, with VALUE */
    ebm_generator generator; /* without its row; build is NULL for an energy */
} ebm_py_function;

/* 1 if `pair` is ("function", {"build", "name", "rows_independent"}), with "normalized" or not,
 * or ("function_generator", {"build", "name", "latent", "sigma"}), and then `out` is set; 0 if it
 * is of another kind. */
int ebm__py_function(ebm_py_function *out, PyObject *self, PyObject *pair, ebm_dtype dtype);
void ebm__py_function_fini(ebm_py_function *function);
int ebm__py_function_traverse(ebm_py_function *function, visitproc visit, void *arg);

#endif
