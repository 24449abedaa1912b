/* array.c - the type DeviceArray: an array that lies on a device.
 *
 * It has a shape, a dtype and strides, can be cut into views, copied to the host, and handed to and
 * taken from other libraries by DLPack.  What computes with it are plans; ebmlib/_device.py
 * gives it NumPy's operators by way of them. */
#include "python/array.h"

#include "base/alloc.h"
#include "graph/graph.h"
#include "python/convert.h"
#include "python/dlpack.h"
#include "python/error.h"
#include "tensor/device.h"

static ebm_py_array *array_of(PyObject *object)
{
    return (ebm_py_array *)object;
}

/* ---- life -------------------------------------------------------------------------------- */

/* Foreign memory goes back when nothing of ours is left to read it. */
static void give_back(ebm_py_array *self)
{
    if (!self->foreign) return;
    (void)self->device->sync(self->device);
    if (self->old) {
        dlpack_managed *managed = self->foreign;
        if (managed->deleter) managed->deleter(managed);
    } else {
        dlpack_versioned *managed = self->foreign;
        if (managed->deleter) managed->deleter(managed);
    }
}

static void array_dealloc(PyObject *object)
{
    ebm_py_array *self = array_of(object);
    give_back(self);
    ebm_tensor_release(self->tensor);
    Py_XDECREF(self->base);
    ebm__py_free(object);
}

/* An empty one, to be filled by the caller. */
static ebm_py_array *new_array(PyObject *self, const ebm_device *device, const ebm_view *view)
{
    ebm_py_state *state = ebm__py_state(self);
    PyTypeObject *type = state ? state->device_array : NULL;
    ebm_py_array *array = type ? (ebm_py_array *)type->tp_alloc(type, 0) : NULL;
    if (!array) return NULL;
    array->device = device;
    array->view = *view;
    return array;
}

PyObject *ebm__py_array_new(PyObject *self, ebm_tensor *tensor)
{
    ebm_view view = ebm_tensor_view(tensor);
    ebm_py_array *array = new_array(self, tensor->device, &view);
    if (array) array->tensor = ebm_tensor_retain(tensor);
    return (PyObject *)array;
}

ebm_py_array *ebm__py_as_array(PyObject *self, PyObject *object)
{
    ebm_py_state *state = ebm__py_state(self);
    if (!state || !PyObject_TypeCheck(object, state->device_array_base)) return NULL;
    return array_of(object);
}

/* ---- copies ------------------------------------------------------------------------------ */

static ebm_shape shape_of(const ebm_py_array *self)
{
    return ebm_shape_of(self->view.rank, self->view.shape);
}

size_t ebm__py_array_bytes(const ebm_py_array *array)
{
    ebm_shape shape = shape_of(array);
    return (size_t)ebm_shape_size(&shape) * ebm_dtype_size((ebm_dtype)array->view.dtype);
}

static bool is_contiguous(const ebm_py_array *self)
{
    int64_t expected = 1;
    for (int32_t i = self->view.rank - 1; i >= 0; i--) {
        if (self->view.shape[i] == 0) return true;
        if (self->view.shape[i] != 1 && self->view.stride[i] != expected) return false;
        expected *= self->view.shape[i];
    }
    return true;
}

ebm_status ebm__py_array_copy(const ebm_py_array *from, void *to)
{
    const ebm_device *device = from->device;
    if (is_contiguous(from))
        return device->copy(device, to, from->view.data, ebm__py_array_bytes(from));
    ebm_shape shape = shape_of(from);
    ebm_view out = ebm_view_of(to, (ebm_dtype)from->view.dtype, &shape);
    ebm_kernel_args args = {
        .op = EBM_OP_stop, .n_in = 1, .n_out = 1, .in = &from->view, .out = &out};
    return device->run(device, &args);
}

/* As a contiguous tensor of its own. */
static ebm_status gathered(ebm_tensor **out, const ebm_py_array *from)
{
    ebm_shape shape = shape_of(from);
    EBM_TRY(ebm_tensor_new(out, from->device, (ebm_dtype)from->view.dtype, &shape));
    ebm_status status = ebm__py_array_copy(from, (*out)->data);
    if (status != EBM_OK) ebm_tensor_release(*out);
    return status;
}

