/* test_base.c - status.c and alloc.c. */
#include "runner.h"

#include "base/alloc.h"

#include <pthread.h>
#include <string.h>

TEST(status_names)
{
    CHECK(strcmp(ebm_status_name(EBM_OK), "OK") == 0);
    CHECK(strcmp(ebm_status_name(EBM_INTERNAL), "INTERNAL") == 0);
    CHECK(strcmp(ebm_status_text(EBM_NOMEM), "out of memory") == 0);
    CHECK(strcmp(ebm_status_name(EBM_STATUS_COUNT), "?") == 0);
    CHECK(strcmp(ebm_status_text((ebm_status)-1), "?") == 0);
    for (int i = 0; i < EBM_STATUS_COUNT; i++) CHECK(ebm_status_text((ebm_status)i)[0] != 0);
}

static void *read_first_message(void *text)
{
    strcpy(text, ebm_message());
    return NULL;
}

/* Each thread has its own, empty at first. */
TEST(status_message_of_a_thread)
{
    char text[EBM_MESSAGE_SIZE] = "unread";
    pthread_t thread;
    ebm_fail(EBM_VALUE, "of the first thread");
    CHECK(pthread_create(&thread, NULL, read_first_message, text) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(strcmp(text, "") == 0);
    CHECK(strcmp(ebm_message(), "of the first thread") == 0);
}

TEST(status_message)
{
    CHECK_STATUS(ebm_fail(EBM_SHAPE, "op: what: got %d, expected %d", 1, 2), EBM_SHAPE);
    CHECK(strcmp(ebm_message(), "op: what: got 1, expected 2") == 0);
    CHECK_STATUS(ebm_fail_frame(EBM_SHAPE, "in layer %d: ", 3), EBM_SHAPE);
    CHECK(strcmp(ebm_message(), "in layer 3: op: what: got 1, expected 2") == 0);
}

TEST(status_message_is_cut)
{
    char text[2 * EBM_MESSAGE_SIZE];
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = 0;
    ebm_fail(EBM_VALUE, "%s", text);
    CHECK(strlen(ebm_message()) == EBM_MESSAGE_SIZE - 1);
    ebm_fail_frame(EBM_VALUE, "frame: ");
    CHECK(strlen(ebm_message()) == EBM_MESSAGE_SIZE - 1);
    CHECK(strncmp(ebm_message(), "frame: aaa", 10) == 0);
    ebm_fail_frame(EBM_VALUE, "%s", text);
    CHECK(strlen(ebm_message()) == EBM_MESSAGE_SIZE - 1);
}

static ebm_status refuse(int what)
{
    EBM_CHECK(what != 1);
    if (what == 2) return ebm_fail(EBM_NUMERIC, "refuse: two");
    return EBM_OK;
}

static ebm_status try_twice(int first, int second, int *cleanups)
{
    EBM_TRY(refuse(first));
    ebm_status status;
    EBM_TRY_TO(status, refuse(second), out);
out:
    ++*cleanups;
    return status;
}

TEST(status_macros)
{
    int cleanups = 0;
    CHECK_OK(try_twice(0, 0, &cleanups));
    CHECK(cleanups == 1);
    CHECK_STATUS(try_twice(2, 0, &cleanups), EBM_NUMERIC);
    CHECK(cleanups == 1);
    CHECK_STATUS(try_twice(0, 2, &cleanups), EBM_NUMERIC);
    CHECK(cleanups == 2);
    CHECK_STATUS(try_twice(1, 0, &cleanups), EBM_INTERNAL);
    CHECK(strstr(ebm_message(), "check failed: what != 1") != NULL);
}

TEST(alloc_gives_zeroed_aligned_blocks)
{
    int64_t live = ebm__alloc_live();
    for (size_t bytes = 0; bytes < 300; bytes++) {
        unsigned char *block = ebm__alloc(bytes, 1);
        CHECK(block != NULL);
        CHECK((uintptr_t)block % EBM_ALIGN == 0);
        for (size_t i = 0; i < bytes; i++) CHECK(block[i] == 0);
        memset(block, 0xff, bytes);
        CHECK(ebm__alloc_live() == live + 1);
        ebm__free(block);
    }
    ebm__free(NULL);
    CHECK(ebm__alloc_live() == live);
}

/* Of several MiB, which come from the system itself where no sanitizer watches. */
TEST(alloc_gives_large_blocks_and_takes_them_back)
{
    enum { N = 5, BYTES = 5 << 20 };
    unsigned char *block[N];
    int64_t live = ebm__alloc_live();
    for (int round = 0; round < 3; round++) {
        for (int k = 0; k < N; k++) {
            block[k] = ebm__alloc(BYTES + 1000 * k, 1);
            CHECK(block[k] != NULL && (uintptr_t)block[k] % EBM_ALIGN == 0);
            for (size_t i = 0; i < BYTES; i += 999) CHECK(block[k][i] == 0);
            memset(block[k], 1 + k, BYTES + 1000 * k);
        }
        for (int k = 0; k < N; k++) CHECK(block[k][0] == 1 + k && block[k][BYTES - 1] == 1 + k);
        for (int k = 0; k < N; k++) ebm__free(block[(k * 2 + round) % N]);
        CHECK(ebm__alloc_live() == live);
    }
}

TEST(alloc_refuses_overflow)
{
    CHECK(ebm__alloc(SIZE_MAX / 2, 4) == NULL);
    CHECK(strncmp(ebm_message(), "out of memory: ", 15) == 0);
    CHECK(ebm__alloc(SIZE_MAX, 1) == NULL);
    CHECK(ebm__alloc(1, SIZE_MAX / 2 + 1) == NULL);
}

TEST(alloc_fails_when_told)
{
    ebm__alloc_fail_after(1);
    void *block = ebm__alloc(1, 1);
    CHECK(block != NULL);
    CHECK(ebm__alloc(1, 1) == NULL);
    CHECK(ebm__alloc(1, 1) == NULL);
    ebm__alloc_fail_after(-1);
    ebm__free(block);
    block = ebm__alloc(1, 1);
    CHECK(block != NULL);
    ebm__free(block);
}

TEST(alloc_grow_keeps_content)
{
    int32_t *array = NULL;
    int64_t capacity = 0;
    for (int32_t i = 0; i < 1000; i++) {
        CHECK_OK(ebm__grow(&array, &capacity, i + 1, sizeof *array));
        CHECK(capacity > i);
        array[i] = i;
    }
    int32_t *before = array;
    int64_t capacity_before = capacity;
    ebm__alloc_fail_after(0);
    CHECK_STATUS(ebm__grow(&array, &capacity, capacity + 1, sizeof *array), EBM_NOMEM);
    ebm__alloc_fail_after(-1);
    CHECK(array == before && capacity == capacity_before);
    CHECK_OK(ebm__grow(&array, &capacity, 5000, sizeof *array));
    for (int32_t i = 0; i < 1000; i++) CHECK(array[i] == i);
    ebm__free(array);
}

TEST(alloc_strdup)
{
    char *copy = ebm__strdup("energy");
    CHECK(copy && strcmp(copy, "energy") == 0);
    ebm__free(copy);
    ebm__alloc_fail_after(0);
    CHECK(ebm__strdup("energy") == NULL);
}
