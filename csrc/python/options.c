/* options.c - options structs from Python dicts, and the tables themselves for shells and
 * tests. */
#include "python/options.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "estimators/trainer.h"
#include "networks/network.h"
#include "python/convert.h"
#include "python/error.h"
#include "samplers/sampler.h"

static ebm_status set_sequence(const ebm_options *table, void *values, const char *name,
                               PyObject *value)
{
    int64_t at[EBM_INTS_MAX];
    char what[128];
    snprintf(what, sizeof what, "%s: %s", table->owner, name);
    int32_t n = ebm__py_words(value, at, EBM_INTS_MAX, what);
    if (n >= 0) return ebm_options_set_ints(table, values, name, at, n);
    if (!PyErr_ExceptionMatches(PyExc_TypeError)) return EBM_CANCELLED;
    PyErr_Clear();
    PyObject *text = PyObject_Repr(value);
    const char *got = text ? PyUnicode_AsUTF8(text) : NULL;
    if (got) ebm_fail(EBM_DTYPE, "%s: got %.100s, expected a list of whole numbers", what, got);
    Py_XDECREF(text);
    return got ? EBM_DTYPE : EBM_CANCELLED;
}

/* CANCELLED with a Python exception set, or a status with its message. */
static ebm_status set_one(const ebm_options *table, void *values, const char *name,
                          PyObject *value)
{
    if (PyUnicode_Check(value)) {
        const char *word = PyUnicode_AsUTF8(value);
        return word ? ebm_options_set_word(table, values, name, word) : EBM_CANCELLED;
    }
    const ebm_option *row = ebm_options_find(table, name);
    if (value == Py_None) {
        if (!row || isnan(row->initial))
            return ebm_options_set_number(table, values, name, NAN);
        return ebm_fail(EBM_VALUE, "%s: %s: got None, expected a value", table->owner, name);
    }
    if (PyBool_Check(value) && row && row->kind != EBM_OPTION_BOOL)
        return ebm_fail(EBM_DTYPE, "%s: %s: got %s, expected a number", table->owner, name,
                        value == Py_True ? "True" : "False");
    if (row && row->kind == EBM_OPTION_INTS) return set_sequence(table, values, name, value);
    double number = PyFloat_AsDouble(value);
    if (number != -1.0 || !PyErr_Occurred())
        return ebm_options_set_number(table, values, name, number);
    if (!PyErr_ExceptionMatches(PyExc_TypeError)) return EBM_CANCELLED;
    PyErr_Clear();
    return ebm_fail(EBM_DTYPE, "%s: %s: got %s, expected a number", table->owner, name,
                    Py_TYPE(value)->tp_name);
}

int ebm__py_options(PyObject *self, PyObject *dict, const ebm_options *table, void *values)
{
    PyObject *name_object, *value;
    Py_ssize_t at = 0;
    ebm_options_init(table, values);
    while (PyDict_Next(dict, &at, &name_object, &value)) {
        const char *name = PyUnicode_AsUTF8(name_object);
        if (!name) return -1;
        ebm_status status = set_one(table, values, name, value);
        if (status != EBM_OK) {
            ebm__py_raise(self, status);
            return -1;
        }
    }
    return 0;
}

void *ebm__py_options_new(PyObject *self, PyObject *dict, const ebm_options *table)
{
    void *values = ebm__alloc(1, table->size);
    if (!values) return PyErr_NoMemory();
    if (ebm__py_options(self, dict, table, values) == 0) return values;
    ebm__free(values);
    return NULL;
}

int ebm__py_kind(PyObject *pair, const char **kind, PyObject **dict)
{
    if (!PyTuple_Check(pair) || PyTuple_GET_SIZE(pair) != 2 ||
        !PyDict_Check(PyTuple_GET_ITEM(pair, 1))) {
        PyErr_Format(PyExc_TypeError, "expected (kind, options), got %R", pair);
        return -1;
    }
    *dict = PyTuple_GET_ITEM(pair, 1);
    if (!PyUnicode_Check(PyTuple_GET_ITEM(pair, 0))) {
        PyErr_Format(PyExc_TypeError, "kind: got %R, expected a word", PyTuple_GET_ITEM(pair, 0));
        return -1;
    }
    *kind = PyUnicode_AsUTF8(PyTuple_GET_ITEM(pair, 0));
    return *kind ? 0 : -1;
}

int ebm__py_key(PyObject *object, uint32_t key[2])
{
    PyObject *words = PySequence_Tuple(object);
    if (!words) return -1;
    int status = PyTuple_GET_SIZE(words) == 2 ? 0 : -1;
    if (status < 0) PyErr_SetString(PyExc_ValueError, "key: expected two words");
    for (Py_ssize_t i = 0; status == 0 && i < 2; i++) {
        unsigned long word = PyLong_AsUnsignedLongMask(PyTuple_GET_ITEM(words, i));
        if (PyErr_Occurred()) status = -1;
        key[i] = (uint32_t)word;
    }
    Py_DECREF(words);
    return status;
}