/* numpy(): the values, in the host's memory. */
static PyObject *array_numpy(PyObject *object, PyObject *unused)
{
    (void)unused;
    const ebm_py_array *self = array_of(object);
    ebm_tensor *tensor = NULL;
    ebm_shape shape = shape_of(self);
    if (!is_contiguous(self)) EBM_PY_TRY(object, gathered(&tensor, self));
    PyObject *values = ebm__py_empty((ebm_dtype)self->view.dtype, &shape);
    ebm_status status = EBM_OK;
    if (values)
        status = self->device->to_host(self->device, PyArray_DATA((PyArrayObject *)values),
                                       tensor ? tensor->data : self->view.data,
                                       ebm__py_array_bytes(self));
    ebm_tensor_release(tensor);
    if (status == EBM_OK) return values;
    Py_DECREF(values);
    return ebm__py_raise(object, status);
}

/* to(device): a copy there; itself if it is there. */
static PyObject *array_to(PyObject *object, PyObject *name)
{
    const ebm_device *device = NULL;
    ebm_tensor *here = NULL, *there = NULL;
    if (ebm__py_device(object, name, &device) < 0) return NULL;
    if (device->host_memory) return array_numpy(object, NULL);
    if (device == array_of(object)->device) return Py_NewRef(object);
    EBM_PY_TRY(object, gathered(&here, array_of(object)));
    ebm_status status = ebm_tensor_to(&there, here, device);
    ebm_tensor_release(here);
    EBM_PY_TRY(object, status);
    PyObject *result = ebm__py_array_new(object, there);
    ebm_tensor_release(there);
    return result;
}

/* DeviceArray(values, device): a copy of a host's array. */
static PyObject *array_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"values", "device", NULL};
    PyObject *values, *name = Py_None;
    const ebm_device *device = NULL;
    ebm_tensor *here = NULL, *there = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O|O:DeviceArray", names, &values, &name))
        return NULL;
    PyObject *object = type->tp_alloc(type, 0);
    if (!object) return NULL;
    ebm_py_array *self = array_of(object);
    self->device = ebm_device_cpu();
    if (ebm__py_device(object, name, &device) < 0) goto failed;
    if (device->host_memory) {
        ebm__py_raise(object, ebm_fail(EBM_VALUE, "device: arrays on the CPU are NumPy's"));
        goto failed;
    }
    if (ebm__py_tensor(object, values, &here, "array") < 0) goto failed;
    ebm_status status = ebm_tensor_to(&there, here, device);
    ebm_tensor_release(here);
    EBM_PY_TRY_TO(object, status, failed);
    self->device = device;
    self->view = ebm_tensor_view(there);
    self->tensor = there;
    return object;
failed:
    Py_DECREF(object);
    return NULL;
}

/* ---- views ------------------------------------------------------------------------------- */

/* view(offset, shape, strides): another array over the same memory, all in elements.  The caller,
 * who cuts slices, has checked that it lies within. */
static PyObject *array_view(PyObject *object, PyObject *args)
{
    ebm_py_array *self = array_of(object);
    long long offset;
    PyObject *shape_object, *strides;
    ebm_shape shape;
    ebm_view view = self->view;
    if (!PyArg_ParseTuple(args, "LOO:view", &offset, &shape_object, &strides)) return NULL;
    if (ebm__py_shape(shape_object, &shape, "view") < 0) return NULL;
    if (ebm__py_words(strides, view.stride, EBM_MAX_RANK, "view") != shape.rank) {
        if (!PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "view: a stride an axis");
        return NULL;
    }
    view.rank = shape.rank;
    for (int32_t i = 0; i < shape.rank; i++) view.shape[i] = shape.dim[i];
    view.data = (char *)view.data + offset * (int64_t)ebm_dtype_size((ebm_dtype)view.dtype);
    ebm_py_array *array = new_array(object, self->device, &view);
    if (array) array->base = Py_NewRef(object);
    return (PyObject *)array;
}

