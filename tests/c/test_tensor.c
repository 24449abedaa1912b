/* test_tensor.c - shape.c, tensor.c and the CPU's memory and choice of kernels
 * (cpu/device.c). */
#define _GNU_SOURCE
#include "kernels.h"

#include "tensor/tensor.h"

#include <stdlib.h>

TEST(dtype_table)
{
    static const char *const names[] = {"f32", "f64", "i32", "bool", "u8"};
    static const size_t sizes[] = {4, 8, 4, 1, 1};
    for (int i = 0; i < EBM_DTYPE_COUNT; i++) {
        CHECK(strcmp(ebm_dtype_name((ebm_dtype)i), names[i]) == 0);
        CHECK(ebm_dtype_size((ebm_dtype)i) == sizes[i]);
        CHECK(ebm_dtype_is_float((ebm_dtype)i) == (i == EBM_F32 || i == EBM_F64));
    }
    CHECK(strcmp(ebm_dtype_name(EBM_DTYPE_COUNT), "?") == 0);
    CHECK(ebm_dtype_size(EBM_DTYPE_COUNT) == 0);
    CHECK(!ebm_dtype_is_float(EBM_DTYPE_COUNT));
}

TEST(shape_text_and_size)
{
    char text[128];
    ebm_shape scalar = EBM_SCALAR, vector = EBM_DIMS(3), matrix = EBM_DIMS(2, 0);
    CHECK(strcmp(ebm_shape_text(&scalar, text, sizeof text), "()") == 0);
    CHECK(strcmp(ebm_shape_text(&vector, text, sizeof text), "(3,)") == 0);
    CHECK(strcmp(ebm_shape_text(&matrix, text, sizeof text), "(2, 0)") == 0);
    CHECK(strcmp(ebm_shape_text(&matrix, text, 4), "(2,") == 0);
    CHECK(ebm_shape_size(&scalar) == 1);
    CHECK(ebm_shape_size(&vector) == 3);
    CHECK(ebm_shape_size(&matrix) == 0);
    CHECK(ebm_shape_equal(&scalar, &scalar));
    CHECK(!ebm_shape_equal(&scalar, &vector));
    CHECK(!ebm_shape_equal(&vector, SHAPE(4)));
}

TEST(shape_broadcast)
{
    ebm_shape out, a = EBM_DIMS(5, 1, 3), b = EBM_DIMS(4, 1), scalar = EBM_SCALAR;
    CHECK_OK(ebm_shape_broadcast(&out, &a, &b, "add"));
    CHECK(ebm_shape_equal(&out, SHAPE(5, 4, 3)));
    CHECK_OK(ebm_shape_broadcast(&out, &b, &a, "add"));
    CHECK(ebm_shape_equal(&out, SHAPE(5, 4, 3)));
    CHECK_OK(ebm_shape_broadcast(&out, &scalar, &a, "add"));
    CHECK(ebm_shape_equal(&out, &a));
    CHECK_OK(ebm_shape_broadcast(&out, SHAPE(0), SHAPE(1), "add"));
    CHECK(ebm_shape_equal(&out, SHAPE(0)));
    CHECK_STATUS(ebm_shape_broadcast(&out, &a, SHAPE(2), "add"), EBM_SHAPE);
    CHECK(strcmp(ebm_message(), "add: shapes do not broadcast: (5, 1, 3) and (2,)") == 0);
    CHECK_STATUS(ebm_shape_broadcast(&out, SHAPE(0), SHAPE(2), "add"), EBM_SHAPE);
}

TEST(view_is_contiguous)
{
    float data[24];
    ebm_view view = ebm_view_of(data, EBM_F32, SHAPE(2, 3, 4));
    CHECK(view.data == data && view.dtype == EBM_F32 && view.rank == 3);
    CHECK(view.shape[0] == 2 && view.shape[1] == 3 && view.shape[2] == 4);
    CHECK(view.stride[0] == 12 && view.stride[1] == 4 && view.stride[2] == 1);
}

TEST(tensor_life)
{
    const ebm_device *cpu = ebm_device_cpu();
    ebm_tensor *tensor = NULL;
    CHECK_OK(ebm_tensor_new(&tensor, cpu, EBM_F64, SHAPE(3, 5)));
    CHECK(tensor->dtype == EBM_F64 && tensor->owners == 1 && tensor->device == cpu);
    CHECK(ebm_tensor_bytes(tensor) == 120);
    CHECK((uintptr_t)tensor->data % EBM_ALIGN == 0);
    for (int i = 0; i < 15; i++) CHECK(((double *)tensor->data)[i] == 0.0);
    CHECK(ebm_tensor_retain(tensor) == tensor && tensor->owners == 2);
    ebm_tensor_release(tensor);
    CHECK(tensor->owners == 1);
    ebm_view view = ebm_tensor_view(tensor);
    CHECK(view.data == tensor->data && view.rank == 2 && view.stride[0] == 5);
    ebm_tensor_release(tensor);
    ebm_tensor_release(NULL);
    CHECK(ebm_tensor_retain(NULL) == NULL);
}

