#include "networks/scope.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "ops/ops.h"

/* The drawing site of initial values. */
enum { PURPOSE_INIT = 0x696e6974 };

const char *ebm_name_join(char text[EBM_NAME_SIZE], const char *prefix, const char *name)
{
    snprintf(text, EBM_NAME_SIZE, "%s.%s", prefix, name);
    return text;
}

/* ---- the list ---------------------------------------------------------------------------- */

void ebm_params_fini(ebm_params *params)
{
    for (int64_t k = 0; k < params->n; k++) ebm__free(params->at[k].name);
    ebm__free(params->at);
    *params = (ebm_params){0};
}

int64_t ebm_params_count(const ebm_params *params)
{
    int64_t count = 0;
    for (int64_t k = 0; k < params->n; k++) count += ebm_shape_size(&params->at[k].shape);
    return count;
}

static int64_t find(const ebm_params *params, const char *name)
{
    for (int64_t k = 0; k < params->n; k++)
        if (strcmp(params->at[k].name, name) == 0) return k;
    return -1;
}

static ebm_status check_shape(const ebm_param *param, const ebm_shape *shape)
{
    if (ebm_shape_equal(&param->shape, shape)) return EBM_OK;
    char got[128], expected[128];
    return ebm_fail(EBM_SHAPE, "parameter '%s': got %s, expected %s", param->name,
                    ebm_shape_text(shape, got, sizeof got),
                    ebm_shape_text(&param->shape, expected, sizeof expected));
}

ebm_status ebm_params_add(ebm_params *params, const char *name, const ebm_shape *shape,
                          ebm_init init)
{
    int64_t k = find(params, name);
    if (k >= 0) return check_shape(&params->at[k], shape);
    if (strlen(name) + 32 > EBM_NAME_SIZE)
        return ebm_fail(EBM_VALUE, "parameter '%s': the name is too long", name);
    EBM_TRY(ebm__grow(&params->at, &params->capacity, params->n + 1, sizeof *params->at));
    char *copy = ebm__strdup(name);
    if (!copy) return EBM_NOMEM;
    params->at[params->n++] = (ebm_param){.name = copy, .shape = *shape, .init = init};
    return EBM_OK;
}

/* What the owner has, in `graph`. */
static ebm_ref lift(const ebm_scope *scope, ebm_graph *graph, ebm_ref ref)
{
    return graph == scope->owner ? ref : ebm_lift(graph, scope->owner, ref);
}

ebm_ref ebm_scope_param(const ebm_scope *scope, ebm_graph *graph, const char *name,
                        const ebm_shape *shape, ebm_init init)
{
    ebm_params *params = scope->params;
    if (!scope->owner) {
        ebm_status status = ebm_params_add(params, name, shape, init);
        if (status != EBM_OK) return ebm_graph_failed(graph, status);
        return ebm_graph_input(graph, name, params->dtype, shape);
    }
    int64_t k = find(params, name);
    if (k < 0) return ebm_graph_fail(graph, EBM_STATE, "parameter '%s': not listed", name);
    ebm_status status = check_shape(&params->at[k], shape);
    if (status != EBM_OK) return ebm_graph_failed(graph, status);
    return lift(scope, graph, scope->refs[k]);
}

ebm_ref ebm_scope_statistic(const ebm_scope *scope, ebm_graph *graph, const char *name,
                            const ebm_shape *shape, ebm_init init)
{
    ebm_ref kept = ebm_scope_param(scope, graph, name, shape, init);
    int64_t k = scope->owner ? -1 : find(scope->params, name);
    if (k >= 0) scope->params->at[k].statistic = true;
    return kept;
}

void ebm_scope_saw(const ebm_scope *scope, const char *name, ebm_ref statistic)
{
    int64_t k = scope->seen ? find(scope->params, name) : -1;
    if (k >= 0) scope->seen[k] = statistic;
}

ebm_ref ebm_scope_key(const ebm_scope *scope, ebm_graph *graph)
{
    if (!scope->owner || scope->key <= EBM_POISON) return EBM_NONE;
    return lift(scope, graph, scope->key);
}

