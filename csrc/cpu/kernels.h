/* kernels.h - the CPU's kernel families.
 *
 * Every file of this folder but device.c is compiled once for each instruction set, with EBM_ISA set
 * to baseline, avx2 or avx512; EBM_CPU(matmul) is ebm__cpu_matmul_avx2 there.  device.c picks a table.
 * A family is a function that runs any of its ops, and one that says how much scratch it will want. */
#ifndef EBM_CPU_KERNELS_H
#define EBM_CPU_KERNELS_H

#include "base/status.h"
#include "formulas/kernel_args.h"
#include "graph/graph.h"

#define EBM_CPU_JOIN_(a, b) a##_##b
#define EBM_CPU_JOIN(a, b) EBM_CPU_JOIN_(a, b)
#define EBM_CPU(name) EBM_CPU_JOIN(ebm__cpu_##name, EBM_ISA)

/* Of each family of EBM_KERNEL_FAMILIES: ebm_status ebm__cpu_elementwise_ISA(args) and
 * size_t ebm__cpu_elementwise_scratch_ISA(args). */
typedef struct ebm_cpu_table {
    const char *isa;
#define EBM_CPU_MEMBER(family)                        \
    ebm_status (*family)(const ebm_kernel_args *args); \
    size_t (*family##_scratch)(const ebm_kernel_args *args);
    EBM_KERNEL_FAMILIES(EBM_CPU_MEMBER)
#undef EBM_CPU_MEMBER
    size_t (*matmul_packed)(const ebm_kernel_args *args); /* see tensor/device.h */
    size_t (*conv_packed)(const ebm_kernel_args *args);
    ebm_status (*peak)(double *flops, double *bytes); /* a second */
} ebm_cpu_table;

/* Prototypes of one instruction set. */
#define EBM_CPU_DECLARE(family, isa)                                                   \
    ebm_status EBM_CPU_JOIN(ebm__cpu_##family, isa)(const ebm_kernel_args *args);       \
    size_t EBM_CPU_JOIN(ebm__cpu_##family##_scratch, isa)(const ebm_kernel_args *args);

#define EBM_CPU_DECLARE_EXTRAS(isa)                                                        \
    size_t EBM_CPU_JOIN(ebm__cpu_matmul_packed, isa)(const ebm_kernel_args *args);         \
    size_t EBM_CPU_JOIN(ebm__cpu_conv_packed, isa)(const ebm_kernel_args *args);           \
    ebm_status EBM_CPU_JOIN(ebm__cpu_peak, isa)(double *flops, double *bytes);

#ifdef EBM_ISA
#define EBM_CPU_DECLARE_HERE(family) EBM_CPU_DECLARE(family, EBM_ISA)
EBM_KERNEL_FAMILIES(EBM_CPU_DECLARE_HERE)
EBM_CPU_DECLARE_EXTRAS(EBM_ISA)
#endif

#endif
