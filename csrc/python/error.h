/* error.h - from statuses to Python exceptions, by one table (error.c). */
#ifndef EBM_PYTHON_ERROR_H
#define EBM_PYTHON_ERROR_H

#include "graph/graph.h"
#include "python/module.h"

/* Sets the exception that stands for `status`, with this thread's message, and returns NULL.
 * CANCELLED keeps the exception that is set already; IO takes errno along, if it is set.
 * `self` is the module or an instance of one of its types.  `return ebm__py_raise(self,
 * status);` */
PyObject *ebm__py_raise(PyObject *self, ebm_status status);

/* After builders: 0 if the graph is well; else -1, the exception set and the graph cleared, so
 * that it stays usable. */
int ebm__py_check_graph(PyObject *self, ebm_graph *graph);

/* Return a failure on as an exception; EBM_PY_TRY_TO jumps to one cleanup label. */
#define EBM_PY_TRY(self, call)                                                    \
    do {                                                                          \
        ebm_status try_status_ = (call);                                          \
        if (try_status_ != EBM_OK) return ebm__py_raise((self), try_status_);      \
    } while (0)
#define EBM_PY_TRY_TO(self, call, label)                                          \
    do {                                                                          \
        ebm_status try_status_ = (call);                                          \
        if (try_status_ != EBM_OK) {                                              \
            ebm__py_raise((self), try_status_);                                   \
            goto label;                                                           \
        }                                                                         \
    } while (0)

/* Fills state->exception from ebmlib.errors and builtins; module.c calls it first. */
int ebm__py_errors_init(ebm_py_state *state);

#endif
