/* test_program.c - states, stages, feeds and programs; options. */
#include "runner.h"

#include "base/alloc.h"
#include "base/options.h"
#include "base/threads.h"
#include "ops/ops.h"
#include "program/program.h"

#include <string.h>

static const ebm_shape scalar = {0};

/* ---- options ----------------------------------------------------------------------------- */

/* clang-format off */
#define TOY_OPTIONS(X, S)                                              \
    X(S, INT,    count,  3,   1,            10,      "", "")            \
    X(S, REAL,   step,   0.5, EBM_POSITIVE, DBL_MAX, "", "")            \
    X(S, REAL,   noise,  NAN, 0,            1,       "", "")            \
    X(S, BOOL,   flag,   1,   0,            1,       "", "")            \
    X(S, CHOICE, kind,   1,   0,            0,       "one two three", "") \
    X(S, INTS,   widths, 0,   1,            100,     "4 5", "")
/* clang-format on */
typedef struct toy_options {
    TOY_OPTIONS(EBM_OPTION_FIELD, )
} toy_options;
static const ebm_option toy_rows[] = {TOY_OPTIONS(EBM_OPTION_ROW, toy_options)};
static const ebm_options toy = EBM_OPTIONS_OF("toy", toy_rows, toy_options);

TEST(options_start_as_their_table_says)
{
    toy_options o;
    ebm_options_init(&toy, &o);
    CHECK(o.count == 3 && o.step == 0.5 && isnan(o.noise) && o.flag && o.kind == 1);
    CHECK(o.widths.n == 2 && o.widths.at[0] == 4 && o.widths.at[1] == 5);
    CHECK_OK(ebm_options_check(&toy, &o));
}

TEST(options_are_set_and_checked)
{
    toy_options o;
    ebm_options_init(&toy, &o);
    CHECK_OK(ebm_options_set_number(&toy, &o, "count", 10.0));
    CHECK_OK(ebm_options_set_number(&toy, &o, "noise", 0.0));
    CHECK_OK(ebm_options_set_number(&toy, &o, "noise", NAN));
    CHECK_OK(ebm_options_set_word(&toy, &o, "kind", "three"));
    CHECK_OK(ebm_options_set_ints(&toy, &o, "widths", (const int64_t[]){7}, 1));
    CHECK(o.count == 10 && isnan(o.noise) && o.kind == 2 && o.widths.n == 1 &&
          o.widths.at[0] == 7);
    CHECK_STATUS(ebm_options_set_number(&toy, &o, "count", 11.0), EBM_VALUE);
    CHECK(strcmp(ebm_message(), "toy: count: got 11, expected a whole number from 1 to 10") == 0);
    CHECK_STATUS(ebm_options_set_number(&toy, &o, "count", 2.5), EBM_VALUE);
    CHECK_STATUS(ebm_options_set_number(&toy, &o, "step", 0.0), EBM_VALUE);
    CHECK(strcmp(ebm_message(), "toy: step: got 0, expected a number above 0") == 0);
    CHECK_STATUS(ebm_options_set_number(&toy, &o, "step", NAN), EBM_VALUE);
    CHECK_STATUS(ebm_options_set_number(&toy, &o, "step", INFINITY), EBM_VALUE);
    CHECK_STATUS(ebm_options_set_number(&toy, &o, "kind", 1.0), EBM_VALUE);
    CHECK_STATUS(ebm_options_set_number(&toy, &o, "no", 1.0), EBM_VALUE);
    CHECK_STATUS(ebm_options_set_word(&toy, &o, "kind", "four"), EBM_VALUE);
    CHECK(strcmp(ebm_message(), "toy: kind: got 'four', expected one of: one two three") == 0);
    CHECK_STATUS(ebm_options_set_word(&toy, &o, "kind", "on"), EBM_VALUE);
    CHECK_STATUS(ebm_options_set_ints(&toy, &o, "widths", (const int64_t[]){0}, 1), EBM_VALUE);
}

