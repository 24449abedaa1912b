/* poll.h - long runs without the GIL.
 *
 *     ebm_py_run run;
 *     ebm__py_run_begin(&run, NULL);
 *     ebm_status status = ebm_plan_run(workspace, in, out, &run.poll);
 *     ebm__py_run_end(&run);
 *     if (status != EBM_OK) return ebm__py_raise(self, status);
 *
 * Between begin and end no Python object may be touched.  The plan or program polls every 50
 * ms; the poll takes the GIL for a moment, lets signal handlers run (Ctrl-C) and calls
 * `callback`.  If either raises, or the callback returns False, the run stops with CANCELLED;
 * an exception stays set and ebm__py_raise keeps it. */
#ifndef EBM_PYTHON_POLL_H
#define EBM_PYTHON_POLL_H

#include "plan/plan.h"
#include "python/module.h"

typedef struct ebm_py_run {
    ebm_poll poll;
    PyThreadState *thread;
    PyObject *callback; /* borrowed: called without arguments; NULL: none */
    bool stopped;       /* the callback returned False: CANCELLED without an exception */
} ebm_py_run;

void ebm__py_run_begin(ebm_py_run *run, PyObject *callback); /* releases the GIL */
void ebm__py_run_end(ebm_py_run *run);                       /* takes it back */

#endif
