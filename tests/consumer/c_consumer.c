/* A C program, as a binding for another language would call: listens at the path it is given, prints
 * what it sees of every token and ends after COUNT of them. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tokenrelay/tokenrelay.h>

#define SECOND INT64_C(1000000000)

static int fail(const char* what) {
    fprintf(stderr, "c_consumer: %s\n", what);
    return EXIT_FAILURE;
}

static void count_call(void* user, const tokenrelay_info* info) {
    *(uint64_t*)user = info->generation; /* before the sender is answered, so before we see it */
}

/* Prints the newest token, if it is the one after `seen`. */
static int print_newer(tokenrelay_receiver* receiver, uint64_t* seen) {
    static char token[TOKENRELAY_TEXT_SIZE];
    tokenrelay_info info = {.size = sizeof info};
    int error = tokenrelay_copy(receiver, TOKENRELAY_ACCESS_TOKEN, token, sizeof token, &info);
    if (error != 0) return error;
    if (info.length != strlen(token) || info.generation <= *seen || info.expires_in_ns <= 0) {
        return EPROTO;
    }
    *seen = info.generation;
    printf("%" PRIu64 " %s %" PRId64 " serial %" PRId64 "\n", info.generation, token,
           info.expires_at, info.serial);
    memset(token, 0, sizeof token);
    return fflush(stdout) == 0 ? 0 : errno;
}

static int print_tokens(tokenrelay_receiver* receiver, uint64_t count) {
    uint64_t seen = 0;
    while (seen < count) {
        int error = tokenrelay_wait(receiver, 20 * SECOND, seen);
        if (error == 0) error = print_newer(receiver, &seen);
        if (error != 0) return fail(strerror(error));
        /* As if the API had refused it: the sender hears of those that came with a serial. */
        tokenrelay_request_refresh(receiver, seen);
    }
    return EXIT_SUCCESS;
}

int main(int argc, char** argv) {
    if (argc != 3) return fail("usage: c_consumer PATH COUNT");
    const tokenrelay_options options = {.size = sizeof options, .path = argv[1]};
    tokenrelay_receiver* receiver = tokenrelay_create(&options);
    if (!receiver) return fail("no memory");

    uint64_t called = 0;
    tokenrelay_subscription* subscription = tokenrelay_subscribe(receiver, count_call, &called);
    char message[512];
    int status = EXIT_FAILURE;
    if (tokenrelay_start(receiver, message, sizeof message) != 0) {
        fail(message);
    } else {
        puts("ready");
        fflush(stdout);
        status = print_tokens(receiver, strtoull(argv[2], NULL, 10));
    }
    tokenrelay_cancel(subscription);
    if (status == EXIT_SUCCESS && called != tokenrelay_generation(receiver)) {
        status = fail("the callback missed a token");
    }
    tokenrelay_destroy(receiver);
    return status;
}
