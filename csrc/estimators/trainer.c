#include "estimators/trainer.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"

/* Rows of metrics that are kept on the device, and steps between two glances at them: what a glance
 * that failed did not keep is there at the next. */
enum { HISTORY_CHUNK = 256, GLANCE_STEPS = HISTORY_CHUNK / 2 };

/* What the device was asked for between two steps. */
typedef struct glance {
    int32_t step, bad; /* "step", "guard.step" */
    void *history;     /* "metrics.history" */
} glance;

struct ebm_trainer {
    ebm_trainer_spec spec; /* its pointers are the trainer's own copies */
    ebm_parts *parts;
    ebm_sampler *sampler;
    void *estimator_options, *entropy_options;
    ebm_state *state;
    ebm_program *program; /* NULL before the first feed */
    int64_t batch;        /* rows a step */
    const char *metric[EBM_TRAINING_MAX], *term[EBM_TRAINING_MAX];
    int32_t n_metrics, n_terms;
    char (*updated)[EBM_NAME_SIZE]; /* the parameters of all groups, as messages call them */
    int64_t n_updated, updated_capacity;
    double *rows; /* (n_rows, n_metrics) of the steps up to `drained` */
    int64_t n_rows, capacity, drained;
    glance glance[2];  /* by turns: while one is under way the other is read */
    int64_t n_glances; /* that nobody has waited for */
    bool running;
    double polled; /* when the caller's poll was last asked, by any run */
};

static const ebm_option training_rows[] = {
    EBM_TRAINING_OPTIONS(EBM_OPTION_ROW, ebm_training_options)};
const ebm_options ebm_training_table = EBM_OPTIONS_OF("training", training_rows,
                                                      ebm_training_options);

/* ---- small arrays of the state ----------------------------------------------------------- */

static ebm_status read_word(const ebm_trainer *trainer, const char *name, int32_t *out)
{
    return ebm_state_read(trainer->state, ebm_state_find(trainer->state, name), out, sizeof *out);
}

static ebm_status write_array(ebm_trainer *trainer, const char *name, const void *host,
                              size_t bytes)
{
    return ebm_state_write(trainer->state, ebm_state_find(trainer->state, name), host, bytes);
}

/* Nobody waits for the device while it runs. */
int64_t ebm_trainer_steps(const ebm_trainer *trainer)
{
    int32_t step = 0;
    if (trainer->running) return trainer->drained;
    return read_word(trainer, "step", &step) == EBM_OK ? step : 0;
}

static ebm_status write_real(ebm_trainer *trainer, const char *name, double value)
{
    float narrow = (float)value;
    if (trainer->spec.dtype == EBM_F64) return write_array(trainer, name, &value, sizeof value);
    return write_array(trainer, name, &narrow, sizeof narrow);
}

/* NULL with VALUE's message. */
static const ebm_part *find_part(const ebm_trainer *trainer, const char *name)
{
    for (int32_t k = 0; k < trainer->parts->n; k++)
        if (strcmp(trainer->parts->part[k].name, name) == 0) return &trainer->parts->part[k];
    ebm_fail(EBM_VALUE, "%s: part: got '%s', which it has not",
             trainer->spec.estimator->options.owner, name);
    return NULL;
}

ebm_status ebm_trainer_set_rate(ebm_trainer *trainer, const char *name, double rate)
{
    const ebm_part *part = find_part(trainer, name);
    return part ? write_real(trainer, part->rate_name, rate) : EBM_VALUE;
}

/* ---- life -------------------------------------------------------------------------------- */

static ebm_status check(const ebm_trainer_spec *spec)
{
    const char *name = spec->estimator->options.owner;
    EBM_TRY(ebm_options_check(&ebm_training_table, &spec->training));
    if (spec->estimator_options)
        EBM_TRY(ebm_options_check(&spec->estimator->options, spec->estimator_options));
    if (spec->entropy.kind && spec->entropy.options)
        EBM_TRY(ebm_options_check(&spec->entropy.kind->options, spec->entropy.options));
    if (spec->estimator->samples && !spec->sampler)
        return ebm_fail(EBM_VALUE, "%s: sampler: got none, expected one", name);
    if (!ebm_dtype_is_float(spec->dtype))
        return ebm_fail(EBM_DTYPE, "%s: dtype: got %s, expected f32 or f64", name,
                        ebm_dtype_name(spec->dtype));
    return EBM_OK;
}

