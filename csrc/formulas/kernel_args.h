/* kernel_args.h - what a kernel is told, on every device.
 *
 * A kernel never sees a graph node: it gets strided views and the op's attributes.  The structs
 * are plain data that C and C++ compile alike. */
#ifndef EBM_FORMULAS_KERNEL_ARGS_H
#define EBM_FORMULAS_KERNEL_ARGS_H

#include <stddef.h>
#include <stdint.h>

enum { EBM_MAX_RANK = 8 };

/* Element types.  BOOL is one byte, 0 or 1.  Keys of random numbers are I32[2], by their bits. */
typedef enum ebm_dtype {
    EBM_F32,
    EBM_F64,
    EBM_I32,
    EBM_BOOL,
    EBM_U8,
    EBM_DTYPE_COUNT
} ebm_dtype;

/* A strided array.  `stride` counts elements; 0 repeats (broadcast), negative runs backwards. */
typedef struct ebm_view {
    void *data;
    int32_t dtype; /* ebm_dtype */
    int32_t rank;
    int64_t shape[EBM_MAX_RANK];
    int64_t stride[EBM_MAX_RANK];
} ebm_view;

/* One instruction of an elementwise region: register d = op(a, b, c), on elements of `dtype` (the
 * type of the operands a, b; for select the type of b, c).  `op` is an ebm_op of the ELEMENTWISE
 * family.  Registers are numbered inputs first, then constants, then results. */
typedef struct ebm_instr {
    uint16_t op;
    uint8_t dtype;
    uint8_t d, a, b, c;
} ebm_instr;

enum { EBM_REGION_MAX_REG = 64, EBM_REGION_MAX_OUT = 16 };

/* Random numbers that a region draws itself, one for each element of its space, in the order that
 * its outputs have; formulas/philox.h.  The input is the key. */
typedef struct ebm_draw {
    int32_t op; /* EBM_OP_normal, uniform, bits, randint; 0: no draw, the input is read */
    uint32_t purpose;
    int64_t row;   /* elements of a row, by which the key's third word counts; 0: it has none */
    int64_t range; /* of randint */
} ebm_draw;

/* An elementwise region: a straight-line program that runs for every element of one index space.
 * Inputs are read through views with strides over that space; outputs are contiguous. */
typedef struct ebm_region {
    int32_t n_in, n_const, n_instr, n_out, n_reg;
    uint8_t reg_dtype[EBM_REGION_MAX_REG];
    double constant[EBM_REGION_MAX_REG]; /* value of register n_in + k; exact for every dtype */
    uint8_t out_reg[EBM_REGION_MAX_OUT]; /* output k is this register */
    const ebm_draw *draw; /* of each input; NULL: there are none (but on devices that ask) */
    const ebm_instr *instr;
} ebm_region;

/* Regions with one program are one kernel, EBM_OP_REGIONS, on devices that ask for it.  Part k, over
 * a space of its own, has inputs k n_in .. (k + 1) n_in - 1 of the kernel and outputs likewise.  An
 * input is contiguous, or one number for the whole space (strides 0); nothing is drawn.  Parts run in
 * any order: what one writes no other touches. */
enum { EBM_REGIONS_MAX_PARTS = 64, EBM_REGIONS_MAX_VIEWS = 1024, EBM_REGIONS_MAX_IN = 32 };

/* On the same devices EBM_OP_sum and EBM_OP_max may have several inputs, up to EBM_REGIONS_MAX_PARTS
 * of one type and none empty, and as many outputs, one number each: all axes go, whatever attr says. */

/* How products of f32 may be computed: of what they read, or of what that is in TF32, with 11 bits of
 * mantissa.  A permission: a device that is no faster so, or a kernel that cannot, does not. */
typedef enum ebm_precision { EBM_PRECISION_IEEE, EBM_PRECISION_TF32 } ebm_precision;

/* Everything a kernel gets.  Unless the op says otherwise, views are contiguous, inputs and outputs
 * do not overlap, and `scratch` is 64-byte aligned with the size the device asked for. */
typedef struct ebm_kernel_args {
    int32_t op; /* ebm_op; EBM_OP_REGION, EBM_OP_REGIONS for elementwise regions */
    int32_t n_in, n_out;
    const ebm_view *in;
    const ebm_view *out;
    const int64_t *attr; /* as laid out in graph/ops.def */
    int32_t n_attr;
    int32_t precision;        /* ebm_precision, of products */
    const ebm_region *region; /* of regions only */
    void *scratch;
} ebm_kernel_args;

#endif
