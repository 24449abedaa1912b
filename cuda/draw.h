// draw.h - random draws by formulas/philox.h, for kernels that write them and regions that use them.
//
// A thread computes one block of four words, and so the four elements 16 apart that take them.  The
// key lies in device memory and is read there; its row, if it has one, says with which group of 64
// elements the draw begins.
#ifndef EBM_CUDA_DRAW_H
#define EBM_CUDA_DRAW_H

#include "formulas.h"
#include "kernels.h"

enum { EBM_DRAW_BLOCKS = EBM_PHILOX_BLOCKS, EBM_DRAW_GROUP = EBM_PHILOX_GROUP };

__device__ inline void ebm__cuda_words(uint32_t key0, uint32_t key1, uint64_t block,
                                       uint32_t purpose, uint32_t tag, uint64_t word[4])
{
    uint64_t keys[20];
    ebm__schedule(keys, key0, key1);
    word[0] = (uint32_t)block;
    word[1] = block >> 32;
    word[2] = purpose;
    word[3] = tag;
    ebm__philox(word, keys);
}

// The element that takes word `k` of a block, counted from the draw's first one.
__device__ inline int64_t ebm__cuda_drawn(int64_t block, int32_t k)
{
    return block / EBM_DRAW_BLOCKS * EBM_DRAW_GROUP + block % EBM_DRAW_BLOCKS +
           EBM_DRAW_BLOCKS * k;
}

// The block that a draw begins with: that of the key's row, which is wrong within a group.
__device__ inline uint64_t ebm__cuda_first_block(const ebm_draw &d, const uint32_t *key,
                                                 ebm_cuda_fault *fault)
{
    if (!d.row) return 0;
    int32_t row = (int32_t)key[2];
    int64_t before = row * d.row;
    if (row < 0 || before % EBM_DRAW_GROUP) ebm__cuda_set_fault(fault, d.op, row, INT32_MAX);
    return (uint64_t)before / EBM_DRAW_GROUP * EBM_DRAW_BLOCKS;
}

// The four values of one block: floats of normal and uniform, integers of bits and randint.
__device__ inline void ebm__cuda_draw(const ebm_draw &d, const uint32_t *key, uint64_t block,
                                      float real[4], int32_t integer[4])
{
    uint64_t word[4];
    bool normal = d.op == EBM_OP_normal;
    ebm__cuda_words(key[0], key[1], block, d.purpose,
                    normal ? EBM_PHILOX_NORMAL : EBM_PHILOX_BITS, word);
    if (normal) {
        ebm__normals((uint32_t)word[0], (uint32_t)word[1], &real[0], &real[1]);
        ebm__normals((uint32_t)word[2], (uint32_t)word[3], &real[2], &real[3]);
    } else if (d.op == EBM_OP_uniform) {
        for (int k = 0; k < 4; k++) real[k] = ebm__uniform((uint32_t)word[k]);
    } else {
        for (int k = 0; k < 4; k++)
            integer[k] = (int32_t)(d.op == EBM_OP_bits ? word[k]
                                                       : (uint32_t)word[k] * d.range >> 32);
    }
}

#endif
