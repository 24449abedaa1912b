/* lanes.h - many equal pieces of work that want scratch: a few lanes, each with its own.
 *
 * How many depends on the sizes alone.  Lane k does the pieces from ebm__lanes_first(k) to that of
 * k + 1. */
#ifndef EBM_CPU_LANES_H
#define EBM_CPU_LANES_H

#include <stddef.h>
#include <stdint.h>

enum {
    EBM_LANES_MOST = 16,
    EBM_LANES_WORK = 1 << 14, /* operations that are worth a lane */
    EBM_LANES_BYTES = 1 << 25 /* scratch of all lanes, unless one wants more */
};

typedef struct ebm__lanes {
    int64_t pieces, count;
    size_t bytes; /* of a lane, a multiple of 64 */
} ebm__lanes;

/* `pieces` of about `work` operations each; `bytes` of scratch for one at a time. */
static inline ebm__lanes ebm__lanes_of(int64_t pieces, double work, size_t bytes)
{
    ebm__lanes lanes = {.pieces = pieces, .bytes = (bytes + 63) / 64 * 64};
    double worth = (double)pieces * work / (double)EBM_LANES_WORK + 1;
    int64_t most = lanes.bytes ? (int64_t)(EBM_LANES_BYTES / lanes.bytes) : EBM_LANES_MOST;
    if (most > EBM_LANES_MOST) most = EBM_LANES_MOST;
    if (most > pieces) most = pieces;
    if (most < 1) most = 1;
    lanes.count = worth < (double)most ? (int64_t)worth : most;
    return lanes;
}

static inline int64_t ebm__lanes_first(const ebm__lanes *lanes, int64_t lane)
{
    return lane * (lanes->pieces / lanes->count) +
           (lane < lanes->pieces % lanes->count ? lane : lanes->pieces % lanes->count);
}

static inline size_t ebm__lanes_scratch(const ebm__lanes *lanes)
{
    return (size_t)lanes->count * lanes->bytes;
}

#endif
