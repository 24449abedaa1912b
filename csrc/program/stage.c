/* stage.c - graph code whose inputs and results are names of a state. */
#include "base/alloc.h"
#include "program/internal.h"

ebm_status ebm_stage_init(ebm_stage *stage, const ebm_state *state)
{
    *stage = (ebm_stage){.state = state};
    return ebm_graph_new(&stage->graph);
}

void ebm_stage_fini(ebm_stage *stage)
{
    ebm_graph_free(stage->graph);
    for (int64_t i = 0; i < stage->n_writes; i++) ebm_tensor_release(stage->writes[i].tensor);
    ebm__free(stage->writes);
    *stage = (ebm_stage){0};
}

static ebm_tensor *find(ebm_stage *stage, const char *name)
{
    ebm_tensor *tensor = name ? ebm_state_get(stage->state, name) : NULL;
    if (!tensor)
        ebm_graph_fail(stage->graph, EBM_STATE, "stage: no array '%s'", name ? name : "");
    return tensor;
}

ebm_ref ebm_stage_read(ebm_stage *stage, const char *name)
{
    ebm_tensor *tensor = find(stage, name);
    return tensor ? ebm_graph_input(stage->graph, name, tensor->dtype, &tensor->shape)
                  : EBM_POISON;
}

static struct ebm_stage_write *find_write(const ebm_stage *stage, const ebm_tensor *tensor)
{
    for (int64_t i = 0; i < stage->n_writes; i++)
        if (stage->writes[i].tensor == tensor) return &stage->writes[i];
    return NULL;
}

static bool fits(ebm_stage *stage, const char *name, const ebm_tensor *tensor, ebm_ref value)
{
    ebm_dtype dtype = ebm_ref_dtype(stage->graph, value);
    ebm_shape shape = ebm_ref_shape(stage->graph, value);
    if (dtype == tensor->dtype && ebm_shape_equal(&shape, &tensor->shape)) return true;
    char got[128], expected[128];
    ebm_graph_fail(stage->graph, dtype == tensor->dtype ? EBM_SHAPE : EBM_DTYPE,
                   "stage: '%s': got %s %s, expected %s %s", name, ebm_dtype_name(dtype),
                   ebm_shape_text(&shape, got, sizeof got), ebm_dtype_name(tensor->dtype),
                   ebm_shape_text(&tensor->shape, expected, sizeof expected));
    return false;
}

void ebm_stage_write(ebm_stage *stage, const char *name, ebm_ref value)
{
    ebm_tensor *tensor = find(stage, name);
    if (!tensor || value == EBM_POISON || !fits(stage, name, tensor, value)) return;
    struct ebm_stage_write *write = find_write(stage, tensor);
    if (!write) {
        ebm_status status = ebm__grow(&stage->writes, &stage->capacity, stage->n_writes + 1,
                                      sizeof *stage->writes);
        if (status != EBM_OK) {
            ebm_graph_failed(stage->graph, status);
            return;
        }
        write = &stage->writes[stage->n_writes++];
        write->tensor = ebm_tensor_retain(tensor);
    }
    write->value = value;
}

ebm_ref ebm_stage_current(ebm_stage *stage, const char *name)
{
    ebm_tensor *tensor = find(stage, name);
    const struct ebm_stage_write *write = tensor ? find_write(stage, tensor) : NULL;
    return write ? write->value : ebm_stage_read(stage, name);
}