static ebm_status copy_spec(ebm_trainer *trainer, const ebm_trainer_spec *spec)
{
    trainer->spec = *spec;
    const ebm_entropy *entropy = &spec->entropy;
    if (spec->sampler)
        EBM_TRY(ebm_sampler_new(&trainer->sampler, ebm_sampler_get_kind(spec->sampler),
                                ebm_sampler_options(spec->sampler)));
    EBM_TRY(ebm_options_copy(&trainer->estimator_options, &spec->estimator->options,
                             spec->estimator_options));
    if (entropy->kind)
        EBM_TRY(ebm_options_copy(&trainer->entropy_options, &entropy->kind->options,
                                 entropy->options));
    trainer->spec.entropy.options = trainer->entropy_options;
    return ebm_parts_new(&trainer->parts, &trainer->spec);
}

/* The arrays of a part at the start: parameter k is drawn from fold_in(key of the part, k). */
static ebm_status make_part(ebm_trainer *trainer, const ebm_part *part)
{
    const ebm_params *params = &part->params;
    ebm_state *state = trainer->state;
    ebm_shape scalar = EBM_SCALAR;
    char average[EBM_NAME_SIZE];
    int32_t index = (int32_t)(part - trainer->parts->part);
    uint32_t key[2] = {trainer->spec.key[0] + (uint32_t)index, trainer->spec.key[1]};
    EBM_TRY(ebm_state_add(state, part->rate_name, trainer->spec.dtype, &scalar));
    EBM_TRY(write_real(trainer, part->rate_name, part->update.options.learning_rate));
    EBM_TRY(ebm_params_declare(params, state, part->prefix));
    EBM_TRY(ebm_params_draw(params, state, part->prefix, key));
    if (part->update.options.ema == 0.0) return EBM_OK;
    ebm_name_join(average, "ema", part->prefix);
    EBM_TRY(ebm_params_declare(params, state, average));
    return ebm_params_copy(params, state, average, state, part->prefix);
}

/* The arrays that every estimator has. */
static ebm_status make_state(ebm_trainer *trainer)
{
    const ebm_trainer_spec *spec = &trainer->spec;
    ebm_shape scalar = EBM_SCALAR, two = EBM_DIMS(2);
    EBM_TRY(ebm_state_new(&trainer->state, spec->device));
    EBM_TRY(ebm_state_add(trainer->state, "key", EBM_I32, &two));
    EBM_TRY(ebm_state_add(trainer->state, "step", EBM_I32, &scalar));
    EBM_TRY(ebm_state_add(trainer->state, "backoff", spec->dtype, &scalar));
    EBM_TRY(ebm_state_add(trainer->state, "guard.step", EBM_I32, &scalar));
    EBM_TRY(ebm_state_add(trainer->state, "guard.term", EBM_I32, &scalar));
    EBM_TRY(ebm_state_add(trainer->state, "guard.param", EBM_I32, &scalar));
    EBM_TRY(write_array(trainer, "key", spec->key, sizeof spec->key));
    EBM_TRY(write_real(trainer, "backoff", 1.0));
    for (int32_t k = 0; k < trainer->parts->n; k++)
        EBM_TRY(make_part(trainer, &trainer->parts->part[k]));
    return EBM_OK;
}

ebm_status ebm_trainer_new(ebm_trainer **out, const ebm_trainer_spec *spec)
{
    EBM_TRY(check(spec));
    ebm_trainer *trainer = ebm__alloc(1, sizeof *trainer);
    if (!trainer) return EBM_NOMEM;
    ebm_status status;
    EBM_TRY_TO(status, copy_spec(trainer, spec), failed);
    EBM_TRY_TO(status, make_state(trainer), failed);
    *out = trainer;
    return EBM_OK;
failed:
    ebm_trainer_free(trainer);
    return status;
}

