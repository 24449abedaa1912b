/* profile.c - the type Profile: what the kernels of all plans cost while it is on. */
#include "plan/profile.h"

#include "python/error.h"
#include "python/module.h"
#include "tensor/device.h"

typedef struct ebm_py_profile {
    PyObject_HEAD ebm_profile *profile;
} ebm_py_profile;

static ebm_profile *get(PyObject *self)
{
    return ((ebm_py_profile *)self)->profile;
}

static PyObject *profile_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    static char *names[] = {NULL};
    if (!PyArg_ParseTupleAndKeywords(args, keywords, ":Profile", names)) return NULL;
    PyObject *self = type->tp_alloc(type, 0);
    if (self) EBM_PY_TRY_TO(self, ebm_profile_new(&((ebm_py_profile *)self)->profile), failed);
    return self;
failed:
    Py_DECREF(self);
    return NULL;
}

static void profile_dealloc(PyObject *self)
{
    ebm_profile_free(get(self));
    ebm__py_free(self);
}

static PyObject *profile_start(PyObject *self, PyObject *unused)
{
    (void)unused;
    EBM_PY_TRY(self, ebm_profile_start(get(self)));
    Py_RETURN_NONE;
}

static PyObject *profile_stop(PyObject *self, PyObject *unused)
{
    (void)unused;
    ebm_profile_stop(get(self));
    Py_RETURN_NONE;
}

static PyObject *profile_rows(PyObject *self, PyObject *unused)
{
    (void)unused;
    int64_t n = ebm_profile_count(get(self));
    PyObject *rows = PyList_New(0);
    for (int64_t k = 0; rows && k < n; k++) {
        ebm_profile_row row = ebm_profile_get(get(self), k);
        if (row.calls == 0) continue;
        PyObject *tuple = Py_BuildValue("(iissLddd)", (int)row.plan, (int)row.kernel, row.op,
                                        row.text, (long long)row.calls, row.seconds, row.flops,
                                        row.bytes);
        if (!tuple || PyList_Append(rows, tuple) < 0) Py_CLEAR(rows);
        Py_XDECREF(tuple);
    }
    return rows;
}

static PyObject *profile_peak(PyObject *self, PyObject *unused)
{
    (void)unused;
    const ebm_device *device = NULL;
    if (ebm__py_device(self, NULL, &device) < 0) return NULL;
    double flops = 0, bytes = 0;
    EBM_PY_TRY(self, device->peak(device, &flops, &bytes));
    return Py_BuildValue("(dd)", flops, bytes);
}

static PyMethodDef methods[] = {
    {"start", profile_start, METH_NOARGS, "Count from now on."},
    {"stop", profile_stop, METH_NOARGS, "Count no more."},
    {"rows", profile_rows, METH_NOARGS,
     "(plan, kernel, op, text, calls, seconds, flops, bytes) of each kernel that ran."},
    {"peak", profile_peak, METH_NOARGS, "(FLOP/s, bytes/s) of the device, measured now."},
    {0},
};

static PyType_Slot slots[] = {
    EBM_PY_SLOT(Py_tp_new, profile_new),
    EBM_PY_SLOT(Py_tp_dealloc, profile_dealloc),
    {Py_tp_doc, "Profile()\n--\n\nWhat the kernels of all plans cost while it is on."},
    {Py_tp_methods, methods},
    {0, NULL},
};

static PyType_Spec spec = {
    .name = "ebmlib._core.Profile",
    .basicsize = sizeof(ebm_py_profile),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = slots,
};

int ebm__py_add_profile(PyObject *module)
{
    ebm_py_state *state = PyModule_GetState(module);
    return ebm__py_add_type(module, &spec, &state->profile);
}
