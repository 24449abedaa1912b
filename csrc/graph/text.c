/* text.c - graphs as text, and back.
 *
 *     ebmgraph 1
 *     %1 = input f32 (4, 2) "x"
 *     %2 = constant f32 () 0x1p-1
 *     %3 = broadcast f32 (4, 2) %2 [2 4 2]
 *     %4 = mul f32 (4, 2) %1 %3
 *     out %4
 *
 * A repeat is followed by its body in braces, all of whose inputs are written; `carry` and `ys` name
 * what leaves a step.  Values are numbered anew, from 1 in each graph, inputs first. */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "graph/rules.h"

/* ---- writing ----------------------------------------------------------------------------------- */

typedef struct writer {
    char *text;
    int64_t used, capacity;
    ebm_status status;
} writer;

static void put(writer *w, const char *format, ...) EBM_PRINTF(2, 3);

static void put(writer *w, const char *format, ...)
{
    char piece[256];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(piece, sizeof piece, format, args);
    va_end(args);
    if (w->status != EBM_OK || n < 0) return;
    if ((size_t)n >= sizeof piece) n = (int)sizeof piece - 1;
    w->status = ebm__grow(&w->text, &w->capacity, w->used + n + 1, 1);
    if (w->status != EBM_OK) return;
    memcpy(w->text + w->used, piece, (size_t)n + 1);
    w->used += n;
}

static void put_quoted(writer *w, const char *name)
{
    put(w, " \"");
    for (; *name; name++) put(w, *name == '"' || *name == '\\' ? "\\%c" : "%c", *name);
    put(w, "\"");
}

static void put_words(writer *w, const int64_t *word, int32_t n)
{
    for (int32_t i = 0; i < n; i++) put(w, "%s%" PRId64, i ? " " : " [", word[i]);
    if (n) put(w, "]");
}

static void put_refs(writer *w, const char *what, const ebm_ref *refs, int32_t n,
                     const int32_t *number, int depth)
{
    put(w, "%*s%s", 2 * depth, "", what);
    for (int32_t k = 0; k < n; k++) put(w, " %%%d", number[refs[k]]);
    put(w, "\n");
}

static void put_graph(writer *w, const ebm_graph *g, const ebm_body *body, const ebm_ref *outs,
                      int32_t n_out, int depth);

static void put_node(writer *w, const ebm_graph *g, ebm_ref r, const int32_t *number, int depth)
{
    ebm_node node = ebm_graph_node(g, r);
    char shape[128];
    put(w, "%*s%%%d = %s %s %s", 2 * depth, "", number[r], ebm_op_get(node.op)->name,
        ebm_dtype_name(node.dtype), ebm_shape_text(&node.shape, shape, sizeof shape));
    for (int32_t i = 0; i < node.n_in; i++) put(w, " %%%d", number[node.in[i]]);
    if (node.op == EBM_OP_input) {
        const char *name = ebm_graph_input_name(g, (int32_t)node.attr[0]);
        if (name) put_quoted(w, name);
    } else if (node.op == EBM_OP_constant) {
        double value;
        memcpy(&value, &node.attr[1], sizeof value);
        put(w, " %a", value);
    } else if (node.op == EBM_OP_repeat) {
        ebm_body body = ebm_repeat_body(g, r);
        put_words(w, node.attr + 1, node.n_attr - 1);
        put(w, " {\n");
        put_graph(w, body.graph, &body, NULL, 0, depth + 1);
        put(w, "%*s}", 2 * depth, "");
    } else {
        put_words(w, node.attr, node.n_attr);
    }
    put(w, "\n");
}

