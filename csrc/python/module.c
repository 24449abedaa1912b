/* module.c - ebmlib._core: multi-phase initialisation and the module's state. */
#define EBM_PY_IMPORTS_NUMPY
#include "python/module.h"

#include "base/threads.h"
#include "plan/plan.h"
#include "python/error.h"
#include "tensor/device.h"

static PyObject *set_array_type(PyObject *module, PyObject *type)
{
    ebm_py_state *state = PyModule_GetState(module);
    if (!PyType_Check(type) || !PyType_IsSubtype((PyTypeObject *)type, state->node)) {
        PyErr_SetString(PyExc_TypeError, "set_array_type: a subclass of Node is expected");
        return NULL;
    }
    Py_INCREF(type);
    Py_XSETREF(state->array, (PyTypeObject *)type);
    Py_RETURN_NONE;
}

static PyObject *isa(PyObject *module, PyObject *unused)
{
    (void)module, (void)unused;
    return PyUnicode_FromString(ebm_cpu_isa());
}

static PyObject *set_isa(PyObject *module, PyObject *name)
{
    const char *text = PyUnicode_AsUTF8(name);
    if (!text) return NULL;
    EBM_PY_TRY(module, ebm_cpu_set_isa(text));
    Py_RETURN_NONE;
}

static PyObject *num_threads(PyObject *module, PyObject *unused)
{
    (void)module, (void)unused;
    return PyLong_FromLong(ebm_num_threads());
}

static PyObject *set_num_threads(PyObject *module, PyObject *number)
{
    int overflow;
    if (PyBool_Check(number) || !PyIndex_Check(number))
        return PyErr_Format(PyExc_TypeError, "set_num_threads: n: got %R, expected an int",
                            number);
    long n = PyLong_AsLongAndOverflow(number, &overflow);
    if (n == -1 && PyErr_Occurred()) return NULL;
    if (overflow || n < 0 || n > INT_MAX)
        return PyErr_Format(PyExc_ValueError,
                            "set_num_threads: n: got %R, expected 0 (the default) or more",
                            number);
    (void)module;
    ebm_set_num_threads((int)n);
    Py_RETURN_NONE;
}

static const char *const precisions[] = {[EBM_PRECISION_IEEE] = "ieee",
                                         [EBM_PRECISION_TF32] = "tf32"};

static PyObject *precision(PyObject *module, PyObject *unused)
{
    (void)module, (void)unused;
    return PyUnicode_FromString(precisions[ebm_get_precision()]);
}

static PyObject *set_precision(PyObject *module, PyObject *name)
{
    (void)module;
    if (!PyUnicode_Check(name))
        return PyErr_Format(PyExc_TypeError,
                            "set_precision: name: got %s, expected a str: 'ieee' or 'tf32'",
                            Py_TYPE(name)->tp_name);
    for (int k = EBM_PRECISION_IEEE; k <= EBM_PRECISION_TF32; k++)
        if (PyUnicode_CompareWithASCIIString(name, precisions[k]) == 0)
            return PyUnicode_FromString(precisions[ebm_set_precision((ebm_precision)k)]);
    return PyErr_Format(PyExc_ValueError,
                        "set_precision: name: got %R, expected 'ieee' or 'tf32'", name);
}

int ebm__py_device(PyObject *self, PyObject *name, const ebm_device **out)
{
    ebm_py_state *state = ebm__py_state(self);
    if (!state) return -1;
    if (!name || name == Py_None) {
        PyObject *scope = NULL;
        if (PyContextVar_Get(state->device_scope, NULL, &scope) < 0) return -1;
        int status = 0;
        if (scope == Py_None)
            *out = state->device;
        else
            status = ebm__py_device(self, scope, out);
        Py_DECREF(scope);
        return status;
    }
    if (!PyUnicode_Check(name)) {
        PyErr_Format(PyExc_TypeError, "device: got %s, expected a str: 'cpu' or 'cuda'",
                     Py_TYPE(name)->tp_name);
        return -1;
    }
    Py_ssize_t length;
    const char *text = PyUnicode_AsUTF8AndSize(name, &length);
    if (!text) return -1;
    if (strlen(text) != (size_t)length) { /* a NUL within would end it */
        PyErr_Format(PyExc_ValueError, "device: got %R, expected cpu or cuda", name);
        return -1;
    }
    ebm_status status = ebm_device_get(out, text);
    if (status != EBM_OK) ebm__py_raise(self, status);
    return status == EBM_OK ? 0 : -1;
}