TEST(tensor_sizes)
{
    const ebm_device *cpu = ebm_device_cpu();
    ebm_tensor *tensor = NULL;
    CHECK_OK(ebm_tensor_new(&tensor, cpu, EBM_U8, SHAPE(0, 7)));
    CHECK(ebm_tensor_bytes(tensor) == 0 && tensor->data != NULL);
    ebm_tensor_release(tensor);
    CHECK_STATUS(ebm_tensor_new(&tensor, cpu, EBM_F32, SHAPE(2, -1)), EBM_SHAPE);
    CHECK(strcmp(ebm_message(), "tensor: impossible shape (2, -1)") == 0);
    int64_t big = (int64_t)1 << 40;
    CHECK_STATUS(ebm_tensor_new(&tensor, cpu, EBM_F32, SHAPE(big, big)), EBM_SHAPE);
    CHECK_STATUS(ebm_tensor_new(&tensor, cpu, EBM_DTYPE_COUNT, SHAPE(1)), EBM_DTYPE);
}

TEST(tensor_without_memory)
{
    for (int64_t n = 0; n < 2; n++) {
        ebm_tensor *tensor = NULL;
        int64_t live = ebm__alloc_live();
        ebm__alloc_fail_after(n);
        CHECK_STATUS(ebm_tensor_new(&tensor, ebm_device_cpu(), EBM_F32, SHAPE(9)), EBM_NOMEM);
        ebm__alloc_fail_after(-1);
        CHECK(ebm__alloc_live() == live);
    }
}

/* ---- the device -------------------------------------------------------------------------------- */

TEST(device_moves_bytes)
{
    const ebm_device *cpu = ebm_device_cpu();
    void *data = NULL;
    char back[8] = {0};
    CHECK(strcmp(cpu->name, "cpu") == 0 && cpu->host_memory);
    CHECK_OK(cpu->alloc(cpu, &data, 8));
    CHECK_OK(cpu->to_device(cpu, data, "energy", 7));
    CHECK_OK(cpu->to_host(cpu, back, data, 7));
    CHECK(strcmp(back, "energy") == 0);
    CHECK_OK(cpu->to_device(cpu, NULL, NULL, 0));
    CHECK_OK(cpu->sync(cpu));
    cpu->free(cpu, data);
    ebm__alloc_fail_after(0);
    CHECK_STATUS(cpu->alloc(cpu, &data, 8), EBM_NOMEM);
}

static ebm_status sum_three(float *result)
{
    float x[] = {1, 2, 4};
    int64_t mask = 1;
    ebm_view in = ebm_view_of(x, EBM_F32, SHAPE(3)),
             out = ebm_view_of(result, EBM_F32, &EBM_SCALAR);
    ebm_kernel_args args = {.op = EBM_OP_sum,
                            .n_in = 1,
                            .n_out = 1,
                            .in = &in,
                            .out = &out,
                            .attr = &mask,
                            .n_attr = 1};
    const ebm_device *cpu = ebm_device_cpu();
    CHECK(cpu->scratch(cpu, &args) == 0);
    return cpu->run(cpu, &args);
}

TEST(device_instruction_sets)
{
    static const char *const names[] = {"baseline", "avx2", "avx512"};
    float result = 0;
    for (int i = 0; i < 3; i++) {
        ebm_status status = ebm_cpu_set_isa(names[i]);
        if (status == EBM_OK) {
            CHECK(strcmp(ebm_cpu_isa(), names[i]) == 0);
        } else {
            CHECK_STATUS(status, EBM_UNSUPPORTED);
            CHECK(strstr(ebm_message(), names[i]) != NULL);
        }
        CHECK_OK(sum_three(&result));
        CHECK(result == 7);
    }
    CHECK_OK(ebm_cpu_set_isa("baseline"));
    CHECK_STATUS(ebm_cpu_set_isa("sse9"), EBM_VALUE);
    CHECK(strcmp(ebm_cpu_isa(), "baseline") == 0);
    CHECK_OK(ebm_cpu_set_isa(NULL));
}

/* The environment is read at the first run; a bad value fails runs until somebody chooses. */
TEST(device_reads_the_environment)
{
    float result = 0;
    CHECK_OK(ebm_cpu_set_isa(NULL));
    CHECK(setenv("EBMLIB_ISA", "sse9", 1) == 0);
    CHECK_STATUS(sum_three(&result), EBM_VALUE);
    CHECK(strcmp(ebm_message(), "EBMLIB_ISA: unknown instruction set: got 'sse9', expected "
                                "baseline, avx2 or avx512") == 0);
    CHECK(strcmp(ebm_cpu_isa(), "none") == 0);
    CHECK_STATUS(sum_three(&result), EBM_VALUE);
    CHECK(setenv("EBMLIB_ISA", "baseline", 1) == 0);
    CHECK_OK(sum_three(&result));
    CHECK(strcmp(ebm_cpu_isa(), "baseline") == 0 && result == 7);
    CHECK(unsetenv("EBMLIB_ISA") == 0);
    CHECK_OK(ebm_cpu_set_isa(NULL));
}

TEST(device_without_the_op)
{
    const ebm_device *cpu = ebm_device_cpu();
    ebm_kernel_args args = {.op = EBM_OP_repeat};
    CHECK(cpu->scratch(cpu, &args) == 0);
    CHECK_STATUS(cpu->run(cpu, &args), EBM_UNSUPPORTED);
    args.op = EBM_OP_PACK + 1;
    CHECK_STATUS(cpu->run(cpu, &args), EBM_UNSUPPORTED);
    args.op = -1;
    CHECK_STATUS(cpu->run(cpu, &args), EBM_UNSUPPORTED);
}