/* A root (body NULL) with its outputs, or a body with what leaves it. */
static void put_graph(writer *w, const ebm_graph *g, const ebm_body *body, const ebm_ref *outs,
                      int32_t n_out, int depth)
{
    int32_t count = ebm_graph_count(g), next = 0;
    bool *needed = ebm__alloc((size_t)count, sizeof *needed);
    int32_t *number = ebm__alloc((size_t)count, sizeof *number);
    if (needed && number) {
        for (int32_t k = 0; k < n_out; k++) needed[outs[k]] = true;
        for (int32_t k = 0; body && k < body->n_carry; k++) needed[body->carry_out[k]] = true;
        for (int32_t k = 0; body && k < body->n_ys; k++) needed[body->ys[k]] = true;
        for (int32_t k = 0; body && k < ebm_graph_n_inputs(g); k++)
            needed[ebm_graph_input_ref(g, k)] = true;
        ebm__mark_needed(g, needed, NULL);
        for (int pass = 0; pass < 2; pass++)
            for (ebm_ref r = 1; r < count; r++) {
                bool is_input = ebm_graph_node(g, r).op == EBM_OP_input;
                if (!needed[r] || is_input != (pass == 0)) continue;
                number[r] = ++next;
                put_node(w, g, r, number, depth);
            }
        if (body) {
            put_refs(w, "carry", body->carry_out, body->n_carry, number, depth);
            put_refs(w, "ys", body->ys, body->n_ys, number, depth);
        } else {
            put_refs(w, "out", outs, n_out, number, depth);
        }
    } else {
        w->status = EBM_NOMEM;
    }
    ebm__free(needed);
    ebm__free(number);
}

ebm_status ebm_graph_print(char **out, const ebm_graph *graph, const ebm_ref *outs, int32_t n_out)
{
    for (int32_t k = 0; k < n_out; k++)
        if (outs[k] <= EBM_POISON || outs[k] >= ebm_graph_count(graph))
            return ebm_fail(EBM_VALUE, "graph: output %d is no value of this graph", k);
    writer w = {.status = EBM_OK};
    put(&w, "ebmgraph 1\n");
    put_graph(&w, graph, NULL, outs, n_out, 0);
    if (w.status != EBM_OK) {
        ebm__free(w.text);
        return w.status;
    }
    *out = w.text;
    return EBM_OK;
}

/* ---- reading ----------------------------------------------------------------------------------- */

enum { MAX_DEPTH = 32, MAX_NAME = 1024 };

typedef struct reader {
    const char *at;
    int line;
    ebm_status status;
} reader;

static bool bad(reader *p, const char *what)
{
    if (p->status == EBM_OK)
        p->status = ebm_fail(EBM_FORMAT, "graph text: line %d: %s", p->line, what);
    return false;
}

static void skip_space(reader *p)
{
    for (; *p->at == ' ' || *p->at == '\n'; p->at++) p->line += *p->at == '\n';
}

static bool accept(reader *p, const char *token)
{
    skip_space(p);
    size_t n = strlen(token);
    if (strncmp(p->at, token, n) != 0) return false;
    p->at += n;
    return true;
}

static bool expect(reader *p, const char *token)
{
    if (p->status == EBM_OK && accept(p, token)) return true;
    char text[64];
    snprintf(text, sizeof text, "expected '%s'", token);
    return bad(p, text);
}

static bool read_int(reader *p, int64_t *value)
{
    skip_space(p);
    char *end;
    errno = 0;
    *value = strtoll(p->at, &end, 10);
    if (end == p->at || errno) return bad(p, "expected an integer");
    p->at = end;
    return true;
}

static bool read_word(reader *p, char *word, size_t size)
{
    skip_space(p);
    size_t n = 0;
    for (; isalnum((unsigned char)*p->at) || *p->at == '_'; p->at++)
        if (n + 1 < size) word[n++] = *p->at;
    word[n] = 0;
    return n > 0 || bad(p, "expected a word");
}

/* Numbers of one graph: number k is ref[k]; dense, from 1. */
typedef struct numbers {
    ebm_ref *ref;
    int64_t n, capacity;
} numbers;

static bool add_number(reader *p, numbers *m, ebm_ref ref)
{
    ebm_status status = ebm__grow(&m->ref, &m->capacity, m->n + 2, sizeof *m->ref);
    if (status != EBM_OK) {
        p->status = status;
        return false;
    }
    m->ref[++m->n] = ref;
    return true;
}

/* A run of %k on this line, in *list, which the caller frees. */
static bool read_refs(reader *p, const numbers *m, ebm_ref **list, int32_t *n)
{
    int64_t capacity = 0, number;
    *list = NULL;
    *n = 0;
    while (p->status == EBM_OK && p->at[0] == ' ' && p->at[1] == '%') {
        p->at += 2;
        if (!read_int(p, &number)) return false;
        if (number < 1 || number > m->n) return bad(p, "a value is used before it is written");
        p->status = ebm__grow(list, &capacity, *n + 1, sizeof **list);
        if (p->status == EBM_OK) (*list)[(*n)++] = m->ref[number];
    }
    return p->status == EBM_OK;
}