/* ---- states ------------------------------------------------------------------------------ */

static ebm_state *new_state(void)
{
    ebm_state *state = NULL;
    CHECK_OK(ebm_state_new(&state, ebm_device_cpu()));
    return state;
}

static void write_i32(ebm_state *state, const char *name, int32_t value)
{
    CHECK_OK(ebm_state_write(state, ebm_state_find(state, name), &value, sizeof value));
}

static int32_t read_i32(const ebm_state *state, const char *name)
{
    int32_t value;
    CHECK_OK(ebm_state_read(state, ebm_state_find(state, name), &value, sizeof value));
    return value;
}

TEST(state_adds_finds_and_removes)
{
    ebm_state *state = new_state();
    ebm_shape pair = EBM_DIMS(2);
    CHECK_OK(ebm_state_add(state, "a", EBM_I32, &scalar));
    CHECK_OK(ebm_state_add(state, "b.c", EBM_F32, &pair));
    CHECK_STATUS(ebm_state_add(state, "a", EBM_F64, &pair), EBM_STATE);
    CHECK(ebm_state_count(state) == 2 && ebm_state_find(state, "b.c") == 1);
    CHECK(ebm_state_find(state, "b") == -1 && !ebm_state_get(state, "b"));
    write_i32(state, "a", 7);
    CHECK(read_i32(state, "a") == 7);
    float two[2] = {1, 2};
    CHECK_STATUS(ebm_state_write(state, 1, two, 4), EBM_SHAPE);
    CHECK_STATUS(ebm_state_write(state, 5, two, 4), EBM_INDEX);
    ebm_state_remove(state, "a");
    ebm_state_remove(state, "a");
    CHECK(ebm_state_count(state) == 1 && ebm_state_find(state, "b.c") == 0);
    ebm_state_free(state);
}

/* ---- stages and programs ----------------------------------------------------------------- */

/* step' = step + 1; sum' = sum + step'. */
static void add_counter(ebm_program *program, const ebm_state *state)
{
    ebm_stage stage;
    CHECK_OK(ebm_stage_init(&stage, state));
    ebm_graph *g = stage.graph;
    ebm_ref one = ebm_scalar(g, EBM_I32, 1.0);
    ebm_stage_write(&stage, "step", ebm_add(g, ebm_stage_read(&stage, "step"), one));
    ebm_ref now = ebm_stage_current(&stage, "step");
    ebm_stage_write(&stage, "sum", ebm_add(g, ebm_stage_read(&stage, "sum"), now));
    CHECK_OK(ebm_program_add_stage(program, &stage, true));
    ebm_stage_fini(&stage);
}

TEST(program_runs_its_steps_in_order)
{
    ebm_state *state = new_state();
    ebm_program *program = NULL;
    int64_t done = -1;
    CHECK_OK(ebm_state_add(state, "step", EBM_I32, &scalar));
    CHECK_OK(ebm_state_add(state, "sum", EBM_I32, &scalar));
    CHECK_OK(ebm_program_new(&program, state));
    add_counter(program, state);
    CHECK_OK(ebm_program_run(program, 100, NULL, &done));
    CHECK(done == 100 && read_i32(state, "step") == 100 && read_i32(state, "sum") == 5050);
    CHECK_OK(ebm_program_run(program, 0, NULL, &done));
    CHECK(done == 0 && read_i32(state, "step") == 100);
    ebm_program_free(program);
    ebm_state_free(state);
}