void ebm_trainer_free(ebm_trainer *trainer)
{
    if (!trainer) return;
    ebm_program_free(trainer->program);
    ebm_state_free(trainer->state);
    ebm_parts_free(trainer->parts);
    ebm_sampler_free(trainer->sampler);
    ebm__free(trainer->estimator_options);
    ebm__free(trainer->entropy_options);
    ebm__free(trainer->updated);
    ebm__free(trainer->rows);
    for (int k = 0; k < 2; k++) ebm__free(trainer->glance[k].history);
    ebm__free(trainer);
}

ebm_state *ebm_trainer_state(ebm_trainer *trainer)
{
    return trainer->state;
}

const ebm_parts *ebm_trainer_parts(const ebm_trainer *trainer)
{
    return trainer->parts;
}

ebm_status ebm_trainer_prefix(const ebm_trainer *trainer, const char *name,
                              char text[EBM_NAME_SIZE])
{
    const ebm_part *part = find_part(trainer, name);
    if (!part) return EBM_VALUE;
    bool averaged = part->update.options.ema > 0.0;
    snprintf(text, EBM_NAME_SIZE, "%s%.100s", averaged ? "ema." : "", part->prefix);
    return EBM_OK;
}

/* ---- the program ------------------------------------------------------------------------- */

/* How messages call the trained parameters: "l0.w" of the energy, "generator.l0.w" of others. */
static ebm_status name_updated(ebm_trainer *trainer, const ebm_training *t)
{
    trainer->n_updated = 0;
    for (int32_t k = 0; k < t->n_groups; k++) {
        const ebm_part *part = &t->part[t->group[k].part];
        bool plain = t->group[k].part == EBM_PART_ENERGY;
        EBM_TRY(ebm__grow(&trainer->updated, &trainer->updated_capacity,
                          trainer->n_updated + part->params.n, sizeof *trainer->updated));
        for (int64_t i = 0; i < part->params.n; i++)
            if (!part->params.at[i].statistic)
                snprintf(trainer->updated[trainer->n_updated++], EBM_NAME_SIZE, "%s%s%s",
                         plain ? "" : part->name, plain ? "" : ".", part->params.at[i].name);
    }
    return EBM_OK;
}

/* Writes the step for batches of `trainer->batch` rows and adds it to the program. */
static ebm_status add_step(ebm_trainer *trainer, ebm_program *program)
{
    ebm_training t = {
        .state = trainer->state,
        .options = &trainer->spec.training,
        .sampler = trainer->sampler,
        .entropy = trainer->spec.entropy.kind ? &trainer->spec.entropy : NULL,
        .part = trainer->parts->part,
        .n_parts = trainer->parts->n,
    };
    ebm_status status;
    EBM_TRY_TO(status, ebm_training_open(&t), done);
    trainer->spec.estimator->build(trainer->estimator_options, &t);
    EBM_TRY_TO(status, ebm_training_close(&t, HISTORY_CHUNK), done);
    trainer->n_metrics = t.n_metrics;
    trainer->n_terms = t.n_checks;
    for (int32_t k = 0; k < t.n_metrics; k++) trainer->metric[k] = t.metric[k].name;
    for (int32_t k = 0; k < t.n_checks; k++) trainer->term[k] = t.check[k].name;
    EBM_TRY_TO(status, name_updated(trainer, &t), done);
    status = ebm_program_add_stage(program, &t.stage, true);
done:
    ebm_training_fini(&t);
    return status;
}

static ebm_status make_glances(ebm_trainer *trainer)
{
    const ebm_tensor *history = ebm_state_get(trainer->state, "metrics.history");
    for (int k = 0; k < 2; k++) {
        ebm__free(trainer->glance[k].history);
        trainer->glance[k].history = ebm__alloc(ebm_tensor_bytes(history), 1);
        if (!trainer->glance[k].history) return EBM_NOMEM;
    }
    return EBM_OK;
}