/* ---- DLPack, out ------------------------------------------------------------------------- */

/* What an exported tensor needs beside itself. */
typedef struct exported {
    union {
        dlpack_managed old;
        dlpack_versioned versioned;
    } as;
    int64_t shape[EBM_MAX_RANK], strides[EBM_MAX_RANK];
    PyObject *array;
} exported;

static void release_exported(exported *e)
{
    PyGILState_STATE gil = PyGILState_Ensure();
    Py_XDECREF(e->array);
    PyGILState_Release(gil);
    ebm__free(e);
}

static void delete_old(dlpack_managed *managed)
{
    release_exported(managed->context);
}

static void delete_versioned(dlpack_versioned *managed)
{
    release_exported(managed->context);
}

static int32_t dlpack_device(const ebm_device *device)
{
    return strcmp(device->name, "cuda") == 0 ? DLPACK_CUDA : DLPACK_EXTENSION;
}

static void fill_tensor(dlpack_tensor *to, exported *e, const ebm_py_array *self)
{
    static const uint8_t codes[EBM_DTYPE_COUNT] = {DLPACK_FLOAT, DLPACK_FLOAT, DLPACK_INT,
                                                   DLPACK_BOOL, DLPACK_UINT};
    to->data = self->view.data;
    to->device.type = dlpack_device(self->device);
    to->device.id = 0;
    to->ndim = self->view.rank;
    to->dtype.code = codes[self->view.dtype];
    to->dtype.bits = (uint8_t)(8 * ebm_dtype_size((ebm_dtype)self->view.dtype));
    to->dtype.lanes = 1;
    for (int32_t i = 0; i < self->view.rank; i++) {
        e->shape[i] = self->view.shape[i];
        e->strides[i] = self->view.stride[i];
    }
    to->shape = e->shape;
    to->strides = e->strides;
    to->byte_offset = 0;
}

/* A capsule that nobody took deletes what it holds. */
static void delete_capsule(PyObject *capsule)
{
    if (PyCapsule_IsValid(capsule, "dltensor"))
        delete_old(PyCapsule_GetPointer(capsule, "dltensor"));
    else if (PyCapsule_IsValid(capsule, "dltensor_versioned"))
        delete_versioned(PyCapsule_GetPointer(capsule, "dltensor_versioned"));
}

/* dlpack(stream, versioned): a capsule.  stream is an int: the consumer's queue, or -1 for no
 * waiting at all. */
static PyObject *array_dlpack(PyObject *object, PyObject *args)
{
    ebm_py_array *self = array_of(object);
    long long stream;
    int versioned;
    if (!PyArg_ParseTuple(args, "Lp:dlpack", &stream, &versioned)) return NULL;
    if (stream != -1)
        EBM_PY_TRY(object, self->device->publish(self->device, (uintptr_t)stream));
    exported *e = ebm__alloc(1, sizeof *e);
    if (!e) return PyErr_NoMemory();
    e->array = Py_NewRef(object);
    if (versioned) {
        e->as.versioned = (dlpack_versioned){.version = {1, 0},
                                             .context = e,
                                             .deleter = delete_versioned};
        fill_tensor(&e->as.versioned.tensor, e, self);
    } else {
        e->as.old = (dlpack_managed){.context = e, .deleter = delete_old};
        fill_tensor(&e->as.old.tensor, e, self);
    }
    PyObject *capsule = PyCapsule_New(e, versioned ? "dltensor_versioned" : "dltensor",
                                      delete_capsule);
    if (!capsule) release_exported(e);
    return capsule;
}

static PyObject *array_dlpack_device(PyObject *object, PyObject *unused)
{
    (void)unused;
    return Py_BuildValue("(ii)", (int)dlpack_device(array_of(object)->device), 0);
}

/* ---- DLPack, in -------------------------------------------------------------------------- */