TEST(stage_swaps_two_arrays)
{
    ebm_state *state = new_state();
    ebm_program *program = NULL;
    ebm_stage stage;
    int64_t done;
    CHECK_OK(ebm_state_add(state, "a", EBM_I32, &scalar));
    CHECK_OK(ebm_state_add(state, "b", EBM_I32, &scalar));
    write_i32(state, "a", 1);
    write_i32(state, "b", 2);
    CHECK_OK(ebm_stage_init(&stage, state));
    ebm_stage_write(&stage, "a", ebm_stage_read(&stage, "b"));
    ebm_stage_write(&stage, "b", ebm_stage_read(&stage, "a"));
    CHECK_OK(ebm_program_new(&program, state));
    CHECK_OK(ebm_program_add_stage(program, &stage, true));
    ebm_stage_fini(&stage);
    CHECK_OK(ebm_program_run(program, 3, NULL, &done));
    CHECK(read_i32(state, "a") == 2 && read_i32(state, "b") == 1);
    ebm_program_free(program);
    ebm_state_free(state);
}

TEST(stage_refuses_what_does_not_fit)
{
    ebm_state *state = new_state();
    ebm_program *program = NULL;
    ebm_stage stage;
    CHECK_OK(ebm_state_add(state, "a", EBM_F32, &scalar));
    CHECK_OK(ebm_program_new(&program, state));
    CHECK_OK(ebm_stage_init(&stage, state));
    CHECK(ebm_stage_read(&stage, "no") == EBM_POISON);
    CHECK_STATUS(ebm_program_add_stage(program, &stage, true), EBM_STATE);
    ebm_stage_fini(&stage);
    CHECK_OK(ebm_stage_init(&stage, state));
    ebm_stage_write(&stage, "a", ebm_scalar(stage.graph, EBM_F64, 1.0));
    CHECK_STATUS(ebm_program_add_stage(program, &stage, true), EBM_DTYPE);
    ebm_stage_fini(&stage);
    CHECK_OK(ebm_stage_init(&stage, state));
    ebm_shape pair = EBM_DIMS(2);
    ebm_stage_write(&stage, "a", ebm_full(stage.graph, EBM_F32, &pair, 1.0));
    CHECK_STATUS(ebm_program_add_stage(program, &stage, true), EBM_SHAPE);
    CHECK(strcmp(ebm_message(), "stage: 'a': got f32 (2,), expected f32 ()") == 0);
    ebm_stage_fini(&stage);
    ebm_program_free(program);
    ebm_state_free(state);
}

static bool stop_at_once(void *context)
{
    ++*(int *)context;
    return true;
}

TEST(program_stops_between_steps)
{
    ebm_state *state = new_state();
    ebm_program *program = NULL;
    int asked = 0;
    int64_t done = 0;
    ebm_poll poll = {.stop = stop_at_once, .context = &asked};
    CHECK_OK(ebm_state_add(state, "step", EBM_I32, &scalar));
    CHECK_OK(ebm_state_add(state, "sum", EBM_I32, &scalar));
    CHECK_OK(ebm_program_new(&program, state));
    add_counter(program, state);
    CHECK_STATUS(ebm_program_run(program, INT64_C(1) << 40, &poll, &done), EBM_CANCELLED);
    CHECK(asked == 1 && done >= 1 && read_i32(state, "step") == done);
    CHECK(read_i32(state, "sum") == (int32_t)(uint32_t)(done * (done + 1) / 2));
    ebm_program_free(program);
    ebm_state_free(state);
}

/* ---- feeds ------------------------------------------------------------------------------- */

enum { ROWS = 23, WIDTH = 3, BATCH = 5 };

static ebm_program *feeding(ebm_state *state, const ebm_rows *rows, int64_t batch, ebm_dtype dtype)
{
    ebm_program *program = NULL;
    ebm_shape pair = EBM_DIMS(2), x = EBM_DIMS(batch, WIDTH);
    CHECK_OK(ebm_state_add(state, "key", EBM_I32, &pair));
    CHECK_OK(ebm_state_add(state, "step", EBM_I32, &scalar));
    CHECK_OK(ebm_state_add(state, "x", dtype, &x));
    CHECK_OK(ebm_program_new(&program, state));
    CHECK_OK(ebm_program_add_feed(program, rows, "x", "key", "step"));
    return program;
}