static ebm_status build(ebm_trainer *trainer, const ebm_rows *rows)
{
    ebm_shape batch;
    EBM_TRY(ebm_rows_shape(&batch, trainer->batch, &trainer->spec.row));
    ebm_state_remove(trainer->state, "batch.x");
    EBM_TRY(ebm_state_add(trainer->state, "batch.x", trainer->spec.dtype, &batch));
    ebm_program *program = NULL;
    EBM_TRY(ebm_program_new(&program, trainer->state));
    ebm_status status = ebm_program_add_feed(program, rows, "batch.x", "key", "step");
    if (status == EBM_OK) status = add_step(trainer, program);
    if (status == EBM_OK) status = make_glances(trainer);
    if (status == EBM_OK)
        trainer->program = program;
    else
        ebm_program_free(program);
    return status;
}

ebm_status ebm_trainer_feed(ebm_trainer *trainer, const ebm_rows *rows)
{
    const char *name = trainer->spec.estimator->options.owner;
    if (rows->n < 1) return ebm_fail(EBM_VALUE, "%s: data: got no rows, expected some", name);
    int64_t wanted = trainer->spec.training.batch_size;
    int64_t batch = rows->n < wanted ? rows->n : wanted;
    if (trainer->program && batch == trainer->batch)
        return ebm_program_set_rows(trainer->program, "batch.x", rows);
    ebm_program_free(trainer->program);
    trainer->program = NULL;
    trainer->batch = batch;
    trainer->drained = ebm_trainer_steps(trainer);
    return build(trainer, rows);
}

/* ---- metrics ----------------------------------------------------------------------------- */

int32_t ebm_trainer_n_metrics(const ebm_trainer *trainer)
{
    return trainer->n_metrics;
}

const char *ebm_trainer_metric(const ebm_trainer *trainer, int32_t index)
{
    return trainer->metric[index];
}

int64_t ebm_trainer_n_rows(const ebm_trainer *trainer)
{
    return trainer->n_rows;
}

const double *ebm_trainer_rows(const ebm_trainer *trainer)
{
    return trainer->rows;
}

/* Appends the rows of the steps since the last time; there are at most HISTORY_CHUNK. */
static ebm_status append_rows(ebm_trainer *trainer, const glance *seen)
{
    int64_t width = trainer->n_metrics, rows = trainer->n_rows + seen->step - trainer->drained;
    EBM_TRY(ebm__grow(&trainer->rows, &trainer->capacity, rows * width, sizeof *trainer->rows));
    bool wide = trainer->spec.dtype == EBM_F64;
    for (; trainer->drained < seen->step; trainer->drained++) {
        double *to = trainer->rows + trainer->n_rows++ * width;
        int64_t from = trainer->drained % HISTORY_CHUNK * width;
        for (int64_t k = 0; k < width; k++)
            to[k] = wide ? ((double *)seen->history)[from + k]
                         : (double)((float *)seen->history)[from + k];
    }
    return EBM_OK;
}

/* ---- the guard --------------------------------------------------------------------------- */

/* NUMERIC if a step was bad. */
static ebm_status check_guard(const ebm_trainer *trainer, int32_t step)
{
    int32_t term = 0, param = 0;
    if (step == 0) return EBM_OK;
    EBM_TRY(read_word(trainer, "guard.term", &term));
    EBM_TRY(read_word(trainer, "guard.param", &param));
    const char *name = trainer->spec.estimator->options.owner;
    const char *what = term >= 1 && term <= trainer->n_terms ? trainer->term[term - 1] : "value";
    const char *link = strcmp(what, "gradient") == 0    ? " of "
                       : strcmp(what, "parameter") == 0 ? " "
                                                        : NULL;
    bool named = link && param >= 1 && param <= trainer->n_updated;
    return ebm_fail(
        EBM_NUMERIC,
        "%s: step %d: got a %s%s%s that is not finite or too large; the arrays are "
        "those of step %d (try a lower learning_rate, a smaller step_size, or more l2)",
        name, (int)step, what, named ? link : "", named ? trainer->updated[param - 1] : "",
        (int)step - 1);
}

