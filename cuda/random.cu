// random.cu - random draws by formulas/philox.h.
//
// The threads of half a warp write 16 neighbours at once.
#include "draw.h"

namespace
{

struct draw_params {
    const uint32_t *key;
    void *out;
    int64_t n;
    ebm_draw draw;
    ebm_cuda_fault *fault;
};

__device__ inline void put(float *to, float real, int32_t)
{
    *to = real;
}
__device__ inline void put(double *to, float real, int32_t)
{
    *to = real;
}
__device__ inline void put(int32_t *to, float, int32_t integer)
{
    *to = integer;
}

template <class T> __global__ void draw_kernel(const draw_params p)
{
    const uint64_t start = ebm__cuda_first_block(p.draw, p.key, p.fault);
    int64_t blocks = (p.n + EBM_DRAW_GROUP - 1) / EBM_DRAW_GROUP * EBM_DRAW_BLOCKS;
    int64_t step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t b = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; b < blocks; b += step) {
        float real[4] = {};
        int32_t integer[4] = {};
        ebm__cuda_draw(p.draw, p.key, start + (uint64_t)b, real, integer);
        for (int k = 0; k < 4; k++) {
            int64_t at = ebm__cuda_drawn(b, k);
            if (at < p.n) put((T *)p.out + at, real[k], integer[k]);
        }
    }
}

// The key whose words are the first two of the block (data, 0, 0, FOLD_IN), with the same row.
__global__ void fold_in_kernel(const uint32_t *key, const uint32_t *data, uint32_t *out, int32_t n)
{
    if (threadIdx.x) return;
    uint64_t word[4];
    ebm__cuda_words(key[0], key[1], data[0], 0, EBM_PHILOX_FOLD_IN, word);
    out[0] = (uint32_t)word[0];
    out[1] = (uint32_t)word[1];
    if (n == 3) out[2] = key[2];
}

ebm_status fold_in(const ebm_kernel_args *args)
{
    EBM_CHECK(args->n_in == 2 && args->n_out == 1);
    EBM_LAUNCH_PLAIN(fold_in_kernel, dim3(1), dim3(32), (const uint32_t *)args->in[0].data,
                     (const uint32_t *)args->in[1].data, (uint32_t *)args->out[0].data,
                     (int32_t)args->in[0].shape[0]);
    return ebm__cuda_launched("fold_in");
}

template <class T> void launch_draw(const draw_params *p)
{
    int64_t blocks = (p->n + EBM_DRAW_GROUP - 1) / EBM_DRAW_GROUP * EBM_DRAW_BLOCKS;
    int32_t threads = ebm_cuda->block;
    EBM_LAUNCH_PLAIN(draw_kernel<T>, ebm__cuda_grid(blocks, threads), dim3((unsigned)threads),
                     *p);
}

} // namespace

ebm_status ebm__cuda_random(const ebm_kernel_args *args)
{
    if (args->op == EBM_OP_fold_in) return fold_in(args);
    EBM_CHECK(args->n_in == 1 && args->n_out == 1 && args->n_attr >= 2);
    const ebm_view *key = &args->in[0], *out = &args->out[0];
    bool real = args->op == EBM_OP_normal || args->op == EBM_OP_uniform;
    draw_params p = {};
    p.key = (const uint32_t *)key->data;
    p.out = out->data;
    p.n = ebm__cuda_size(out);
    p.fault = ebm_cuda->fault;
    if (p.n == 0) return EBM_OK;
    p.draw.op = args->op;
    p.draw.purpose = (uint32_t)args->attr[real];
    if (key->shape[0] == 3) p.draw.row = p.n / out->shape[0];
    switch (args->op) {
    case EBM_OP_uniform:
    case EBM_OP_normal:
        out->dtype == EBM_F64 ? launch_draw<double>(&p) : launch_draw<float>(&p);
        break;
    case EBM_OP_randint:
        p.draw.range = args->attr[1];
        launch_draw<int32_t>(&p);
        break;
    case EBM_OP_bits: launch_draw<int32_t>(&p); break;
    default: return ebm_fail(EBM_UNSUPPORTED, "random: op %d is not a draw", (int)args->op);
    }
    return ebm__cuda_launched("random");
}

size_t ebm__cuda_random_scratch(const ebm_kernel_args *)
{
    return 0;
}
