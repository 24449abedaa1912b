#include "python/convert.h"

#include <string.h>

#include "python/error.h"
#include "tensor/device.h"

static const int typenums[EBM_DTYPE_COUNT] = {
    [EBM_F32] = NPY_FLOAT32, [EBM_F64] = NPY_FLOAT64, [EBM_I32] = NPY_INT32,
    [EBM_BOOL] = NPY_BOOL,   [EBM_U8] = NPY_UINT8,
};

#define SUPPORTED "float32, float64, int32, bool and uint8 are supported"

int ebm__py_typenum(ebm_dtype dtype)
{
    return typenums[dtype];
}

PyObject *ebm__py_descr(ebm_dtype dtype)
{
    return (PyObject *)PyArray_DescrFromType(typenums[dtype]);
}

/* EBM_DTYPE_COUNT if values of this NumPy type cannot be taken. */
static ebm_dtype dtype_of_typenum(int typenum)
{
    switch (typenum) {
    case NPY_FLOAT: return EBM_F32;
    case NPY_DOUBLE: return EBM_F64;
    case NPY_BOOL: return EBM_BOOL;
    case NPY_UBYTE: return EBM_U8;
    default: return PyTypeNum_ISINTEGER(typenum) ? EBM_I32 : EBM_DTYPE_COUNT;
    }
}

int ebm__py_dtype(PyObject *object, ebm_dtype *out)
{
    PyArray_Descr *descr = NULL;
    if (object == Py_None || !PyArray_DescrConverter(object, &descr)) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_TypeError, "a dtype is expected, got None");
        return -1;
    }
    *out = dtype_of_typenum(descr->type_num);
    int status = 0;
    if (*out == EBM_DTYPE_COUNT) {
        PyErr_Format(PyExc_TypeError, "dtype %S is not supported: " SUPPORTED, descr);
        status = -1;
    }
    Py_DECREF(descr);
    return status;
}

int ebm__py_array_dtype(PyArrayObject *array, ebm_dtype *out, const char *what)
{
    *out = dtype_of_typenum(PyArray_TYPE(array));
    if (*out != EBM_DTYPE_COUNT) return 0;
    PyErr_Format(PyExc_TypeError, "%s: dtype %S is not supported: " SUPPORTED, what,
                 PyArray_DESCR(array));
    return -1;
}

/* ---- shapes ------------------------------------------------------------------------------ */

/* A number that fits, or -1 with an error. */
static int64_t word(PyObject *object, const char *what)
{
    PyObject *number = PyNumber_Index(object);
    if (!number) return -1;
    int overflow;
    long long value = PyLong_AsLongLongAndOverflow(number, &overflow);
    if (overflow)
        PyErr_Format(PyExc_ValueError, "%s: got %R, expected numbers below 2^63", what, number);
    Py_DECREF(number);
    return value;
}

int ebm__py_words(PyObject *object, int64_t *out, int32_t capacity, const char *what)
{
    PyObject *items = PySequence_Tuple(object);
    if (!items) return -1;
    Py_ssize_t n = PyTuple_GET_SIZE(items);
    if (n > capacity) {
        PyErr_Format(PyExc_ValueError, "%s: got %zd numbers, expected at most %d", what, n,
                     (int)capacity);
        n = -1;
    }
    for (Py_ssize_t i = 0; i < n; i++) {
        out[i] = word(PyTuple_GET_ITEM(items, i), what);
        if (PyErr_Occurred()) n = -1;
    }
    Py_DECREF(items);
    return (int)n;
}