/* ---- glances ----------------------------------------------------------------------------- */

static ebm_status fetch(const ebm_trainer *trainer, const char *name, void *host)
{
    const ebm_tensor *tensor = ebm_state_get(trainer->state, name);
    const ebm_device *device = trainer->spec.device;
    return device->fetch(device, host, tensor->data, ebm_tensor_bytes(tensor));
}

/* Asks for a glance, and takes in the one that was asked for before it: a device has more to do
 * meanwhile.  `wait`, and on the CPU: takes in the new one. */
static ebm_status look(ebm_trainer *trainer, bool wait)
{
    const ebm_device *device = trainer->spec.device;
    glance *new = &trainer->glance[trainer->n_glances % 2];
    EBM_TRY(fetch(trainer, "step", &new->step));
    EBM_TRY(fetch(trainer, "guard.step", &new->bad));
    EBM_TRY(fetch(trainer, "metrics.history", new->history));
    wait |= device->host_memory;
    EBM_TRY(wait ? device->sync(device) : device->arrive(device));
    if (!wait && trainer->n_glances++ == 0) return EBM_OK;
    const glance *seen = wait ? new : &trainer->glance[trainer->n_glances % 2];
    EBM_TRY(append_rows(trainer, seen));
    return check_guard(trainer, seen->bad);
}

/* Rows of metrics up to the step that the state is at. */
static void drop_undone_rows(ebm_trainer *trainer)
{
    int64_t steps = ebm_trainer_steps(trainer), undone = trainer->drained - steps;
    if (undone <= 0) return;
    trainer->n_rows = undone < trainer->n_rows ? trainer->n_rows - undone : 0;
    trainer->drained = steps;
}

ebm_status ebm_trainer_clear(ebm_trainer *trainer, const uint32_t *key)
{
    int32_t zero = 0;
    drop_undone_rows(trainer);
    EBM_TRY(write_array(trainer, "guard.step", &zero, sizeof zero));
    EBM_TRY(write_array(trainer, "guard.term", &zero, sizeof zero));
    EBM_TRY(write_array(trainer, "guard.param", &zero, sizeof zero));
    return key ? write_array(trainer, "key", key, 2 * sizeof *key) : EBM_OK;
}

/* ---- the loop ---------------------------------------------------------------------------- */

typedef struct watch {
    ebm_trainer *trainer;
    const ebm_poll *poll;
    ebm_status status; /* why it stopped, if not by the poll */
} watch;

/* Between two looks at the caller's poll. */
static const double POLL_SECONDS = 0.05;

static bool stop(void *context)
{
    watch *w = context;
    double t = ebm_clock();
    w->status = look(w->trainer, false);
    if (w->status != EBM_OK) return true;
    if (!w->poll || t - w->trainer->polled < POLL_SECONDS) return false;
    w->trainer->polled = t;
    return w->poll->stop(w->poll->context);
}

static ebm_status look_at_end(ebm_trainer *trainer)
{
    trainer->n_glances = 0;
    return look(trainer, true);
}

static ebm_status run(ebm_trainer *trainer, int64_t n, watch *w)
{
    const ebm_poll own = {.stop = stop, .context = w, .passes = GLANCE_STEPS};
    int64_t done;
    EBM_TRY(look_at_end(trainer)); /* what a run that ran out of memory could not keep */
    ebm_status status = n > 0 ? ebm_program_run(trainer->program, n, &own, &done) : EBM_OK;
    EBM_TRY(look_at_end(trainer));
    EBM_TRY(w->status);
    return status;
}

ebm_status ebm_trainer_run(ebm_trainer *trainer, int64_t n, const ebm_poll *poll)
{
    if (!trainer->program)
        return ebm_fail(EBM_STATE, "%s: run before there is data",
                        trainer->spec.estimator->options.owner);
    watch w = {.trainer = trainer, .poll = poll};
    trainer->running = true;
    ebm_status status = run(trainer, n, &w);
    trainer->running = false;
    return status;
}
