/* testing.c - _core.testing: what tests need of the border and users do not. */
#include "base/alloc.h"
#include "python/convert.h"
#include "python/energy.h"
#include "python/error.h"

/* Raises what stands for a status. */
static PyObject *raise_status(PyObject *module, PyObject *args)
{
    const char *name, *message;
    if (!PyArg_ParseTuple(args, "ss:raise_status", &name, &message)) return NULL;
    for (int code = EBM_OK + 1; code < EBM_STATUS_COUNT; code++)
        if (strcmp(ebm_status_name((ebm_status)code), name) == 0)
            return ebm__py_raise(module, ebm_fail((ebm_status)code, "%s", message));
    PyErr_Format(PyExc_ValueError, "no status %s", name);
    return NULL;
}

static PyObject *status_names(PyObject *module, PyObject *unused)
{
    (void)module, (void)unused;
    PyObject *names = PyTuple_New(EBM_STATUS_COUNT - 1);
    for (int code = 1; names && code < EBM_STATUS_COUNT; code++) {
        PyObject *name = PyUnicode_FromString(ebm_status_name((ebm_status)code));
        if (name)
            PyTuple_SET_ITEM(names, code - 1, name);
        else
            Py_CLEAR(names);
    }
    return names;
}

static PyObject *alloc_fail_after(PyObject *module, PyObject *number)
{
    (void)module;
    long long n = PyLong_AsLongLong(number);
    if (n == -1 && PyErr_Occurred()) return NULL;
    ebm__alloc_fail_after(n);
    Py_RETURN_NONE;
}

static PyObject *alloc_live(PyObject *module, PyObject *unused)
{
    (void)module, (void)unused;
    return PyLong_FromLongLong(ebm__alloc_live());
}

/* The function as an energy of a (2, 3) input, as C calls it: in a root, or in a repeat. */
static PyObject *energy_text(PyObject *module, PyObject *args)
{
    PyObject *function, *dtype_object, *result = NULL;
    int in_body;
    ebm_dtype dtype;
    if (!PyArg_ParseTuple(args, "OOp:energy_text", &function, &dtype_object, &in_body))
        return NULL;
    if (ebm__py_dtype(dtype_object, &dtype) < 0) return NULL;
    ebm_py_energy energy;
    if (ebm__py_energy_init(&energy, module, function, dtype) < 0) return NULL;
    ebm_graph *graph = NULL;
    EBM_PY_TRY_TO(module, ebm_graph_new(&graph), done);
    ebm_shape shape = EBM_DIMS(2, 3);
    ebm_ref x = ebm_graph_input(graph, "x", dtype, &shape), out, i;
    if (in_body) {
        ebm_ref last, stacked, inner;
        ebm_graph *body = ebm_repeat_open(graph, 4, &x, 1, NULL, 0, &i, &inner, NULL);
        ebm_ref value = ebm__py_energy_build(&energy, body, &inner, 1);
        ebm_repeat_close(body, &inner, &value, 1, false, &last, &stacked);
        out = stacked;
    } else {
        out = ebm__py_energy_build(&energy, graph, &x, 1);
    }
    char *text = NULL;
    if (ebm__py_check_graph(module, graph) < 0) goto done;
    EBM_PY_TRY_TO(module, ebm_graph_print(&text, graph, &out, 1), done);
    result = PyUnicode_FromString(text);
    ebm__free(text);
done:
    ebm_graph_free(graph);
    ebm__py_energy_fini(&energy);
    return result;
}

static PyMethodDef functions[] = {
    {"raise_status", raise_status, METH_VARARGS, NULL},
    {"status_names", status_names, METH_NOARGS, NULL},
    {"alloc_fail_after", alloc_fail_after, METH_O, NULL},
    {"alloc_live", alloc_live, METH_NOARGS, NULL},
    {"energy_text", energy_text, METH_VARARGS, NULL},
    {0},
};

int ebm__py_add_testing(PyObject *module)
{
    return ebm__py_add_functions(module, "testing", functions);
}
