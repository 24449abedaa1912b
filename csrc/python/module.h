/* module.h - what all files of the Python border share.
 *
 * The border is one extension module, ebmlib._core.  Every file here adds one part to it: a
 * type, or a few functions.  A part is a row of EBM_PY_PARTS and a function
 * `ebm__py_add_<part>`; a type that other files must reach is a row of EBM_PY_TYPES.  Nothing
 * here is a global: types and exception classes live in the module's state, found from any
 * instance (ebm__py_state).
 *
 * Marks on prototypes: an object parameter is BORROWED unless it says STEALS; a returned object
 * is a new reference unless it says BORROWED.  NULL or -1 means that a Python exception is
 * set.  All functions want the GIL. */
#ifndef EBM_PYTHON_MODULE_H
#define EBM_PYTHON_MODULE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#define NPY_TARGET_VERSION NPY_2_0_API_VERSION
#define NPY_NO_DEPRECATED_API NPY_2_0_API_VERSION
#define PY_ARRAY_UNIQUE_SYMBOL ebm__numpy_api
#ifndef EBM_PY_IMPORTS_NUMPY
#define NO_IMPORT_ARRAY
#endif
#include <numpy/arrayobject.h>

#include "base/status.h"

#define BORROWED
#define STEALS

/* The parts, in the order in which they are added. */
#define EBM_PY_PARTS(X) \
    X(graph)            \
    X(node)             \
    X(builders)         \
    X(array)            \
    X(plan)             \
    X(profile)          \
    X(testing)          \
    X(options)          \
    X(scope)            \
    X(bound)            \
    X(chain)            \
    X(annealed)         \
    X(entropy)          \
    X(trainer)

/* The types kept in the module's state: member `<name>` of ebm_py_state. */
#define EBM_PY_TYPES(X) \
    X(graph)            \
    X(node)             \
    X(device_array_base) \
    X(device_array)     \
    X(plan)             \
    X(profile)          \
    X(scope)            \
    X(bound)            \
    X(chain)            \
    X(trainer)

typedef struct ebm_py_state {
#define EBM_PY_MEMBER(name) PyTypeObject *name;
    EBM_PY_TYPES(EBM_PY_MEMBER)
#undef EBM_PY_MEMBER
    const struct ebm_device *device; /* where things are made that name none, and no scope does */
    PyObject *device_scope;          /* a context variable: a device's name, or None */
    PyTypeObject *array;             /* the subclass of node that C makes instances of */
    PyObject *exception[EBM_STATUS_COUNT]; /* error.c */
} ebm_py_state;

/* Adds a part to the module: 0, or -1 with an exception. */
#define EBM_PY_DECLARE(name) int ebm__py_add_##name(PyObject *module);
EBM_PY_PARTS(EBM_PY_DECLARE)
#undef EBM_PY_DECLARE

/* Makes the heap type of `spec`, adds it to the module and keeps it in `*slot` (a member of the
 * state). */
int ebm__py_add_type(PyObject *module, PyType_Spec *spec, PyTypeObject **slot);

/* Adds a namespace (a class without instances) with functions, which get the module as self. */
int ebm__py_add_functions(PyObject *module, const char *name, PyMethodDef *functions);

/* The module, given itself or any instance of its types; NULL with TypeError otherwise. */
BORROWED PyObject *ebm__py_module(PyObject *self);
ebm_py_state *ebm__py_state(PyObject *self); /* its state; NULL likewise */

/* The device called `name`, or with NULL or None the module's own: 0, or -1 with an exception. */
struct ebm_device;
int ebm__py_device(PyObject *self, PyObject *name, const struct ebm_device **out);

/* A slot of a type; ISO C cannot convert a function to `void *`, so it goes by an integer. */
#define EBM_PY_SLOT(slot, function) {slot, (void *)(uintptr_t)(function)}
/* A method of any calling convention for a PyMethodDef. */
#define EBM_PY_METHOD(function) ((PyCFunction)(void (*)(void))(function))

/* tp_dealloc's last act for a heap type: frees the object and the type's reference. */
void ebm__py_free(PyObject *self);

#endif
