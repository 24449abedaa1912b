/* apart.h - what plans for other devices ask of a kernel, done by several of the CPU's. */
#ifndef EBM_TESTS_APART_H
#define EBM_TESTS_APART_H

#include "tensor/device.h"

/* Any kernel.  A region that draws gets what the CPU's draws write; of several the last is first. */
ebm_status run_apart(const ebm_device *cpu, const ebm_kernel_args *args);

#endif
