/* convert.h - dtypes, shapes and arrays between Python and C.
 *
 *     f32 float32    f64 float64    i32 int32    bool bool    u8 uint8
 *
 * Other integers become i32 if every value fits (ValueError if not).  Nothing else is
 * converted: float16, long double, complex, dates, strings and objects are TypeErrors that say
 * what is supported.  `what` names the argument in messages: "plan: argument 2"; `self` is the
 * module or an instance of one of its types. */
#ifndef EBM_PYTHON_CONVERT_H
#define EBM_PYTHON_CONVERT_H

#include "python/module.h"
#include "tensor/tensor.h"

/* The dtype named by a np.dtype, a scalar type (np.float32, float, int, bool) or a string. */
int ebm__py_dtype(PyObject *object, ebm_dtype *out);
/* The dtype that an array is read as (int64 as i32). */
int ebm__py_array_dtype(PyArrayObject *array, ebm_dtype *out, const char *what);
int ebm__py_typenum(ebm_dtype dtype);     /* NPY_FLOAT32, ... */
PyObject *ebm__py_descr(ebm_dtype dtype); /* the np.dtype */

/* An int, or a sequence of at most EBM_MAX_RANK ints, none negative. */
int ebm__py_shape(PyObject *object, ebm_shape *out, const char *what);
PyObject *ebm__py_shape_tuple(const ebm_shape *shape);
int ebm__py_array_shape(PyArrayObject *array, ebm_shape *out, const char *what);

/* A sequence of at most `capacity` ints; their number, or -1. */
int ebm__py_words(PyObject *object, int64_t *out, int32_t capacity, const char *what);

/* The object as a contiguous, aligned, native array of exactly `dtype` and `shape` (NULL: any):
 * itself with one reference more where it is one already, else a converted copy.  Takes
 * whatever np.asarray takes.  The array may be read without the GIL while the reference is
 * held. */
PyArrayObject *ebm__py_array(PyObject *self, PyObject *object, ebm_dtype dtype,
                             const ebm_shape *shape, const char *what);
/* The same with the dtype it is read as. */
PyArrayObject *ebm__py_array_any(PyObject *self, PyObject *object, const char *what);

/* A new tensor on the CPU with the array's values; the caller owns it: ebm_tensor_release. */
int ebm__py_tensor(PyObject *self, PyObject *object, ebm_tensor **out, const char *what);

/* A new array, not filled; and one with the values of a tensor. */
PyObject *ebm__py_empty(ebm_dtype dtype, const ebm_shape *shape);
PyObject *ebm__py_from_tensor(PyObject *self, const ebm_tensor *tensor);
/* A read-only array over the memory of `tensor`, kept alive by `owner`; of a tensor on a device a
 * copy. */
PyObject *ebm__py_view(const ebm_tensor *tensor, PyObject *owner); /* owner: an instance of ours */

#endif