static int dtype_of(const dlpack_tensor *tensor)
{
    int code = tensor->dtype.code, bits = tensor->dtype.bits;
    if (tensor->dtype.lanes != 1) return -1;
    if (code == DLPACK_FLOAT && bits == 32) return EBM_F32;
    if (code == DLPACK_FLOAT && bits == 64) return EBM_F64;
    if (code == DLPACK_INT && bits == 32) return EBM_I32;
    if (code == DLPACK_BOOL && bits == 8) return EBM_BOOL;
    if (code == DLPACK_UINT && bits == 8) return EBM_U8;
    return -1;
}

static int read_tensor(PyObject *module, const ebm_device *device, ebm_view *view,
                       const dlpack_tensor *tensor)
{
    if (tensor->device.type != dlpack_device(device) || tensor->device.id != 0) {
        EBM_PY_TRY_TO(module,
                      ebm_fail(EBM_DEVICE,
                               "from_dlpack: got memory of device (%d, %d), expected %s",
                               (int)tensor->device.type, (int)tensor->device.id, device->name),
                      failed);
    }
    int dtype = dtype_of(tensor);
    if (dtype < 0) {
        PyErr_Format(PyExc_TypeError,
                     "from_dlpack: got type code %d of %d bits, expected float32, float64, "
                     "int32, uint8 or bool",
                     tensor->dtype.code, tensor->dtype.bits);
        return -1;
    }
    if (tensor->ndim < 0 || tensor->ndim > EBM_MAX_RANK) {
        PyErr_Format(PyExc_ValueError, "from_dlpack: got %d axes, expected at most %d",
                     (int)tensor->ndim, (int)EBM_MAX_RANK);
        return -1;
    }
    ebm_shape shape = ebm_shape_of(tensor->ndim, tensor->shape);
    EBM_PY_TRY_TO(module, ebm_shape_check(&shape, "from_dlpack"), failed);
    *view = ebm_view_of((char *)tensor->data + tensor->byte_offset, (ebm_dtype)dtype, &shape);
    for (int32_t i = 0; tensor->strides && i < shape.rank; i++)
        view->stride[i] = tensor->strides[i];
    return 0;
failed:
    return -1;
}

/* take(capsule, device): an array over the memory that a capsule brings, which it then owns. */
static PyObject *array_take(PyObject *module, PyObject *args)
{
    PyObject *capsule, *name;
    const ebm_device *device = NULL;
    ebm_view view;
    if (!PyArg_ParseTuple(args, "O!O:take_dlpack", &PyCapsule_Type, &capsule, &name))
        return NULL;
    if (ebm__py_device(module, name, &device) < 0) return NULL;
    bool versioned = PyCapsule_IsValid(capsule, "dltensor_versioned");
    if (!versioned && !PyCapsule_IsValid(capsule, "dltensor")) {
        PyErr_SetString(PyExc_ValueError,
                        "from_dlpack: the capsule was used before, or is none");
        return NULL;
    }
    void *managed = PyCapsule_GetPointer(capsule, versioned ? "dltensor_versioned" : "dltensor");
    if (versioned && ((dlpack_versioned *)managed)->version.major > 1) {
        PyErr_SetString(PyExc_BufferError, "from_dlpack: a version above 1");
        return NULL;
    }
    const dlpack_tensor *tensor = versioned ? &((dlpack_versioned *)managed)->tensor
                                            : &((dlpack_managed *)managed)->tensor;
    if (read_tensor(module, device, &view, tensor) < 0) return NULL;
    ebm_py_array *array = new_array(module, device, &view);
    if (!array) return NULL;
    if (PyCapsule_SetName(capsule, versioned ? "used_dltensor_versioned" : "used_dltensor") < 0 ||
        PyCapsule_SetDestructor(capsule, NULL) < 0) {
        Py_DECREF(array);
        return NULL;
    }
    array->foreign = managed;
    array->old = !versioned;
    return (PyObject *)array;
}

/* queue(device): the device's stream as an int, for __dlpack__(stream=). */
static PyObject *device_queue(PyObject *module, PyObject *name)
{
    const ebm_device *device = NULL;
    if (ebm__py_device(module, name, &device) < 0) return NULL;
    return PyLong_FromUnsignedLongLong(device->queue ? device->queue(device) : 0);
}

