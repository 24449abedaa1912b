/* array.h - arrays in a device's memory. */
#ifndef EBM_PYTHON_ARRAY_H
#define EBM_PYTHON_ARRAY_H

#include "python/module.h"
#include "tensor/tensor.h"

/* A strided view of memory on a device, kept alive by one of three. */
typedef struct ebm_py_array {
    PyObject_HEAD const struct ebm_device *device;
    ebm_view view;
    ebm_tensor *tensor; /* our own memory; or NULL */
    PyObject *base;     /* another array, whose memory it is; or NULL */
    void *foreign;      /* a dlpack_versioned, or with `old` a dlpack_managed; or NULL */
    bool old;
} ebm_py_array;

/* The object as an array of this type, BORROWED; NULL without an exception if it is none. */
BORROWED ebm_py_array *ebm__py_as_array(PyObject *self, PyObject *object);

/* A new array over `tensor`, of which it becomes one more owner. */
PyObject *ebm__py_array_new(PyObject *self, ebm_tensor *tensor);

/* The elements of `from`, contiguous, to `to` on the same device.  DEVICE, UNSUPPORTED. */
ebm_status ebm__py_array_copy(const ebm_py_array *from, void *to);

/* A view's number of elements times their size. */
size_t ebm__py_array_bytes(const ebm_py_array *array);

#endif