static PyObject *device(PyObject *module, PyObject *unused)
{
    (void)unused;
    const ebm_device *found = NULL;
    if (ebm__py_device(module, NULL, &found) < 0) return NULL;
    return PyUnicode_FromString(found->name);
}

static PyObject *check_device(PyObject *module, PyObject *name)
{
    const ebm_device *found = NULL;
    if (ebm__py_device(module, name, &found) < 0) return NULL;
    return PyUnicode_FromString(found->name);
}

static PyObject *device_model(PyObject *module, PyObject *name)
{
    const ebm_device *found = NULL;
    if (ebm__py_device(module, name, &found) < 0) return NULL;
    return PyUnicode_FromString(found->model);
}

static PyObject *set_device(PyObject *module, PyObject *name)
{
    ebm_py_state *state = ebm__py_state(module);
    if (ebm__py_device(module, name, &state->device) < 0) return NULL;
    Py_RETURN_NONE;
}

static PyMethodDef module_functions[] = {
    {"set_array_type", set_array_type, METH_O,
     "set_array_type($module, cls, /)\n--\n\nThe subclass of Node to make instances of."},
    {"isa", isa, METH_NOARGS, "isa($module, /)\n--\n\nThe instruction set in use."},
    {"set_isa", set_isa, METH_O, "set_isa($module, name, /)\n--\n\nChange it; for tests."},
    {"device", device, METH_NOARGS, "device($module, /)\n--\n\nThe device of what names none."},
    {"check_device", check_device, METH_O,
     "check_device($module, name, /)\n--\n\nThe name, of a device that can be used."},
    {"device_model", device_model, METH_O,
     "device_model($module, name, /)\n--\n\nWhat the maker of a card calls it."},
    {"set_device", set_device, METH_O, "set_device($module, name, /)\n--\n\nChange it."},
    {"precision", precision, METH_NOARGS,
     "precision($module, /)\n--\n\nHow products of float32 may be computed: 'ieee' or "
     "'tf32'.\n\n>>> import ebmlib\n>>> ebmlib.precision()\n'ieee'"},
    {"set_precision", set_precision, METH_O,
     "set_precision($module, name, /)\n--\n\nChange it; the one before."},
    {"num_threads", num_threads, METH_NOARGS,
     "num_threads($module, /)\n--\n\nThreads that kernels use, the calling one counted in.\n\n"
     ">>> import ebmlib\n>>> ebmlib.num_threads() >= 1\nTrue"},
    {"set_num_threads", set_num_threads, METH_O,
     "set_num_threads($module, n, /)\n--\n\nChange it; results do not depend on it.\n\n"
     "0 is the default: EBMLIB_NUM_THREADS, or the processors at hand.\n\n"
     ">>> import ebmlib\n>>> ebmlib.set_num_threads(1)\n>>> ebmlib.num_threads()\n1\n"
     ">>> ebmlib.set_num_threads(0)"},
    {0},
};