static bool read_words(reader *p, int64_t *word, int32_t most, int32_t *n)
{
    *n = 0;
    if (!accept(p, "[")) return true;
    while (!accept(p, "]")) {
        if (*n == most) return bad(p, "too many attributes");
        if (!read_int(p, &word[(*n)++])) return false;
    }
    return true;
}

static bool read_shape(reader *p, ebm_shape *shape)
{
    *shape = EBM_SCALAR;
    if (!expect(p, "(")) return false;
    while (!accept(p, ")")) {
        if (shape->rank == EBM_MAX_RANK) return bad(p, "rank too large");
        if (!read_int(p, &shape->dim[shape->rank++])) return false;
        accept(p, ",");
    }
    return true;
}

static bool read_dtype(reader *p, ebm_dtype *dtype)
{
    char word[16];
    if (!read_word(p, word, sizeof word)) return false;
    for (int d = 0; d < EBM_DTYPE_COUNT; d++)
        if (strcmp(word, ebm_dtype_name((ebm_dtype)d)) == 0) {
            *dtype = (ebm_dtype)d;
            return true;
        }
    return bad(p, "unknown element type");
}

static bool read_name(reader *p, char *name, bool *named)
{
    *named = accept(p, "\"");
    if (!*named) return true;
    size_t n = 0;
    for (; *p->at && *p->at != '"' && n + 1 < MAX_NAME; p->at++) {
        if (*p->at == '\\' && p->at[1]) p->at++;
        name[n++] = *p->at;
    }
    name[n] = 0;
    return expect(p, "\"");
}

static bool read_graph(reader *p, ebm_graph *g, numbers *m, int depth);

/* What stands behind the inputs of a repeat: its words, and the body in braces. */
static bool read_repeat(reader *p, ebm_graph *g, const ebm_ref *in, int32_t n_in, ebm_ref *out,
                        int depth)
{
    int64_t w[5]; /* n, carries, xs, ys, reverse */
    int32_t n_word, n_carry = 0, n_ys = 0;
    if (!read_words(p, w, 5, &n_word)) return false;
    bool fits = n_word == 5 && w[1] >= 0 && w[1] <= n_in && w[2] >= 0 && w[2] <= n_in - w[1];
    if (!fits || w[3] < 0 || w[3] > (int64_t)strlen(p->at)) /* each of ys takes place below */
        return bad(p, "words of repeat do not fit");
    if (depth == MAX_DEPTH) return bad(p, "nested too deeply");
    ebm_ref *inside = ebm__alloc((size_t)(w[1] + w[2]) + 1, sizeof *inside);
    ebm_ref *leave = ebm__alloc((size_t)(w[1] + w[3]) + 1, sizeof *leave), *carry = NULL,
            *ys = NULL;
    numbers m = {.ref = NULL};
    ebm_graph *body = NULL;
    if (!inside || !leave)
        p->status = EBM_NOMEM;
    else
        body = ebm_repeat_open(g, w[0], in, (int32_t)w[1], in + w[1], (int32_t)w[2], &inside[0],
                               inside + 1, inside + 1 + w[1]);
    for (int64_t k = w[1] + w[2]; body && k < n_in; k++) ebm_lift(body, g, in[k]);
    if (body) p->status = ebm_graph_status(g);
    if (body && expect(p, "{") && read_graph(p, body, &m, depth + 1) && expect(p, "carry") &&
        read_refs(p, &m, &carry, &n_carry) && expect(p, "ys") && read_refs(p, &m, &ys, &n_ys) &&
        expect(p, "}")) {
        if (n_carry != w[1] || n_ys != w[3])
            bad(p, "carries or ys are missing");
        else
            ebm_repeat_close(body, carry, ys, n_ys, w[4] != 0, leave, leave + w[1]);
    }
    if (p->status == EBM_OK) p->status = ebm_graph_status(g);
    if (p->status == EBM_OK) *out = ebm_graph_node(g, leave[0]).in[0];
    ebm__free(inside);
    ebm__free(leave);
    ebm__free(carry);
    ebm__free(ys);
    ebm__free(m.ref);
    return p->status == EBM_OK;
}