int ebm__py_shape(PyObject *object, ebm_shape *out, const char *what)
{
    *out = (ebm_shape){0};
    if (PyIndex_Check(object)) {
        out->rank = 1;
        out->dim[0] = word(object, what);
        if (PyErr_Occurred()) return -1;
    } else {
        Py_ssize_t rank = PySequence_Size(object);
        if (rank < 0) PyErr_Clear();
        if (rank > EBM_MAX_RANK) {
            PyErr_Format(PyExc_ValueError, "%s: got %zd axes, expected at most %d", what, rank,
                         (int)EBM_MAX_RANK);
            return -1;
        }
        out->rank = ebm__py_words(object, out->dim, EBM_MAX_RANK, what);
        if (out->rank < 0) return -1;
    }
    for (int32_t i = 0; i < out->rank; i++)
        if (out->dim[i] < 0) {
            PyErr_Format(PyExc_ValueError, "%s: shape: got %R, expected no negative size", what,
                         object);
            return -1;
        }
    return 0;
}

PyObject *ebm__py_shape_tuple(const ebm_shape *shape)
{
    PyObject *tuple = PyTuple_New(shape->rank);
    for (int32_t i = 0; tuple && i < shape->rank; i++) {
        PyObject *size = PyLong_FromLongLong(shape->dim[i]);
        if (size)
            PyTuple_SET_ITEM(tuple, i, size);
        else
            Py_CLEAR(tuple);
    }
    return tuple;
}

int ebm__py_array_shape(PyArrayObject *array, ebm_shape *out, const char *what)
{
    int rank = PyArray_NDIM(array);
    if (rank > EBM_MAX_RANK) {
        PyErr_Format(PyExc_ValueError, "%s: got %d axes, expected at most %d", what, rank,
                     (int)EBM_MAX_RANK);
        return -1;
    }
    *out = (ebm_shape){.rank = rank};
    for (int i = 0; i < rank; i++) out->dim[i] = PyArray_DIM(array, i);
    return 0;
}

/* ---- arrays ------------------------------------------------------------------------------ */

static PyArrayObject *as_typenum(PyArrayObject *array, int typenum)
{
    return (PyArrayObject *)PyArray_FromArray(array, PyArray_DescrFromType(typenum),
                                              NPY_ARRAY_CARRAY_RO | NPY_ARRAY_FORCECAST);
}

/* Integers of another width as int32, if all of them fit. */
static PyArrayObject *narrowed(PyArrayObject *array, const char *what)
{
    bool huge = PyArray_TYPE(array) == NPY_ULONG || PyArray_TYPE(array) == NPY_ULONGLONG;
    PyArrayObject *wide = as_typenum(array, huge ? NPY_UINT64 : NPY_INT64);
    if (!wide) return NULL;
    const int64_t *value = PyArray_DATA(wide);
    npy_intp n = PyArray_SIZE(wide), fit = 0;
    if (huge)
        while (fit < n && (uint64_t)value[fit] <= INT32_MAX) fit++;
    else
        while (fit < n && value[fit] >= INT32_MIN && value[fit] <= INT32_MAX) fit++;
    PyArrayObject *narrow = NULL;
    if (fit == n)
        narrow = as_typenum(wide, NPY_INT32);
    else if (huge)
        PyErr_Format(PyExc_ValueError, "%s: integers become int32: %llu does not fit", what,
                     (unsigned long long)value[fit]);
    else
        PyErr_Format(PyExc_ValueError, "%s: integers become int32: %lld does not fit", what,
                     (long long)value[fit]);
    Py_DECREF(wide);
    return narrow;
}

static int check_shape(PyObject *self, PyArrayObject *array, const ebm_shape *wanted,
                       const char *what)
{
    ebm_shape shape;
    if (ebm__py_array_shape(array, &shape, what) < 0) return -1;
    if (!wanted || ebm_shape_equal(&shape, wanted)) return 0;
    char got[128], expected[128];
    ebm__py_raise(self, ebm_fail(EBM_SHAPE, "%s: shape %s, expected %s", what,
                                 ebm_shape_text(&shape, got, sizeof got),
                                 ebm_shape_text(wanted, expected, sizeof expected)));
    return -1;
}

