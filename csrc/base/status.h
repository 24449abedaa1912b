/* status.h - how the library fails.
 *
 * Two ways, no third.  An *action* returns an ebm_status; a *builder* (graph/graph.h) returns a
 * poisoned ref.  The cause is written once, where it is known, into a thread-local message of
 * fixed size, so reporting never allocates.  Nothing in the library exits, prints or aborts. */
#ifndef EBM_BASE_STATUS_H
#define EBM_BASE_STATUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One list: the enum, the names and python/error.c expand it.
 * X(NOMEM, "out of memory") stands for EBM_NOMEM. */
/* clang-format off */
#define EBM_STATUS_LIST(X)                          \
    X(OK,          "ok")                            \
    X(NOMEM,       "out of memory")                 \
    X(VALUE,       "bad value")                     \
    X(SHAPE,       "shapes do not fit")             \
    X(DTYPE,       "wrong element type")            \
    X(INDEX,       "index out of range")            \
    X(STATE,       "not possible in this state")    \
    X(NOTFITTED,   "not fitted yet")                \
    X(UNSUPPORTED, "not supported")                 \
    X(DEVICE,      "device failure")                \
    X(NUMERIC,     "numeric failure")               \
    X(IO,          "input or output failed")        \
    X(FORMAT,      "malformed data")                \
    X(CANCELLED,   "cancelled")                     \
    X(INTERNAL,    "internal error, please report")
/* clang-format on */

typedef enum ebm_status {
#define EBM_STATUS_ENUM(id, text) EBM_##id,
    EBM_STATUS_LIST(EBM_STATUS_ENUM)
#undef EBM_STATUS_ENUM
        EBM_STATUS_COUNT
} ebm_status;

enum { EBM_MESSAGE_SIZE = 512 };

#if defined(__GNUC__)
#define EBM_PRINTF(fmt, first) __attribute__((format(printf, fmt, first)))
#else
#define EBM_PRINTF(fmt, first)
#endif

/* Writes the message (form: `op: what: got, expected`, one line, lower case) and returns `code`. */
ebm_status ebm_fail(ebm_status code, const char *format, ...) EBM_PRINTF(2, 3);

/* Puts a frame in front of the message that is there: "in layer 3: " + message.  Returns `code`. */
ebm_status ebm_fail_frame(ebm_status code, const char *format, ...) EBM_PRINTF(2, 3);

/* The last message of this thread; "" before the first failure.  Borrowed, never NULL. */
const char *ebm_message(void);

/* "NOMEM", "VALUE", ... and the general text of a code.  Static strings. */
const char *ebm_status_name(ebm_status code);
const char *ebm_status_text(ebm_status code);

/* Return a failure on, or jump to one cleanup label with `status` set. */
#define EBM_TRY(call)                                   \
    do {                                                \
        ebm_status try_status_ = (call);                \
        if (try_status_ != EBM_OK) return try_status_;  \
    } while (0)
#define EBM_TRY_TO(status, call, label)                 \
    do {                                                \
        (status) = (call);                              \
        if ((status) != EBM_OK) goto label;             \
    } while (0)

/* A broken promise inside the library: INTERNAL with the place, in every build. */
#define EBM_CHECK(condition)                                                                     \
    do {                                                                                         \
        if (!(condition))                                                                        \
            return ebm_fail(EBM_INTERNAL, "%s:%d: check failed: %s", __FILE__, __LINE__,         \
                            #condition);                                                         \
    } while (0)

#endif
