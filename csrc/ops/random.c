/* random.c - builders of random draws: pure functions of (key, purpose, element). */
#include <string.h>

#include "graph/rules.h"
#include "ops/ops.h"

static ebm_status expect_key(const ebm_candidate *c)
{
    ebm_dtype dtype = ebm_ref_dtype(c->graph, c->in[0]);
    ebm_shape shape = ebm_ref_shape(c->graph, c->in[0]);
    if (dtype == EBM_I32 && shape.rank == 1 && (shape.dim[0] == 2 || shape.dim[0] == 3))
        return EBM_OK;
    char text[128];
    return ebm_fail(EBM_SHAPE, "%s: key: got %s %s, expected i32 (2,)", ebm_op_get(c->op)->name,
                    ebm_dtype_name(dtype), ebm_shape_text(&shape, text, sizeof text));
}

/* The attributes end with rank and dims. */
static ebm_status shape_behind(const ebm_candidate *c, int32_t at, ebm_shape *shape)
{
    EBM_CHECK(c->n_attr > at && c->attr[at] >= 0 && c->attr[at] <= EBM_MAX_RANK &&
              c->n_attr == at + 1 + c->attr[at]);
    *shape = ebm_shape_of((int32_t)c->attr[at], c->attr + at + 1);
    for (int32_t i = 0; i < shape->rank; i++)
        if (shape->dim[i] < 0) {
            char text[128];
            return ebm_fail(EBM_SHAPE, "%s: impossible shape %s", ebm_op_get(c->op)->name,
                            ebm_shape_text(shape, text, sizeof text));
        }
    if (shape->rank == 0 && ebm_ref_shape(c->graph, c->in[0]).dim[0] == 3)
        return ebm_fail(EBM_SHAPE, "%s: a key with a row: got a scalar draw, expected rows",
                        ebm_op_get(c->op)->name);
    return EBM_OK;
}

ebm_status ebm__infer_random(const ebm_candidate *c, ebm_dtype *dtype, ebm_shape *shape)
{
    EBM_TRY(expect_key(c));
    *dtype = EBM_I32;
    *shape = ebm_ref_shape(c->graph, c->in[0]);
    if (c->op == EBM_OP_fold_in) {
        ebm_shape data = ebm_ref_shape(c->graph, c->in[1]);
        if (data.rank == 0 && ebm_ref_dtype(c->graph, c->in[1]) == EBM_I32) return EBM_OK;
        char text[128];
        return ebm_fail(EBM_DTYPE, "fold_in: data: got %s %s, expected an i32 scalar",
                        ebm_dtype_name(ebm_ref_dtype(c->graph, c->in[1])),
                        ebm_shape_text(&data, text, sizeof text));
    }
    if (c->op == EBM_OP_bits) return shape_behind(c, 1, shape);
    EBM_TRY(shape_behind(c, 2, shape));
    if (c->op == EBM_OP_randint) {
        if (c->attr[1] >= 1 && c->attr[1] <= INT32_MAX) return EBM_OK;
        return ebm_fail(EBM_VALUE, "randint: n: got %lld, expected 1 .. 2^31 - 1",
                        (long long)c->attr[1]);
    }
    *dtype = (ebm_dtype)c->attr[0];
    if (ebm_dtype_is_float(*dtype)) return EBM_OK;
    return ebm_fail(EBM_DTYPE, "%s: got %s, expected a float type", ebm_op_get(c->op)->name,
                    ebm_dtype_name(*dtype));
}

ebm_ref ebm_fold_in(ebm_graph *g, ebm_ref key, ebm_ref data)
{
    const ebm_ref in[] = {key, data};
    return ebm__push(g, EBM_OP_fold_in, in, 2, NULL, 0);
}

ebm_ref ebm_fold_in_constant(ebm_graph *g, ebm_ref key, int32_t data)
{
    return ebm_fold_in(g, key, ebm_scalar(g, EBM_I32, data));
}

static ebm_ref draw(ebm_graph *g, ebm_op op, ebm_ref key, const int64_t *head, int32_t n_head,
                    const ebm_shape *shape)
{
    int64_t attr[3 + EBM_MAX_RANK];
    memcpy(attr, head, (size_t)n_head * sizeof *attr);
    attr[n_head] = shape->rank;
    memcpy(attr + n_head + 1, shape->dim, (size_t)shape->rank * sizeof *attr);
    return ebm__push(g, op, &key, 1, attr, n_head + 1 + shape->rank);
}

ebm_ref ebm_random_bits(ebm_graph *g, ebm_ref key, int32_t purpose, const ebm_shape *shape)
{
    const int64_t head[] = {purpose};
    return draw(g, EBM_OP_bits, key, head, 1, shape);
}

ebm_ref ebm_uniform(ebm_graph *g, ebm_ref key, int32_t purpose, ebm_dtype dtype,
                    const ebm_shape *shape)
{
    const int64_t head[] = {dtype, purpose};
    return draw(g, EBM_OP_uniform, key, head, 2, shape);
}

ebm_ref ebm_normal(ebm_graph *g, ebm_ref key, int32_t purpose, ebm_dtype dtype,
                   const ebm_shape *shape)
{
    const int64_t head[] = {dtype, purpose};
    return draw(g, EBM_OP_normal, key, head, 2, shape);
}

ebm_ref ebm_randint(ebm_graph *g, ebm_ref key, int32_t purpose, int64_t n, const ebm_shape *shape)
{
    const int64_t head[] = {purpose, n};
    return draw(g, EBM_OP_randint, key, head, 2, shape);
}
