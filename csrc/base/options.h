/* options.h - named settings with ranges: one list gives a struct and its table.
 *
 *     #define EBM_SGD_OPTIONS(X, S)                                                       \
 *         X(S, REAL, momentum, 0.9, 0.0, 1.0, "", "share of the last update kept")
 *     typedef struct ebm_sgd_options {
 *         EBM_SGD_OPTIONS(EBM_OPTION_FIELD, )
 *     } ebm_sgd_options;
 *
 * A row is X(S, KIND, name, initial, low, high, text, doc), both bounds belonging to the range.
 * INT is an int64_t, BOOL a bool, REAL a double (initial NAN: the option may be absent, and is
 * NAN then), CHOICE an index into the words of `text`, INTS an ebm_ints that starts as the
 * numbers in `text` (low, high hold for each; there may be none). */
#ifndef EBM_BASE_OPTIONS_H
#define EBM_BASE_OPTIONS_H

#include <float.h>
#include <math.h>

#include "base/status.h"

enum { EBM_INTS_MAX = 16 };
typedef struct ebm_ints {
    int64_t n;
    int64_t at[EBM_INTS_MAX];
} ebm_ints;

/* A low bound that leaves out zero. */
#define EBM_POSITIVE DBL_MIN

typedef enum ebm_option_kind {
    EBM_OPTION_INT,
    EBM_OPTION_REAL,
    EBM_OPTION_BOOL,
    EBM_OPTION_CHOICE,
    EBM_OPTION_INTS
} ebm_option_kind;

typedef struct ebm_option {
    const char *name;
    ebm_option_kind kind;
    size_t offset;
    double initial, low, high;
    const char *text, *doc;
} ebm_option;

/* The table of one kind of object; `owner` ("langevin") begins the messages. */
typedef struct ebm_options {
    const char *owner;
    const ebm_option *row;
    int32_t n;
    size_t size; /* of the struct */
} ebm_options;

#define EBM_OPTION_TYPE_INT int64_t
#define EBM_OPTION_TYPE_REAL double
#define EBM_OPTION_TYPE_BOOL bool
#define EBM_OPTION_TYPE_CHOICE int64_t
#define EBM_OPTION_TYPE_INTS ebm_ints
#define EBM_OPTION_FIELD(S, kind, name, initial, low, high, text, doc) EBM_OPTION_TYPE_##kind name;
#define EBM_OPTION_ROW(S, kind, name, initial, low, high, text, doc) \
    {#name, EBM_OPTION_##kind, offsetof(S, name), initial, low, high, text, doc},

/* A table from a list: static const ebm_option rows[] = {LIST(EBM_OPTION_ROW, type)}; and
 * this. */
#define EBM_OPTIONS_OF(owner, rows, type) \
    {owner, rows, (int32_t)(sizeof(rows) / sizeof((rows)[0])), sizeof(type)}

/* Writes the initial values into the struct at `values`. */
void ebm_options_init(const ebm_options *table, void *values);

/* A new struct with the values given, or with the initial ones for NULL.  The caller owns it:
 * ebm__free. */
ebm_status ebm_options_copy(void **out, const ebm_options *table, const void *values);

/* VALUE if any value is out of its range; for structs filled in by hand. */
ebm_status ebm_options_check(const ebm_options *table, const void *values);

/* Sets one option and checks it; VALUE for an unknown name, the wrong kind or a bad value.
 * Numbers are for INT, REAL and BOOL (0 or 1), words for CHOICE. */
ebm_status ebm_options_set_number(const ebm_options *table, void *values, const char *name,
                                  double number);
ebm_status ebm_options_set_word(const ebm_options *table, void *values, const char *name,
                                const char *word);
ebm_status ebm_options_set_ints(const ebm_options *table, void *values, const char *name,
                                const int64_t *at, int64_t n);

/* The row of that name, or NULL. */
const ebm_option *ebm_options_find(const ebm_options *table, const char *name);

/* The kind called `name` among `kinds`: pointers to structs that begin with their ebm_options,
 * whose owner is the kind's name; NULL ends them.  NULL with VALUE's message and the known
 * names. */
const void *ebm_options_kind(const char *family, const char *name, const void *const *kinds);

/* The value of an INT, REAL, BOOL or CHOICE (its index). */
double ebm_options_number(const ebm_option *row, const void *values);

/* Copies word `index` of a CHOICE into `word`; false if there is none. */
bool ebm_option_word(const ebm_option *row, int64_t index, char *word, size_t size);

#endif
