/* axes.h - how kernels see the axes of their operands, worked out once for C and CUDA.
 *
 * A convolution's windows along one axis, with the phases of its transpose; and the axes of a
 * reduction, merged into runs. */
#ifndef EBM_FORMULAS_AXES_H
#define EBM_FORMULAS_AXES_H

#include <stdbool.h>

#include "formulas/kernel_args.h"

/* One axis of the windows: output o sees, at tap t, input start + o * step + t * tap_step. */
typedef struct ebm_window_axis {
    int64_t outputs, taps, size; /* size: of the input */
    int64_t start, step, tap_step;
} ebm_window_axis;

/* One axis of a phase: pixels first, first + stride, ... of the image, and the taps of the
 * kernel that meet them: tap, tap + tap_step, ... */
typedef struct ebm_phase {
    ebm_window_axis axis;
    int64_t first, tap, tap_step;
} ebm_phase;

/* Pixel i and tap k meet at pixel (i + pad - k dilation) / stride of q, if that is whole: if
 * i + pad and k dilation both have this `remainder`. */
static inline ebm_phase ebm_phase_of(int64_t remainder, int64_t size, int64_t kernel,
                                     int64_t q_size, int64_t stride, int64_t pad,
                                     int64_t dilation)
{
    ebm_phase p = {{0, 0, q_size, 0, 1, 0}, 0, 0, 1};
    p.first = ((remainder - pad) % stride + stride) % stride;
    if (p.first < size) p.axis.outputs = (size - 1 - p.first) / stride + 1;
    while (p.tap < kernel && p.tap * dilation % stride != remainder) p.tap++;
    while (p.tap_step * dilation % stride != 0) p.tap_step++;
    if (p.tap == kernel) return p;
    p.axis.taps = (kernel - 1 - p.tap) / p.tap_step + 1;
    p.axis.start = (p.first + pad - p.tap * dilation) / stride;
    p.axis.tap_step = -p.tap_step * dilation / stride;
    return p;
}

/* The axes of x, but those of size 1, in runs of neighbours that are all in `mask` and go, or all
 * stay: the size of each, and whether it goes.  Returns how many. */
static inline int32_t ebm_runs_of(const ebm_view *x, int64_t mask, int64_t run[EBM_MAX_RANK],
                                  bool goes[EBM_MAX_RANK])
{
    int32_t n = 0;
    for (int32_t i = 0; i < x->rank; i++) {
        bool gone = mask >> i & 1;
        if (x->shape[i] == 1) continue;
        if (n && goes[n - 1] == gone) {
            run[n - 1] *= x->shape[i];
        } else {
            run[n] = x->shape[i];
            goes[n++] = gone;
        }
    }
    return n;
}

#endif