/* The numbers of the rows that step `step` gets: row r of the data begins with r. */
static void fed(ebm_program *program, ebm_state *state, int32_t step, int32_t *rows)
{
    float x[BATCH][WIDTH];
    int64_t done;
    write_i32(state, "step", step);
    CHECK_OK(ebm_program_run(program, 1, NULL, &done));
    CHECK_OK(ebm_state_read(state, ebm_state_find(state, "x"), x, sizeof x));
    for (int b = 0; b < BATCH; b++) {
        rows[b] = (int32_t)x[b][0];
        for (int k = 0; k < WIDTH; k++) CHECK(x[b][k] == (float)(rows[b] + 100 * k));
    }
}

static void fill_rows(float *data)
{
    for (int r = 0; r < ROWS; r++)
        for (int k = 0; k < WIDTH; k++) data[r * WIDTH + k] = (float)(r + 100 * k);
}

TEST(feed_covers_the_data_once_an_epoch)
{
    enum { EPOCHS = 5 };
    float data[ROWS * WIDTH];
    int32_t seen[ROWS * EPOCHS + BATCH], differ = 0;
    fill_rows(data);
    ebm_state *state = new_state();
    ebm_rows rows = {data, ROWS, WIDTH, WIDTH * sizeof(float), EBM_F32, 1.0, 0.0};
    ebm_program *program = feeding(state, &rows, BATCH, EBM_F32);
    for (int32_t step = 0; step * BATCH < ROWS * EPOCHS; step++)
        fed(program, state, step, seen + step * BATCH);
    for (int epoch = 0; epoch < EPOCHS; epoch++) {
        int count[ROWS] = {0};
        for (int i = 0; i < ROWS; i++) count[seen[epoch * ROWS + i]]++;
        for (int r = 0; r < ROWS; r++) CHECK(count[r] == 1);
        for (int i = 0; i < ROWS; i++) differ += seen[i] != seen[epoch * ROWS + i];
    }
    CHECK(differ > 0);
    int32_t again[BATCH];
    fed(program, state, 4, again); /* straddles two epochs, and is asked for out of order */
    CHECK(memcmp(again, seen + 4 * BATCH, sizeof again) == 0);
    ebm_program_free(program);
    ebm_state_free(state);
}

TEST(feed_shuffles_evenly)
{
    /* Where row 0 lands in 2,300 epochs: chi squared of 22 degrees of freedom; above 56.7 with
     * probability 0.00006 for fair shuffles. */
    enum { EPOCHS = 2300 };
    float data[ROWS * WIDTH];
    int32_t row[BATCH], count[ROWS] = {0};
    double chi = 0.0, expected = (double)EPOCHS / ROWS;
    fill_rows(data);
    ebm_state *state = new_state();
    ebm_rows rows = {data, ROWS, WIDTH, WIDTH * sizeof(float), EBM_F32, 1.0, 0.0};
    ebm_program *program = feeding(state, &rows, BATCH, EBM_F32);
    for (int32_t step = 0; step * BATCH < ROWS * EPOCHS; step++) {
        fed(program, state, step, row);
        for (int b = 0; b < BATCH; b++)
            if (row[b] == 0) count[(step * BATCH + b) % ROWS]++;
    }
    for (int r = 0; r < ROWS; r++)
        chi += (count[r] - expected) * (count[r] - expected) / expected;
    CHECK(chi < 56.7);
    ebm_program_free(program);
    ebm_state_free(state);
}