/* ---- the tables -------------------------------------------------------------------------- */

static PyObject *initial_value(const ebm_option *row, const void *values)
{
    const void *at = (const char *)values + row->offset;
    double number = ebm_options_number(row, values);
    char word[64];
    switch (row->kind) {
    case EBM_OPTION_INT: return PyLong_FromDouble(number);
    case EBM_OPTION_BOOL: return PyBool_FromLong(number != 0.0);
    case EBM_OPTION_REAL:
        return isnan(number) ? Py_NewRef(Py_None) : PyFloat_FromDouble(number);
    case EBM_OPTION_CHOICE:
        ebm_option_word(row, (int64_t)number, word, sizeof word);
        return PyUnicode_FromString(word);
    case EBM_OPTION_INTS: break;
    }
    const ebm_ints *ints = at;
    PyObject *tuple = PyTuple_New((Py_ssize_t)ints->n);
    for (int64_t i = 0; tuple && i < ints->n; i++)
        PyTuple_SET_ITEM(tuple, (Py_ssize_t)i, PyLong_FromLongLong(ints->at[i]));
    return tuple;
}

/* {name: (initial value, doc)} */
static PyObject *table_dict(const ebm_options *table)
{
    void *values = ebm__alloc(1, table->size);
    PyObject *dict = values ? PyDict_New() : PyErr_NoMemory();
    if (dict) ebm_options_init(table, values);
    for (int32_t i = 0; dict && i < table->n; i++) {
        const ebm_option *row = &table->row[i];
        PyObject *item = Py_BuildValue("Ns", initial_value(row, values), row->doc);
        if (!item || PyDict_SetItemString(dict, row->name, item) < 0) Py_CLEAR(dict);
        Py_XDECREF(item);
    }
    ebm__free(values);
    return dict;
}

static const ebm_options *find_table(const char *family, const char *kind)
{
    if (strcmp(family, "network") == 0) {
        const ebm_network_kind *found = ebm_network_find(kind);
        return found ? &found->options : NULL;
    }
    if (strcmp(family, "sampler") == 0) {
        const ebm_sampler_kind *found = ebm_sampler_find(kind);
        return found ? &found->options : NULL;
    }
    if (strcmp(family, "optimizer") == 0) {
        const ebm_optimizer_kind *found = ebm_optimizer_find(kind);
        return found ? &found->options : NULL;
    }
    if (strcmp(family, "schedule") == 0) {
        const ebm_schedule_kind *found = ebm_schedule_find(kind);
        return found ? &found->options : NULL;
    }
    if (strcmp(family, "estimator") == 0) {
        const ebm_estimator_kind *found = ebm_estimator_find(kind);
        return found ? &found->options : NULL;
    }
    if (strcmp(family, "entropy") == 0) {
        const ebm_entropy_kind *found = ebm_entropy_find(kind);
        return found ? &found->options : NULL;
    }
    if (strcmp(family, "training") == 0) return &ebm_training_table;
    if (strcmp(family, "update") == 0) return &ebm_update_table;
    ebm_fail(EBM_VALUE,
             "options: got family '%s', expected network, sampler, optimizer, schedule, "
             "estimator, entropy, training or update",
             family);
    return NULL;
}

static PyObject *options(PyObject *module, PyObject *args)
{
    const char *family, *kind;
    if (!PyArg_ParseTuple(args, "ss:options", &family, &kind)) return NULL;
    const ebm_options *table = find_table(family, kind);
    return table ? table_dict(table) : ebm__py_raise(module, EBM_VALUE);
}

/* Checks a set of options without making anything of them. */
static PyObject *check_options(PyObject *module, PyObject *args)
{
    const char *family, *kind;
    PyObject *dict;
    if (!PyArg_ParseTuple(args, "ssO!:check_options", &family, &kind, &PyDict_Type, &dict))
        return NULL;
    const ebm_options *table = find_table(family, kind);
    if (!table) return ebm__py_raise(module, EBM_VALUE);
    void *values = ebm__py_options_new(module, dict, table);
    if (!values) return NULL;
    ebm__free(values);
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"options", options,
     METH_VARARGS, "options($module, family, kind, /)\n--\n\n{name: (initial value, doc)} of a kind's options."},
    {"check_options", check_options,
     METH_VARARGS, "check_options($module, family, kind, options, /)\n--\n\nRaise ValueError for a bad option."},
    {0},
};

int ebm__py_add_options(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
