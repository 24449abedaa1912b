#include "tensor/tensor.h"

#include "base/alloc.h"
#include "tensor/device.h"

ebm_status ebm_tensor_new(ebm_tensor **out, const ebm_device *device, ebm_dtype dtype,
                          const ebm_shape *shape)
{
    size_t bytes = ebm_dtype_size(dtype);
    if (!bytes) return ebm_fail(EBM_DTYPE, "tensor: unknown element type %d", (int)dtype);
    for (int32_t i = 0; i < shape->rank; i++)
        if (shape->dim[i] < 0 || __builtin_mul_overflow(bytes, (size_t)shape->dim[i], &bytes)) {
            char text[128];
            return ebm_fail(EBM_SHAPE, "tensor: impossible shape %s",
                            ebm_shape_text(shape, text, sizeof text));
        }
    ebm_tensor *tensor = ebm__alloc(1, sizeof *tensor);
    if (!tensor) return EBM_NOMEM;
    *tensor = (ebm_tensor){.dtype = dtype, .shape = *shape, .device = device, .owners = 1};
    ebm_status status = device->alloc(device, &tensor->data, bytes);
    if (status != EBM_OK) {
        ebm__free(tensor);
        return status;
    }
    *out = tensor;
    return EBM_OK;
}

/* By way of the host, where neither is there. */
static ebm_status copy_over(const ebm_tensor *to, const ebm_tensor *from, size_t bytes)
{
    if (from->device->host_memory)
        return to->device->to_device(to->device, to->data, from->data, bytes);
    if (to->device->host_memory)
        return from->device->to_host(from->device, to->data, from->data, bytes);
    void *host = ebm__alloc(bytes, 1);
    if (!host) return EBM_NOMEM;
    ebm_status status = from->device->to_host(from->device, host, from->data, bytes);
    if (status == EBM_OK) status = to->device->to_device(to->device, to->data, host, bytes);
    ebm__free(host);
    return status;
}

ebm_status ebm_tensor_to(ebm_tensor **out, ebm_tensor *tensor, const ebm_device *device)
{
    if (tensor->device == device) {
        *out = ebm_tensor_retain(tensor);
        return EBM_OK;
    }
    ebm_tensor *copy = NULL;
    EBM_TRY(ebm_tensor_new(&copy, device, tensor->dtype, &tensor->shape));
    ebm_status status = copy_over(copy, tensor, ebm_tensor_bytes(tensor));
    if (status == EBM_OK)
        *out = copy;
    else
        ebm_tensor_release(copy);
    return status;
}

ebm_tensor *ebm_tensor_retain(ebm_tensor *tensor)
{
    if (tensor) __atomic_add_fetch(&tensor->owners, 1, __ATOMIC_RELAXED);
    return tensor;
}

void ebm_tensor_release(ebm_tensor *tensor)
{
    if (!tensor || __atomic_sub_fetch(&tensor->owners, 1, __ATOMIC_ACQ_REL) > 0) return;
    tensor->device->free(tensor->device, tensor->data);
    ebm__free(tensor);
}

size_t ebm_tensor_bytes(const ebm_tensor *tensor)
{
    return (size_t)ebm_shape_size(&tensor->shape) * ebm_dtype_size(tensor->dtype);
}

ebm_view ebm_tensor_view(const ebm_tensor *tensor)
{
    return ebm_view_of(tensor->data, tensor->dtype, &tensor->shape);
}