static bool read_input(reader *p, ebm_graph *g, ebm_dtype dtype, const ebm_shape *shape,
                       int32_t index, ebm_ref *out)
{
    char name[MAX_NAME];
    bool named;
    if (!read_name(p, name, &named)) return false;
    if (!ebm_graph_parent(g)) {
        *out = ebm_graph_input(g, named ? name : NULL, dtype, shape);
        return true;
    }
    *out = ebm_graph_input_ref(g, index);
    if (*out != EBM_POISON) return true;
    p->status = ebm_graph_status(g); /* it may not have got them */
    return bad(p, "the body has fewer inputs");
}

static bool read_constant(reader *p, ebm_graph *g, ebm_dtype dtype, ebm_ref *out)
{
    skip_space(p);
    char *end;
    double value = strtod(p->at, &end);
    if (end == p->at) return bad(p, "expected a number");
    p->at = end;
    ebm_shape scalar = EBM_SCALAR;
    *out = ebm__constant(g, dtype, &scalar, value);
    return true;
}

/* What stands behind `%k = op dtype shape`. */
static bool read_value(reader *p, ebm_graph *g, const numbers *m, ebm_op op, ebm_dtype dtype,
                       const ebm_shape *shape, int32_t *n_input, ebm_ref *out, int depth)
{
    enum { MOST = 4 * EBM_MAX_RANK };
    if (op == EBM_OP_input) return read_input(p, g, dtype, shape, (*n_input)++, out);
    if (op == EBM_OP_constant) return read_constant(p, g, dtype, out);
    ebm_ref *in = NULL;
    int64_t word[MOST];
    int32_t n_in, n_word;
    bool good = read_refs(p, m, &in, &n_in);
    if (good && op == EBM_OP_repeat) {
        good = read_repeat(p, g, in, n_in, out, depth);
    } else if (good) {
        good = read_words(p, word, MOST, &n_word);
        if (good) *out = ebm__push(g, op, in, n_in, word, n_word);
    }
    ebm__free(in);
    return good;
}

static bool read_graph(reader *p, ebm_graph *g, numbers *m, int depth)
{
    int32_t n_input = 0;
    while (accept(p, "%")) {
        int64_t number;
        char word[32];
        ebm_dtype dtype;
        ebm_shape shape;
        ebm_ref ref = EBM_POISON;
        if (!read_int(p, &number) || !expect(p, "=") || !read_word(p, word, sizeof word) ||
            !read_dtype(p, &dtype) || !read_shape(p, &shape))
            return false;
        if (number != m->n + 1) return bad(p, "values are not numbered in order");
        ebm_op op = ebm_op_find(word);
        if (op == EBM_OP_COUNT || op == EBM_OP_poison) return bad(p, "unknown op");
        if (!read_value(p, g, m, op, dtype, &shape, &n_input, &ref, depth)) return false;
        if ((p->status = ebm_graph_status(g)) != EBM_OK) return false;
        ebm_node node = ebm_graph_node(g, ref);
        if (node.dtype != dtype || !ebm_shape_equal(&node.shape, &shape))
            return bad(p, "type or shape is not what the op gives");
        if (!add_number(p, m, ref)) return false;
    }
    return true;
}

ebm_status ebm_graph_parse(ebm_graph **out, ebm_ref **outs, int32_t *n_out, const char *text)
{
    reader p = {.at = text, .line = 1};
    numbers m = {.ref = NULL};
    ebm_graph *g = NULL;
    ebm_ref *refs = NULL;
    p.status = ebm_graph_new(&g);
    if (p.status == EBM_OK && expect(&p, "ebmgraph 1") && read_graph(&p, g, &m, 0) &&
        expect(&p, "out") && read_refs(&p, &m, &refs, n_out)) {
        skip_space(&p);
        if (*p.at) bad(&p, "expected the end");
    }
    ebm__free(m.ref);
    if (p.status != EBM_OK) {
        ebm__free(refs);
        ebm_graph_free(g);
        bool foreign = p.status != EBM_FORMAT && p.status != EBM_NOMEM;
        return foreign ? ebm_fail_frame(EBM_FORMAT, "graph text: line %d: ", p.line) : p.status;
    }
    *out = g;
    *outs = refs;
    return EBM_OK;
}
