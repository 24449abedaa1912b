#include "python/poll.h"

static bool stop(void *context)
{
    ebm_py_run *run = context;
    PyEval_RestoreThread(run->thread);
    bool raised = PyErr_CheckSignals() < 0;
    if (!raised && run->callback) {
        PyObject *answer = PyObject_CallNoArgs(run->callback);
        raised = !answer;
        run->stopped = answer == Py_False;
        Py_XDECREF(answer);
    }
    run->thread = PyEval_SaveThread();
    return raised || run->stopped;
}

void ebm__py_run_begin(ebm_py_run *run, PyObject *callback)
{
    *run = (ebm_py_run){.poll = {.stop = stop, .context = run}, .callback = callback};
    run->thread = PyEval_SaveThread();
}

void ebm__py_run_end(ebm_py_run *run)
{
    PyEval_RestoreThread(run->thread);
}
