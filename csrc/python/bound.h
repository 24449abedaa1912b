/* bound.h - bound networks as Python objects. */
#ifndef EBM_PYTHON_BOUND_H
#define EBM_PYTHON_BOUND_H

#include "networks/bound.h"
#include "python/scope.h"

typedef struct ebm_py_bound {
    PyObject_HEAD ebm_bound *bound;
    ebm_py_function function; /* empty for a network of C */
} ebm_py_bound;

/* A Bound or a Python function as an energy, for as long as a graph is built.  `function` is
 * storage that the caller keeps beside the energy: ebm__py_energy_fini in the end. */
int ebm__py_as_energy(PyObject *self, PyObject *object, ebm_dtype dtype,
                      ebm_py_energy *function, ebm_energy *energy);

/* The network of (kind, options); the caller owns it. */
ebm_network *ebm__py_network(PyObject *self, PyObject *pair);

/* Arrays of a state whose names begin with `prefix` and a dot, as a dict without the prefix
 * (all of them, in full, for an empty prefix); and back: names and shapes must be known, unless
 * `add`. */
PyObject *ebm__py_state_dict(PyObject *self, ebm_state *state, const char *prefix);
int ebm__py_state_update(PyObject *self, ebm_state *state, const char *prefix, PyObject *dict,
                         bool add);

#endif
