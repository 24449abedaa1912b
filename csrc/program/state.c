#include "program/state.h"

#include <string.h>

#include "base/alloc.h"

typedef struct state_entry {
    char *name;
    ebm_tensor *tensor;
} state_entry;

struct ebm_state {
    const ebm_device *device;
    state_entry *entry;
    int64_t count, capacity;
};

ebm_status ebm_state_new(ebm_state **out, const ebm_device *device)
{
    ebm_state *state = ebm__alloc(1, sizeof *state);
    if (!state) return EBM_NOMEM;
    state->device = device;
    *out = state;
    return EBM_OK;
}

static void drop(state_entry *entry)
{
    ebm__free(entry->name);
    ebm_tensor_release(entry->tensor);
}

void ebm_state_free(ebm_state *state)
{
    if (!state) return;
    for (int64_t i = 0; i < state->count; i++) drop(&state->entry[i]);
    ebm__free(state->entry);
    ebm__free(state);
}

ebm_status ebm_state_add(ebm_state *state, const char *name, ebm_dtype dtype,
                         const ebm_shape *shape)
{
    if (ebm_state_find(state, name) >= 0)
        return ebm_fail(EBM_STATE, "state: '%s' exists already", name);
    if (state->count == INT32_MAX) return ebm_fail(EBM_VALUE, "state: too many arrays");
    EBM_TRY(ebm__grow(&state->entry, &state->capacity, state->count + 1, sizeof *state->entry));
    state_entry entry = {.name = ebm__strdup(name)};
    if (!entry.name) return EBM_NOMEM;
    ebm_status status = ebm_tensor_new(&entry.tensor, state->device, dtype, shape);
    if (status != EBM_OK) {
        drop(&entry);
        return status;
    }
    state->entry[state->count++] = entry;
    return EBM_OK;
}

void ebm_state_remove(ebm_state *state, const char *name)
{
    int32_t index = ebm_state_find(state, name);
    if (index < 0) return;
    drop(&state->entry[index]);
    state->count--;
    memmove(state->entry + index, state->entry + index + 1,
            (size_t)(state->count - index) * sizeof *state->entry);
}

const ebm_device *ebm_state_device(const ebm_state *state)
{
    return state->device;
}

int32_t ebm_state_count(const ebm_state *state)
{
    return (int32_t)state->count;
}

int32_t ebm_state_find(const ebm_state *state, const char *name)
{
    for (int64_t i = 0; i < state->count; i++)
        if (strcmp(state->entry[i].name, name) == 0) return (int32_t)i;
    return -1;
}

const char *ebm_state_name(const ebm_state *state, int32_t index)
{
    return state->entry[index].name;
}

ebm_tensor *ebm_state_tensor(const ebm_state *state, int32_t index)
{
    return state->entry[index].tensor;
}

ebm_tensor *ebm_state_get(const ebm_state *state, const char *name)
{
    int32_t index = ebm_state_find(state, name);
    if (index >= 0) return state->entry[index].tensor;
    ebm_fail(EBM_STATE, "state: there is no array '%s'", name);
    return NULL;
}

/* ---- host memory ------------------------------------------------------------------------- */

static ebm_status check_transfer(const ebm_state *state, int32_t index, size_t bytes)
{
    if (index < 0 || index >= state->count)
        return ebm_fail(EBM_INDEX, "state: array %d of %lld", (int)index,
                        (long long)state->count);
    size_t expected = ebm_tensor_bytes(state->entry[index].tensor);
    if (bytes == expected) return EBM_OK;
    return ebm_fail(EBM_SHAPE, "state: '%s': got %zu bytes, expected %zu",
                    state->entry[index].name, bytes, expected);
}

ebm_status ebm_state_write(ebm_state *state, int32_t index, const void *host, size_t bytes)
{
    EBM_TRY(check_transfer(state, index, bytes));
    return state->device->to_device(state->device, state->entry[index].tensor->data, host, bytes);
}

ebm_status ebm_state_read(const ebm_state *state, int32_t index, void *host, size_t bytes)
{
    EBM_TRY(check_transfer(state, index, bytes));
    return state->device->to_host(state->device, host, state->entry[index].tensor->data, bytes);
}
