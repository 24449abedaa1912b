#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char message[EBM_MESSAGE_SIZE];

ebm_status ebm_fail(ebm_status code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    return code;
}

ebm_status ebm_fail_frame(ebm_status code, const char *format, ...)
{
    char cause[EBM_MESSAGE_SIZE];
    memcpy(cause, message, sizeof cause);
    va_list args;
    va_start(args, format);
    int used = vsnprintf(message, sizeof message, format, args);
    va_end(args);
    if (used >= 0 && (size_t)used < sizeof message)
        snprintf(message + used, sizeof message - (size_t)used, "%s", cause);
    return code;
}

const char *ebm_message(void)
{
    return message;
}

const char *ebm_status_name(ebm_status code)
{
    static const char *const names[] = {
#define EBM_STATUS_NAME(id, text) #id,
        EBM_STATUS_LIST(EBM_STATUS_NAME)
#undef EBM_STATUS_NAME
    };
    return (unsigned)code < EBM_STATUS_COUNT ? names[code] : "?";
}

const char *ebm_status_text(ebm_status code)
{
    static const char *const texts[] = {
#define EBM_STATUS_TEXT(id, text) text,
        EBM_STATUS_LIST(EBM_STATUS_TEXT)
#undef EBM_STATUS_TEXT
    };
    return (unsigned)code < EBM_STATUS_COUNT ? texts[code] : "?";
}
