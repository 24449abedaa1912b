/* state.h - everything that lasts: named arrays.
 *
 * Parameters, optimiser moments, running averages, replay buffer, key, step counter, metrics.
 * Names are paths with dots: "params.l0.w", "adam.m.l0.w", "buffer.x", "key", "step". */
#ifndef EBM_PROGRAM_STATE_H
#define EBM_PROGRAM_STATE_H

#include "tensor/device.h"
#include "tensor/tensor.h"

typedef struct ebm_state ebm_state;

ebm_status ebm_state_new(ebm_state **out, const ebm_device *device);
void ebm_state_free(ebm_state *state); /* NULL is fine */

/* Adds a zeroed array.  STATE if the name exists. */
ebm_status ebm_state_add(ebm_state *state, const char *name, ebm_dtype dtype,
                         const ebm_shape *shape);
/* Takes an array away, if it is there; those behind it move up.  Programs that use it keep it
 * alive. */
void ebm_state_remove(ebm_state *state, const char *name);

const ebm_device *ebm_state_device(const ebm_state *state);
int32_t ebm_state_count(const ebm_state *state);
int32_t ebm_state_find(const ebm_state *state, const char *name);    /* -1 if there is none */
const char *ebm_state_name(const ebm_state *state, int32_t index);   /* borrowed */
ebm_tensor *ebm_state_tensor(const ebm_state *state, int32_t index); /* borrowed */
/* The array of that name, borrowed; NULL with STATE's message if there is none. */
ebm_tensor *ebm_state_get(const ebm_state *state, const char *name);

/* Copies host memory in or out: `bytes` must be the array's.  SHAPE otherwise. */
ebm_status ebm_state_write(ebm_state *state, int32_t index, const void *host, size_t bytes);
ebm_status ebm_state_read(const ebm_state *state, int32_t index, void *host, size_t bytes);

#endif