static int module_exec(PyObject *module)
{
    ebm_py_state *state = PyModule_GetState(module);
    if (PyArray_ImportNumPyAPI() < 0) return -1;
    if (ebm__py_errors_init(state) < 0) return -1;
    state->device = ebm_device_cpu();
    state->device_scope = PyContextVar_New("ebmlib.device", Py_None);
    if (!state->device_scope ||
        PyModule_AddObjectRef(module, "device_scope", state->device_scope) < 0)
        return -1;
#define EBM_PY_ADD(name) \
    if (ebm__py_add_##name(module) < 0) return -1;
    EBM_PY_PARTS(EBM_PY_ADD)
#undef EBM_PY_ADD
    return 0;
}

static int module_traverse(PyObject *module, visitproc visit, void *arg)
{
    ebm_py_state *state = PyModule_GetState(module);
#define EBM_PY_VISIT(name) Py_VISIT(state->name);
    EBM_PY_TYPES(EBM_PY_VISIT)
#undef EBM_PY_VISIT
    Py_VISIT(state->array);
    Py_VISIT(state->device_scope);
    for (int i = 0; i < EBM_STATUS_COUNT; i++) Py_VISIT(state->exception[i]);
    return 0;
}

static int module_clear(PyObject *module)
{
    ebm_py_state *state = PyModule_GetState(module);
#define EBM_PY_CLEAR(name) Py_CLEAR(state->name);
    EBM_PY_TYPES(EBM_PY_CLEAR)
#undef EBM_PY_CLEAR
    Py_CLEAR(state->array);
    Py_CLEAR(state->device_scope);
    for (int i = 0; i < EBM_STATUS_COUNT; i++) Py_CLEAR(state->exception[i]);
    return 0;
}

static void module_free(void *module)
{
    module_clear(module);
}

static PyModuleDef_Slot slots[] = {EBM_PY_SLOT(Py_mod_exec, module_exec), {0, NULL}};

static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "ebmlib._core",
    .m_doc = "The C core: graphs, their derivatives, and compiled plans.",
    .m_size = sizeof(ebm_py_state),
    .m_methods = module_functions,
    .m_slots = slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
    .m_free = module_free,
};

PyMODINIT_FUNC PyInit__core(void);
PyMODINIT_FUNC PyInit__core(void)
{
    return PyModuleDef_Init(&definition);
}

int ebm__py_add_type(PyObject *module, PyType_Spec *spec, PyTypeObject **slot)
{
    PyObject *type = PyType_FromModuleAndSpec(module, spec, NULL);
    if (!type) return -1;
    *slot = (PyTypeObject *)type;
    return PyModule_AddType(module, *slot);
}

int ebm__py_add_functions(PyObject *module, const char *name, PyMethodDef *functions)
{
    PyObject *space = PyObject_CallFunction((PyObject *)&PyType_Type, "s(){ss}", name,
                                            "__module__", PyModule_GetName(module));
    if (!space) return -1;
    int status = PyModule_AddObjectRef(module, name, space);
    for (PyMethodDef *function = functions; status == 0 && function->ml_name; function++) {
        PyObject *object = PyCFunction_NewEx(function, module, NULL);
        status = object ? PyObject_SetAttrString(space, function->ml_name, object) : -1;
        Py_XDECREF(object);
    }
    Py_DECREF(space);
    return status;
}

PyObject *ebm__py_module(PyObject *self)
{
    if (PyModule_Check(self)) return self;
#if PY_VERSION_HEX >= 0x030B0000
    return PyType_GetModuleByDef(Py_TYPE(self), &definition);
#else
    PyObject *mro = Py_TYPE(self)->tp_mro;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(mro); i++) {
        PyTypeObject *type = (PyTypeObject *)PyTuple_GET_ITEM(mro, i);
        if (!PyType_HasFeature(type, Py_TPFLAGS_HEAPTYPE)) continue;
        PyObject *module = ((PyHeapTypeObject *)type)->ht_module;
        if (module && PyModule_GetDef(module) == &definition) return module;
    }
    PyErr_SetString(PyExc_TypeError, "not an object of ebmlib._core");
    return NULL;
#endif
}

ebm_py_state *ebm__py_state(PyObject *self)
{
    PyObject *module = ebm__py_module(self);
    return module ? PyModule_GetState(module) : NULL;
}

void ebm__py_free(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    type->tp_free(self);
    Py_DECREF(type);
}
