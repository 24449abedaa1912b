/* error.c - the table of exceptions. */
#include "python/error.h"

#include <errno.h>

/* Where the class of a status is found: a name of ebmlib.errors, else of builtins. */
static const struct {
    const char *module, *name;
} table[EBM_STATUS_COUNT] = {
    [EBM_OK] = {"builtins", "SystemError"},
    [EBM_NOMEM] = {"builtins", "MemoryError"},
    [EBM_VALUE] = {"builtins", "ValueError"},
    [EBM_SHAPE] = {"ebmlib.errors", "ShapeError"},
    [EBM_DTYPE] = {"builtins", "TypeError"},
    [EBM_INDEX] = {"builtins", "IndexError"},
    [EBM_STATE] = {"ebmlib.errors", "StateError"},
    [EBM_NOTFITTED] = {"ebmlib.errors", "not_fitted"}, /* a function: see there */
    [EBM_UNSUPPORTED] = {"builtins", "NotImplementedError"},
    [EBM_DEVICE] = {"ebmlib.errors", "DeviceError"},
    [EBM_NUMERIC] = {"ebmlib.errors", "NumericalError"},
    [EBM_IO] = {"builtins", "OSError"},
    [EBM_FORMAT] = {"ebmlib.errors", "FormatError"},
    [EBM_CANCELLED] = {"builtins", "KeyboardInterrupt"},
    [EBM_INTERNAL] = {"builtins", "SystemError"},
};

int ebm__py_errors_init(ebm_py_state *state)
{
    for (int i = 0; i < EBM_STATUS_COUNT; i++) {
        if (!table[i].name) {
            PyErr_Format(PyExc_SystemError, "no exception for status %s",
                         ebm_status_name((ebm_status)i));
            return -1;
        }
        PyObject *module = PyImport_ImportModule(table[i].module);
        if (!module) return -1;
        state->exception[i] = PyObject_GetAttrString(module, table[i].name);
        Py_DECREF(module);
        if (!state->exception[i]) return -1;
    }
    return 0;
}

/* Raises make(message) as an object, for the classes that are not simply class(message). */
static void raise_made(PyObject *make, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    PyObject *arguments = Py_VaBuildValue(format, args);
    va_end(args);
    PyObject *error = arguments ? PyObject_CallObject(make, arguments) : NULL;
    Py_XDECREF(arguments);
    if (error) PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    Py_XDECREF(error);
}

PyObject *ebm__py_raise(PyObject *self, ebm_status status)
{
    int number = errno;
    if (status == EBM_CANCELLED && PyErr_Occurred()) return NULL;
    ebm_py_state *state = ebm__py_state(self);
    if (!state) return NULL;
    const char *text = ebm_message()[0] ? ebm_message() : ebm_status_text(status);
    if ((unsigned)status >= EBM_STATUS_COUNT) status = EBM_INTERNAL;
    PyObject *exception = state->exception[status];
    if (status == EBM_NOTFITTED)
        raise_made(exception, "(s)", text);
    else if (status == EBM_IO && number)
        raise_made(exception, "(is)", number, text);
    else if (status == EBM_INTERNAL || status == EBM_OK)
        PyErr_Format(exception, "internal error, please report: %s", text);
    else
        PyErr_SetString(exception, text);
    return NULL;
}

int ebm__py_check_graph(PyObject *self, ebm_graph *graph)
{
    ebm_status status = ebm_graph_status(graph);
    if (status == EBM_OK) return 0;
    ebm__py_raise(self, status);
    ebm_graph_clear(graph);
    return -1;
}