/* set_device_array_type(cls): the subclass to make instances of. */
static PyObject *set_type(PyObject *module, PyObject *type)
{
    ebm_py_state *state = PyModule_GetState(module);
    if (!PyType_Check(type) || !PyType_IsSubtype((PyTypeObject *)type, state->device_array_base)) {
        PyErr_SetString(PyExc_TypeError, "a subclass of DeviceArray is expected");
        return NULL;
    }
    Py_XSETREF(state->device_array, (PyTypeObject *)Py_NewRef(type));
    Py_RETURN_NONE;
}

/* ---- attributes -------------------------------------------------------------------------- */

static PyObject *get_shape(PyObject *self, void *unused)
{
    (void)unused;
    ebm_shape shape = shape_of(array_of(self));
    return ebm__py_shape_tuple(&shape);
}

static PyObject *get_strides(PyObject *self, void *unused)
{
    (void)unused;
    const ebm_view *view = &array_of(self)->view;
    PyObject *strides = PyTuple_New(view->rank);
    for (int32_t i = 0; strides && i < view->rank; i++) {
        PyObject *stride = PyLong_FromLongLong(view->stride[i]);
        if (stride)
            PyTuple_SET_ITEM(strides, i, stride);
        else
            Py_CLEAR(strides);
    }
    return strides;
}

static PyObject *get_dtype(PyObject *self, void *unused)
{
    (void)unused;
    return ebm__py_descr((ebm_dtype)array_of(self)->view.dtype);
}

static PyObject *get_device(PyObject *self, void *unused)
{
    (void)unused;
    return PyUnicode_FromString(array_of(self)->device->name);
}

static PyObject *get_address(PyObject *self, void *unused)
{
    (void)unused;
    return PyLong_FromVoidPtr(array_of(self)->view.data);
}

static PyGetSetDef attributes[] = {
    {"shape", get_shape, NULL, "Its shape.", NULL},
    {"_strides", get_strides, NULL, "In elements.", NULL},
    {"dtype", get_dtype, NULL, "The np.dtype of its elements.", NULL},
    {"device", get_device, NULL, "The device it lies on: 'cuda'.", NULL},
    {"_address", get_address, NULL, "Of the first element, on the device.", NULL},
    {0},
};

static PyMethodDef methods[] = {
    {"numpy", array_numpy, METH_NOARGS, "numpy($self, /)\n--\n\nThe values as a NumPy array."},
    {"to", array_to, METH_O,
     "to($self, device, /)\n--\n\nA copy on a device; 'cpu' gives a NumPy array."},
    {"_view", array_view, METH_VARARGS, "Another array over the same memory."},
    {"_dlpack", array_dlpack, METH_VARARGS, "A DLPack capsule."},
    {"__dlpack_device__", array_dlpack_device, METH_NOARGS, "(type, number) of the device."},
    {0},
};

static PyType_Slot slots[] = {
    EBM_PY_SLOT(Py_tp_new, array_new),
    EBM_PY_SLOT(Py_tp_dealloc, array_dealloc),
    {Py_tp_doc, "DeviceArray(values, device=None)\n--\n\nA copy of an array on a device."},
    {Py_tp_methods, methods},
    {Py_tp_getset, attributes},
    {0, NULL},
};

static PyType_Spec spec = {
    .name = "ebmlib._core.DeviceArray",
    .basicsize = sizeof(ebm_py_array),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = slots,
};

static PyMethodDef functions[] = {
    {"take_dlpack", array_take, METH_VARARGS, "An array over the memory of a DLPack capsule."},
    {"device_queue", device_queue, METH_O, "The stream of a device, as an int; 0 without one."},
    {"set_device_array_type", set_type, METH_O, "The subclass of DeviceArray to make."},
    {0},
};

int ebm__py_add_array(PyObject *module)
{
    ebm_py_state *state = PyModule_GetState(module);
    if (ebm__py_add_type(module, &spec, &state->device_array_base) < 0) return -1;
    state->device_array = (PyTypeObject *)Py_NewRef(state->device_array_base);
    return PyModule_AddFunctions(module, functions);
}