/* `dtype` EBM_DTYPE_COUNT: the one it is read as. */
static PyArrayObject *convert(PyObject *self, PyObject *object, ebm_dtype dtype,
                              const ebm_shape *shape, const char *what)
{
    PyArrayObject *array = (PyArrayObject *)PyArray_FROM_O(object);
    if (!array) return NULL;
    PyArrayObject *result = NULL;
    ebm_dtype own;
    if (check_shape(self, array, shape, what) < 0 || ebm__py_array_dtype(array, &own, what) < 0) {
        /* the exception is set */
    } else if (dtype != EBM_DTYPE_COUNT && own != dtype) {
        PyObject *expected = ebm__py_descr(dtype);
        PyErr_Format(PyExc_TypeError, "%s: dtype %S, expected %S", what, PyArray_DESCR(array),
                     expected);
        Py_XDECREF(expected);
    } else if (own == EBM_I32 && PyArray_TYPE(array) != NPY_INT) {
        result = narrowed(array, what);
    } else {
        result = as_typenum(array, typenums[own]);
    }
    Py_DECREF(array);
    return result;
}

PyArrayObject *ebm__py_array(PyObject *self, PyObject *object, ebm_dtype dtype,
                             const ebm_shape *shape, const char *what)
{
    return convert(self, object, dtype, shape, what);
}

PyArrayObject *ebm__py_array_any(PyObject *self, PyObject *object, const char *what)
{
    return convert(self, object, EBM_DTYPE_COUNT, NULL, what);
}

int ebm__py_tensor(PyObject *self, PyObject *object, ebm_tensor **out, const char *what)
{
    PyArrayObject *array = ebm__py_array_any(self, object, what);
    if (!array) return -1;
    ebm_dtype dtype = EBM_F32;
    ebm_shape shape;
    int status = ebm__py_array_dtype(array, &dtype, what);
    if (status == 0) status = ebm__py_array_shape(array, &shape, what);
    if (status == 0) {
        ebm_status made = ebm_tensor_new(out, ebm_device_cpu(), dtype, &shape);
        if (made == EBM_OK) memcpy((*out)->data, PyArray_DATA(array), ebm_tensor_bytes(*out));
        if (made == EBM_OK)
            (*out)->constant = true;
        else
            ebm__py_raise(self, made), status = -1;
    }
    Py_DECREF(array);
    return status;
}

PyObject *ebm__py_empty(ebm_dtype dtype, const ebm_shape *shape)
{
    npy_intp dim[EBM_MAX_RANK];
    for (int32_t i = 0; i < shape->rank; i++) dim[i] = (npy_intp)shape->dim[i];
    return PyArray_SimpleNew(shape->rank, dim, typenums[dtype]);
}

PyObject *ebm__py_from_tensor(PyObject *self, const ebm_tensor *tensor)
{
    PyObject *array = ebm__py_empty(tensor->dtype, &tensor->shape);
    if (!array) return NULL;
    void *host = PyArray_DATA((PyArrayObject *)array);
    ebm_status status = tensor->device->to_host(tensor->device, host, tensor->data,
                                                ebm_tensor_bytes(tensor));
    if (status == EBM_OK) return array;
    Py_DECREF(array);
    return ebm__py_raise(self, status);
}

PyObject *ebm__py_view(const ebm_tensor *tensor, PyObject *owner)
{
    if (!tensor->device->host_memory) return ebm__py_from_tensor(owner, tensor);
    npy_intp dim[EBM_MAX_RANK];
    for (int32_t i = 0; i < tensor->shape.rank; i++) dim[i] = (npy_intp)tensor->shape.dim[i];
    PyObject *array = PyArray_SimpleNewFromData(tensor->shape.rank, dim,
                                                typenums[tensor->dtype], tensor->data);
    if (!array) return NULL;
    PyArray_CLEARFLAGS((PyArrayObject *)array, NPY_ARRAY_WRITEABLE);
    Py_INCREF(owner);
    if (PyArray_SetBaseObject((PyArrayObject *)array, owner) < 0) Py_CLEAR(array);
    return array;
}