TEST(feed_casts_and_strides)
{
    uint8_t data[4][WIDTH + 2] = {{0, 51, 255}, {1, 1, 1}, {2, 2, 2}, {3, 3, 3}};
    double x[4][WIDTH];
    int64_t done;
    ebm_state *state = new_state();
    ebm_rows rows = {data, 4, WIDTH, WIDTH + 2, EBM_U8, 2.0 / 255.0, -1.0};
    ebm_program *program = feeding(state, &rows, 4, EBM_F64);
    CHECK_OK(ebm_program_run(program, 1, NULL, &done));
    CHECK_OK(ebm_state_read(state, ebm_state_find(state, "x"), x, sizeof x));
    int found = 0;
    for (int b = 0; b < 4; b++)
        if (x[b][2] == 1.0) {
            CHECK_CLOSE(x[b][0], -1.0, 0);
            CHECK_CLOSE(x[b][1], -0.6, 1e-15);
            found++;
        }
    CHECK(found == 1);
    float other[5 * WIDTH] = {0};
    ebm_rows fewer = {other, 3, WIDTH, WIDTH * sizeof(float), EBM_F32, 1.0, 0.0}, more = fewer;
    more.n = 5;
    CHECK_STATUS(ebm_program_set_rows(program, "x", &fewer), EBM_VALUE);
    CHECK_OK(ebm_program_set_rows(program, "x", &more));
    CHECK_OK(ebm_program_run(program, 1, NULL, &done));
    CHECK_OK(ebm_state_read(state, ebm_state_find(state, "x"), x, sizeof x));
    CHECK(x[0][0] == 0.0 && x[3][2] == 0.0);
    CHECK_STATUS(ebm_program_set_rows(program, "key", &more), EBM_STATE);
    ebm_program_free(program);
    ebm_state_free(state);
}

TEST(feed_refuses_bad_rows)
{
    float data[ROWS * WIDTH];
    fill_rows(data);
    ebm_state *state = new_state();
    ebm_rows rows = {data, ROWS, WIDTH, WIDTH * sizeof(float), EBM_F32, 1.0, 0.0};
    ebm_program *program = feeding(state, &rows, BATCH, EBM_F32);
    ebm_rows narrow = rows, integers = rows, few = rows;
    narrow.row = WIDTH - 1;
    integers.dtype = EBM_I32;
    few.n = BATCH - 1;
    CHECK_STATUS(ebm_program_add_feed(program, &narrow, "x", "key", "step"), EBM_SHAPE);
    CHECK_STATUS(ebm_program_add_feed(program, &integers, "x", "key", "step"), EBM_DTYPE);
    CHECK_STATUS(ebm_program_add_feed(program, &few, "x", "key", "step"), EBM_VALUE);
    CHECK_STATUS(ebm_program_add_feed(program, &rows, "no", "key", "step"), EBM_STATE);
    CHECK_STATUS(ebm_program_add_feed(program, &rows, "x", "step", "key"), EBM_DTYPE);
    ebm_program_free(program);
    ebm_state_free(state);
}

/* Every allocation on the way may fail: NOMEM, and nothing leaks. */
TEST(program_without_memory)
{
    ebm_status status = EBM_NOMEM;
    ebm_device_cpu();
    for (int64_t n = 0; status != EBM_OK; n++) {
        ebm_state *state = NULL;
        ebm_program *program = NULL;
        ebm_stage stage = {0};
        int64_t done;
        CHECK(n < 1000);
        ebm__alloc_fail_after(n);
        status = ebm_state_new(&state, ebm_device_cpu());
        if (status == EBM_OK) status = ebm_state_add(state, "a", EBM_F32, &scalar);
        if (status == EBM_OK) status = ebm_program_new(&program, state);
        if (status == EBM_OK) status = ebm_stage_init(&stage, state);
        if (status == EBM_OK) {
            ebm_stage_write(&stage, "a",
                            ebm_shift(stage.graph, ebm_stage_read(&stage, "a"), 1.0));
            status = ebm_program_add_stage(program, &stage, true);
        }
        if (status == EBM_OK) status = ebm_program_run(program, 1, NULL, &done);
        ebm__alloc_fail_after(-1);
        CHECK(status == EBM_OK || status == EBM_NOMEM);
        if (stage.graph) ebm_stage_fini(&stage);
        ebm_program_free(program);
        ebm_state_free(state);
    }
}
