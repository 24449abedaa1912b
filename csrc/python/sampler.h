/* sampler.h - samplers from Python. */
#ifndef EBM_PYTHON_SAMPLER_H
#define EBM_PYTHON_SAMPLER_H

#include "python/module.h"
#include "samplers/sampler.h"

/* The sampler of (kind, options); the caller owns it. */
ebm_sampler *ebm__py_sampler(PyObject *self, PyObject *pair);

#endif
