/* dlpack.h - the structures of DLPack 1.0, by which libraries hand arrays to each other.
 *
 * The layout is fixed by https://dmlc.github.io/dlpack; names and comments are ours.  A capsule
 * called "dltensor" holds a dlpack_managed, one called "dltensor_versioned" a dlpack_versioned;
 * whoever takes it renames it to "used_..." and calls `deleter` when done. */
#ifndef EBM_PYTHON_DLPACK_H
#define EBM_PYTHON_DLPACK_H

#include <stdint.h>

enum { DLPACK_CPU = 1, DLPACK_CUDA = 2, DLPACK_EXTENSION = 12 }; /* where memory is */
enum { DLPACK_INT = 0, DLPACK_UINT = 1, DLPACK_FLOAT = 2, DLPACK_BOOL = 6 }; /* what is in it */
enum { DLPACK_READ_ONLY = 1 };                                               /* a flag */

typedef struct dlpack_tensor {
    void *data;
    struct {
        int32_t type, id;
    } device;
    int32_t ndim;
    struct {
        uint8_t code, bits;
        uint16_t lanes;
    } dtype;
    int64_t *shape, *strides; /* in elements; strides NULL: contiguous */
    uint64_t byte_offset;
} dlpack_tensor;

typedef struct dlpack_managed {
    dlpack_tensor tensor;
    void *context;
    void (*deleter)(struct dlpack_managed *self);
} dlpack_managed;

typedef struct dlpack_versioned {
    struct {
        uint32_t major, minor;
    } version;
    void *context;
    void (*deleter)(struct dlpack_versioned *self);
    uint64_t flags;
    dlpack_tensor tensor;
} dlpack_versioned;

#endif