/* ---- as arrays of a state ---------------------------------------------------------------- */

ebm_status ebm_params_declare(const ebm_params *params, ebm_state *state, const char *prefix)
{
    char name[EBM_NAME_SIZE];
    for (int64_t k = 0; k < params->n; k++)
        EBM_TRY(ebm_state_add(state, ebm_name_join(name, prefix, params->at[k].name),
                              params->dtype, &params->at[k].shape));
    return EBM_OK;
}

void ebm_params_read(const ebm_params *params, ebm_stage *stage, const char *prefix, ebm_ref *refs)
{
    char name[EBM_NAME_SIZE];
    for (int64_t k = 0; k < params->n; k++)
        refs[k] = ebm_stage_current(stage, ebm_name_join(name, prefix, params->at[k].name));
}

static void write_initial(const ebm_params *params, ebm_stage *stage, const char *prefix,
                          ebm_ref key)
{
    ebm_graph *g = stage->graph;
    char name[EBM_NAME_SIZE];
    for (int64_t k = 0; k < params->n; k++) {
        const ebm_param *param = &params->at[k];
        ebm_ref value = ebm_full(g, params->dtype, &param->shape, param->init.constant);
        if (param->init.scale != 0.0) {
            ebm_ref draw = ebm_normal(g, ebm_fold_in_constant(g, key, (int32_t)k), PURPOSE_INIT,
                                      params->dtype, &param->shape);
            value = ebm_add(g, value, ebm_scale(g, draw, param->init.scale));
        }
        ebm_stage_write(stage, ebm_name_join(name, prefix, param->name), value);
    }
}

/* Runs the stage once, as a program of its own. */
static ebm_status run_stage(ebm_state *state, ebm_stage *stage)
{
    ebm_program *program = NULL;
    int64_t done;
    EBM_TRY(ebm_program_new(&program, state));
    ebm_status status = ebm_program_add_stage(program, stage, true);
    if (status == EBM_OK) status = ebm_program_run(program, 1, NULL, &done);
    ebm_program_free(program);
    return status;
}

ebm_status ebm_params_draw(const ebm_params *params, ebm_state *state, const char *prefix,
                           const uint32_t key[2])
{
    const ebm_device *device = ebm_state_device(state);
    ebm_tensor *words = NULL;
    ebm_stage stage;
    ebm_shape two = EBM_DIMS(2);
    EBM_TRY(ebm_tensor_new(&words, device, EBM_I32, &two));
    ebm_status status = device->to_device(device, words->data, key, 2 * sizeof key[0]);
    if (status == EBM_OK) status = ebm_stage_init(&stage, state);
    if (status == EBM_OK) {
        write_initial(params, &stage, prefix, ebm_graph_capture(stage.graph, words));
        status = run_stage(state, &stage);
        ebm_stage_fini(&stage);
    }
    ebm_tensor_release(words);
    return status;
}

ebm_status ebm_params_copy(const ebm_params *params, ebm_state *to, const char *to_prefix,
                           const ebm_state *from, const char *from_prefix)
{
    char name[EBM_NAME_SIZE];
    const ebm_device *device = ebm_state_device(from);
    for (int64_t k = 0; k < params->n; k++) {
        const char *leaf = params->at[k].name;
        ebm_tensor *source = ebm_state_get(from, ebm_name_join(name, from_prefix, leaf));
        if (!source) return EBM_STATE;
        int32_t index = ebm_state_find(to, ebm_name_join(name, to_prefix, leaf));
        size_t bytes = ebm_tensor_bytes(source);
        void *host = ebm__alloc(bytes, 1);
        if (!host) return EBM_NOMEM;
        ebm_status status = device->to_host(device, host, source->data, bytes);
        if (status == EBM_OK) status = ebm_state_write(to, index, host, bytes);
        ebm__free(host);
        EBM_TRY(status);
    }
    return EBM_OK;
}
