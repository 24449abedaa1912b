#include "base/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

static void *field(const ebm_option *row, void *values)
{
    return (char *)values + row->offset;
}

const ebm_option *ebm_options_find(const ebm_options *table, const char *name)
{
    for (int32_t i = 0; i < table->n; i++)
        if (strcmp(table->row[i].name, name) == 0) return &table->row[i];
    return NULL;
}

/* ---- values ------------------------------------------------------------------------------ */

double ebm_options_number(const ebm_option *row, const void *values)
{
    const void *at = (const char *)values + row->offset;
    switch (row->kind) {
    case EBM_OPTION_REAL: return *(const double *)at;
    case EBM_OPTION_BOOL: return *(const bool *)at ? 1.0 : 0.0;
    case EBM_OPTION_INTS: return (double)((const ebm_ints *)at)->n;
    default: return (double)*(const int64_t *)at;
    }
}

static void store_number(const ebm_option *row, void *values, double number)
{
    void *at = field(row, values);
    if (row->kind == EBM_OPTION_REAL)
        *(double *)at = number;
    else if (row->kind == EBM_OPTION_BOOL)
        *(bool *)at = number != 0.0;
    else
        *(int64_t *)at = (int64_t)number;
}

bool ebm_option_word(const ebm_option *row, int64_t index, char *word, size_t size)
{
    const char *text = row->text;
    for (;; index--) {
        size_t length = strcspn(text, " ");
        if (length == 0) return false;
        if (index == 0) {
            snprintf(word, size, "%.*s", (int)length, text);
            return true;
        }
        text += length + (text[length] == ' ');
    }
}

/* The numbers in the text of an INTS row. */
static ebm_ints initial_ints(const char *text)
{
    ebm_ints ints = {0};
    char *end = NULL;
    for (long long value; ints.n < EBM_INTS_MAX; text = end) {
        value = strtoll(text, &end, 10);
        if (end == text) break;
        ints.at[ints.n++] = value;
    }
    return ints;
}

void ebm_options_init(const ebm_options *table, void *values)
{
    memset(values, 0, table->size);
    for (int32_t i = 0; i < table->n; i++) {
        const ebm_option *row = &table->row[i];
        if (row->kind == EBM_OPTION_INTS)
            *(ebm_ints *)field(row, values) = initial_ints(row->text);
        else
            store_number(row, values, row->initial);
    }
}

/* ---- checks ------------------------------------------------------------------------------ */

/* "expected a number above 0", "... from 0 to 1", "... of at least 0". */
static ebm_status out_of_range(const ebm_options *table, const ebm_option *row, double got)
{
    const char *what = row->kind == EBM_OPTION_REAL ? "a number" : "a whole number";
    const char *none = isnan(row->initial) ? " or nothing" : "";
    char range[96];
    if (row->low == EBM_POSITIVE && row->high >= DBL_MAX)
        snprintf(range, sizeof range, "above 0");
    else if (row->low == EBM_POSITIVE)
        snprintf(range, sizeof range, "above 0 and up to %.9g", row->high);
    else if (row->high >= DBL_MAX)
        snprintf(range, sizeof range, "of at least %.9g", row->low);
    else
        snprintf(range, sizeof range, "from %.9g to %.9g", row->low, row->high);
    return ebm_fail(EBM_VALUE, "%s: %s: got %.9g, expected %s %s%s", table->owner, row->name,
                    got, what, range, none);
}

static ebm_status check_ints(const ebm_options *table, const ebm_option *row, const ebm_ints *ints)
{
    if (ints->n < 0 || ints->n > EBM_INTS_MAX)
        return ebm_fail(EBM_VALUE, "%s: %s: got %lld numbers, expected at most %d",
                        table->owner, row->name, (long long)ints->n, EBM_INTS_MAX);
    for (int64_t i = 0; i < ints->n; i++)
        if ((double)ints->at[i] < row->low || (double)ints->at[i] > row->high)
            return out_of_range(table, row, (double)ints->at[i]);
    return EBM_OK;
}

