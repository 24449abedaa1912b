/* options.h - options structs from Python dicts. */
#ifndef EBM_PYTHON_OPTIONS_H
#define EBM_PYTHON_OPTIONS_H

#include "base/options.h"
#include "python/module.h"

/* Initial values, then each item of the dict: numbers, words, sequences of ints, None for an
 * option that may be absent.  `values` is a struct of the table.  0, or -1 with the
 * exception. */
int ebm__py_options(PyObject *self, PyObject *dict, const ebm_options *table, void *values);

/* The same in a new block: ebm__free. */
void *ebm__py_options_new(PyObject *self, PyObject *dict, const ebm_options *table);

/* (kind, options): a tuple of a str and a dict, both borrowed from it; -1 with TypeError. */
int ebm__py_kind(PyObject *pair, const char **kind, PyObject **dict);

/* A key: two words as a sequence of two ints, taken modulo 2^32. */
int ebm__py_key(PyObject *object, uint32_t key[2]);

#endif
