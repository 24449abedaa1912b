#include "program/program.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "program/internal.h"

/* A step is a feed, or a plan with the arrays that it reads and replaces. */
typedef struct program_step {
    ebm_feed *feed;
    ebm_workspace *workspace;
    void **in, **out;
    ebm_tensor **held; /* retained for as long as the plan points at them */
    int64_t n_held;
} program_step;

struct ebm_program {
    ebm_state *state;
    program_step *step;
    int64_t n, capacity;
    double polled; /* when the poll was last asked, by any run */
};

/* Between two looks at the poll. */
static const double POLL_SECONDS = 0.05;

static void step_fini(program_step *step)
{
    ebm__feed_free(step->feed);
    ebm_workspace_free(step->workspace);
    for (int64_t i = 0; i < step->n_held; i++) ebm_tensor_release(step->held[i]);
    ebm__free(step->held);
    ebm__free(step->in);
    ebm__free(step->out);
}

ebm_status ebm_program_new(ebm_program **out, ebm_state *state)
{
    ebm_program *program = ebm__alloc(1, sizeof *program);
    if (!program) return EBM_NOMEM;
    program->state = state;
    *out = program;
    return EBM_OK;
}

void ebm_program_free(ebm_program *program)
{
    if (!program) return;
    for (int64_t i = 0; i < program->n; i++) step_fini(&program->step[i]);
    ebm__free(program->step);
    ebm__free(program);
}

static ebm_status append(ebm_program *program, const program_step *step)
{
    EBM_TRY(ebm__grow(&program->step, &program->capacity, program->n + 1, sizeof *program->step));
    program->step[program->n++] = *step;
    return EBM_OK;
}

/* ---- stages ------------------------------------------------------------------------------ */

/* The pointers of a run: inputs by the names of the graph, outputs by the writes of the
 * stage. */
static ebm_status point_at_arrays(program_step *step, const ebm_program *program,
                                  const ebm_stage *stage, int32_t *alias)
{
    int32_t n_in = ebm_graph_n_inputs(stage->graph);
    for (int64_t k = 0; k < stage->n_writes; k++) {
        ebm_tensor *tensor = stage->writes[k].tensor;
        step->held[step->n_held++] = ebm_tensor_retain(tensor);
        step->out[k] = tensor->data;
        alias[k] = -1;
    }
    for (int32_t i = 0; i < n_in; i++) {
        if (ebm_graph_input_tensor(stage->graph, i)) continue; /* captured: the plan holds it */
        const char *name = ebm_graph_input_name(stage->graph, i);
        ebm_tensor *tensor = ebm_state_get(program->state, name ? name : "");
        if (!tensor) return EBM_STATE;
        step->held[step->n_held++] = ebm_tensor_retain(tensor);
        step->in[i] = tensor->data;
        for (int64_t k = 0; k < stage->n_writes; k++)
            if (stage->writes[k].tensor == tensor) alias[k] = i;
    }
    return EBM_OK;
}

static ebm_status compile(program_step *step, const ebm_program *program, const ebm_stage *stage,
                          const int32_t *alias, const ebm_ref *outs, bool fuse)
{
    ebm_plan *plan = NULL;
    ebm_plan_options options = {ebm_state_device(program->state), fuse, alias};
    EBM_TRY(ebm_plan_new(&plan, stage->graph, outs, (int32_t)stage->n_writes, &options));
    ebm_status status = ebm_workspace_new(&step->workspace, plan);
    ebm_plan_release(plan);
    return status;
}

ebm_status ebm_program_add_stage(ebm_program *program, ebm_stage *stage, bool fuse)
{
    EBM_TRY(ebm_graph_status(stage->graph));
    int64_t n_in = ebm_graph_n_inputs(stage->graph), n_out = stage->n_writes;
    program_step step = {
        .in = ebm__alloc((size_t)n_in, sizeof *step.in),
        .out = ebm__alloc((size_t)n_out, sizeof *step.out),
        .held = ebm__alloc((size_t)(n_in + n_out), sizeof *step.held),
    };
    ebm_ref *outs = ebm__alloc((size_t)n_out, sizeof *outs);
    int32_t *alias = ebm__alloc((size_t)n_out, sizeof *alias);
    ebm_status status = EBM_NOMEM;
    if (!step.in || !step.out || !step.held || !outs || !alias) goto done;
    for (int64_t k = 0; k < n_out; k++) outs[k] = stage->writes[k].value;
    EBM_TRY_TO(status, point_at_arrays(&step, program, stage, alias), done);
    EBM_TRY_TO(status, compile(&step, program, stage, alias, outs, fuse), done);
    status = append(program, &step);
done:
    ebm__free(outs);
    ebm__free(alias);
    if (status != EBM_OK) step_fini(&step);
    return status;
}

/* ---- feeds ------------------------------------------------------------------------------- */

ebm_status ebm_program_add_feed(ebm_program *program, const ebm_rows *rows, const char *batch,
                                const char *key, const char *step_name)
{
    ebm_tensor *to = ebm_state_get(program->state, batch);
    ebm_tensor *keys = to ? ebm_state_get(program->state, key) : NULL;
    ebm_tensor *number = keys ? ebm_state_get(program->state, step_name) : NULL;
    if (!number) return EBM_STATE;
    program_step step = {0};
    EBM_TRY(ebm__feed_new(&step.feed, rows, to, keys, number));
    ebm_status status = append(program, &step);
    if (status != EBM_OK) step_fini(&step);
    return status;
}

ebm_status ebm_program_set_rows(ebm_program *program, const char *batch, const ebm_rows *rows)
{
    ebm_tensor *to = ebm_state_get(program->state, batch);
    if (!to) return EBM_STATE;
    for (int64_t i = 0; i < program->n; i++) {
        ebm_feed *old = program->step[i].feed, *feed = NULL;
        if (!old || old->batch != to) continue;
        EBM_TRY(ebm__feed_new(&feed, rows, to, old->key, old->step));
        program->step[i].feed = feed;
        ebm__feed_free(old);
        return EBM_OK;
    }
    return ebm_fail(EBM_STATE, "program: nothing feeds '%s'", batch);
}

/* ---- running ----------------------------------------------------------------------------- */

/* One pass.  Plans are not polled: a run cut short would leave arrays half replaced. */
static ebm_status run_once(ebm_program *program)
{
    for (int64_t i = 0; i < program->n; i++) {
        program_step *step = &program->step[i];
        if (step->feed)
            EBM_TRY(ebm__feed_run(step->feed));
        else
            EBM_TRY(ebm_plan_run(step->workspace, step->in, step->out, NULL));
    }
    return EBM_OK;
}

ebm_status ebm_program_run(ebm_program *program, int64_t n, const ebm_poll *poll, int64_t *done)
{
    int64_t looked = *done = 0;
    for (int64_t i = 0; i < program->n; i++)
        if (program->step[i].feed) ebm__feed_begin(program->step[i].feed);
    while (*done < n) {
        EBM_TRY(run_once(program));
        ++*done;
        double t = ebm_clock();
        bool enough = poll && poll->passes > 0 && *done - looked >= poll->passes;
        if (!poll || (!enough && t - program->polled < POLL_SECONDS)) continue;
        program->polled = t;
        looked = *done;
        if (poll->stop(poll->context)) return ebm_fail(EBM_CANCELLED, "program: stopped");
    }
    return EBM_OK;
}
