/* tensor.h - contiguous arrays with counted owners. */
#ifndef EBM_TENSOR_TENSOR_H
#define EBM_TENSOR_TENSOR_H

#include "tensor/shape.h"

struct ebm_device;

typedef struct ebm_tensor {
    ebm_dtype dtype;
    ebm_shape shape;
    void *data; /* in the memory of `device`; contiguous, 64-byte aligned, zeroed when new */
    const struct ebm_device *device;
    int64_t owners; /* atomic */
    bool constant;  /* nobody writes it: a plan on another device may read a copy */
} ebm_tensor;

/* A new zeroed tensor with one owner, in `*out`.  NOMEM, SHAPE (negative or huge sizes). */
ebm_status ebm_tensor_new(ebm_tensor **out, const struct ebm_device *device, ebm_dtype dtype,
                          const ebm_shape *shape);

/* The tensor on `device`, in `*out`, the caller's: itself if it is there, else a copy.  NOMEM, DEVICE. */
ebm_status ebm_tensor_to(ebm_tensor **out, ebm_tensor *tensor, const struct ebm_device *device);

ebm_tensor *ebm_tensor_retain(ebm_tensor *tensor); /* one owner more; returns its argument */
void ebm_tensor_release(ebm_tensor *tensor);       /* NULL is fine */

size_t ebm_tensor_bytes(const ebm_tensor *tensor);
ebm_view ebm_tensor_view(const ebm_tensor *tensor);

#endif