static ebm_status check_row(const ebm_options *table, const ebm_option *row, const void *values)
{
    if (row->kind == EBM_OPTION_INTS)
        return check_ints(table, row, (const ebm_ints *)((const char *)values + row->offset));
    double number = ebm_options_number(row, values);
    if (row->kind == EBM_OPTION_BOOL) return EBM_OK;
    if (row->kind == EBM_OPTION_CHOICE) {
        char word[32];
        if (ebm_option_word(row, (int64_t)number, word, sizeof word)) return EBM_OK;
        return ebm_fail(EBM_VALUE, "%s: %s: got choice %lld, expected one of: %s", table->owner,
                        row->name, (long long)number, row->text);
    }
    if (isnan(number) && isnan(row->initial)) return EBM_OK;
    if (number >= row->low && number <= row->high) return EBM_OK; /* false for NaN */
    return out_of_range(table, row, number);
}

ebm_status ebm_options_check(const ebm_options *table, const void *values)
{
    for (int32_t i = 0; i < table->n; i++) EBM_TRY(check_row(table, &table->row[i], values));
    return EBM_OK;
}

/* ---- setting ----------------------------------------------------------------------------- */

static ebm_status find_for(const ebm_option **out, const ebm_options *table, const char *name,
                           const char *got, unsigned kinds)
{
    *out = ebm_options_find(table, name);
    if (!*out) return ebm_fail(EBM_VALUE, "%s: unknown option '%s'", table->owner, name);
    if (kinds >> (*out)->kind & 1) return EBM_OK;
    static const char *const expected[] = {"a whole number", "a number", "true or false",
                                           "a word", "a list of whole numbers"};
    return ebm_fail(EBM_VALUE, "%s: %s: got %s, expected %s", table->owner, name, got,
                    expected[(*out)->kind]);
}

ebm_status ebm_options_set_number(const ebm_options *table, void *values, const char *name,
                                  double number)
{
    const ebm_option *row;
    unsigned kinds = 1u << EBM_OPTION_INT | 1u << EBM_OPTION_REAL | 1u << EBM_OPTION_BOOL;
    EBM_TRY(find_for(&row, table, name, "a number", kinds));
    if (row->kind == EBM_OPTION_INT && !(fabs(number) <= 0x1p53 && floor(number) == number))
        return out_of_range(table, row, number);
    store_number(row, values, number);
    return check_row(table, row, values);
}

ebm_status ebm_options_set_word(const ebm_options *table, void *values, const char *name,
                                const char *word)
{
    const ebm_option *row;
    char known[32], got[64];
    snprintf(got, sizeof got, "'%s'", word);
    EBM_TRY(find_for(&row, table, name, got, 1u << EBM_OPTION_CHOICE));
    for (int64_t i = 0; ebm_option_word(row, i, known, sizeof known); i++)
        if (strcmp(known, word) == 0) {
            *(int64_t *)field(row, values) = i;
            return EBM_OK;
        }
    return ebm_fail(EBM_VALUE, "%s: %s: got %s, expected one of: %s", table->owner, name, got,
                    row->text);
}

ebm_status ebm_options_set_ints(const ebm_options *table, void *values, const char *name,
                                const int64_t *at, int64_t n)
{
    const ebm_option *row;
    EBM_TRY(find_for(&row, table, name, "a list of whole numbers", 1u << EBM_OPTION_INTS));
    ebm_ints ints = {.n = n};
    for (int64_t i = 0; i < n && i < EBM_INTS_MAX; i++) ints.at[i] = at[i];
    EBM_TRY(check_ints(table, row, &ints));
    *(ebm_ints *)field(row, values) = ints;
    return EBM_OK;
}

const void *ebm_options_kind(const char *family, const char *name, const void *const *kinds)
{
    char known[256] = "";
    for (size_t i = 0, used = 0; kinds[i] && used < sizeof known; i++) {
        const ebm_options *table = kinds[i];
        if (strcmp(table->owner, name) == 0) return kinds[i];
        used += (size_t)snprintf(known + used, sizeof known - used, " %s", table->owner);
    }
    ebm_fail(EBM_VALUE, "%s: got '%s', expected one of:%s", family, name, known);
    return NULL;
}

ebm_status ebm_options_copy(void **out, const ebm_options *table, const void *values)
{
    *out = ebm__alloc(1, table->size);
    if (!*out) return EBM_NOMEM;
    if (values)
        memcpy(*out, values, table->size);
    else
        ebm_options_init(table, *out);
    return EBM_OK;
}
