/* tokenrelay for C, and for every language that can call C: a running program always holds a valid
 * OAuth access token, without a restart and without ever seeing the refresh token.
 *
 *   tokenrelay_options options = {.size = sizeof options, .account = "schwab"};
 *   tokenrelay_receiver* receiver = tokenrelay_create(&options);
 *   char error[256];
 *   if (tokenrelay_start(receiver, error, sizeof error) != 0) fputs(error, stderr);
 *   tokenrelay_wait(receiver, 10000000000, 0);                 // the first token, up to 10 s
 *   char header[TOKENRELAY_TEXT_SIZE];                         // for each request:
 *   if (tokenrelay_copy(receiver, TOKENRELAY_AUTHORIZATION, header, sizeof header, NULL) == 0) send…
 *   tokenrelay_destroy(receiver);
 *
 * Tokens are copied into the caller's memory, whole and ended by a NUL: nothing has to be given back,
 * nothing is bound to a thread, and the library keeps no copy of its own. Whoever wants the secret
 * gone from that memory overwrites it. A loop that reads without pause keeps its copy and asks
 * tokenrelay_generation(), one atomic load, whether there is a newer one.
 *
 * Errors: a function that can fail returns 0 or an errno value (errno(3)); errno itself is not set.
 * Threads: every function may be called from any thread, unless it says otherwise.
 * Fork: the child has no token and none of the parent's descriptors; tokenrelay_start() there makes
 * it a receiver of its own.
 * Nothing throws across this interface. Refresh tokens are never kept: C++ has an option for that.
 */
#ifndef TOKENRELAY_H
#define TOKENRELAY_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "tokenrelay/export.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes that every text fits into: "Bearer ", the longest token or scope of a frame, the NUL. */
#define TOKENRELAY_TEXT_SIZE 65544

/* A receiver, and a callback's registration. */
typedef struct tokenrelay_receiver tokenrelay_receiver;
typedef struct tokenrelay_subscription tokenrelay_subscription;

/* Set `size` to sizeof(tokenrelay_options) and leave at zero what you do not need: later versions
 * add members at the end. */
typedef struct tokenrelay_options {
    size_t size;
    const char* account;      /* [a-z0-9][a-z0-9_-]{0,31}; NULL: "default" */
    const char* path; /* of the socket, at most 107 bytes; NULL: discovered by the account */
    const char* program; /* label in a discovered socket's name; NULL: the process's */
    int64_t busy_poll_ns; /* spin for so long after the last event before sleeping */
    const uid_t* allow_uids; /* who may deliver besides our own user */
    size_t allow_uids_count;
    mode_t mode; /* of the socket; 0: 0600 */
    int pin_cpu; /* not 0: the receiver's threads stay on processor `cpu` */
    int cpu;
} tokenrelay_options;

/* What is known of one token. Set `size` to sizeof(tokenrelay_info) before each call. Times are Unix
 * seconds; -1 stands for what the sender did not say. */
typedef struct tokenrelay_info {
    size_t size;
    size_t length; /* bytes of the text asked for, without the NUL */
    uint64_t generation; /* counts this receiver's tokens, from 1 up */
    int64_t expires_at; /* Unix seconds */
    int64_t expires_in_ns; /* left now; 0 or less: expired */
    int64_t serial; /* the sender's order of issue */
    int64_t issued_at;
    int64_t grant_expires_at; /* when the login itself ends */
} tokenrelay_info;

/* Which text of a token to copy. */
typedef enum tokenrelay_text {
    TOKENRELAY_AUTHORIZATION = 0, /* "Bearer TOKEN", an Authorization header's value (RFC 6750) */
    TOKENRELAY_ACCESS_TOKEN = 1, /* TOKEN alone */
    TOKENRELAY_SCOPE = 2 /* "" where the sender sent none */
} tokenrelay_text;

/* Makes a receiver; `options` (NULL: all defaults) and what it points to are copied. NULL where there
 * is no memory or `options->size` is not of this version. May block briefly. */
TOKENRELAY_API tokenrelay_receiver* tokenrelay_create(const tokenrelay_options* options);

/* Stops and frees `receiver` (NULL: nothing to do); no other thread may use it any more. From one of
 * its callbacks it returns at once and the threads end by themselves. May block while a callback
 * runs. */
TOKENRELAY_API void tokenrelay_destroy(tokenrelay_receiver* receiver);

/* Binds the socket and starts the receiver's threads; 0 if they run already. Else an errno value, and
 * the cause and the cure in `message` (NULL allowed), NUL-terminated, cut at `message_size`: EINVAL
 * (not an account name), EADDRINUSE (names the process that owns the path), EPERM (the directory is
 * another user's), and those of bind(2), open(2), pthread_create(3). May block briefly. */
TOKENRELAY_API int tokenrelay_start(tokenrelay_receiver* receiver, char* message,
                                    size_t message_size);

/* Ends the threads and removes the socket; the current token stays readable. Idempotent. May block
 * while a callback runs; from a callback it only asks, and returns at once. */
TOKENRELAY_API void tokenrelay_stop(tokenrelay_receiver* receiver);

/* Copies the newest token's `text` and a NUL into `buffer`, and fills `info` (NULL allowed): both of
 * one and the same token, which may have expired (`info->expires_in_ns`). ENODATA before the first
 * token; ENOSPC where text and NUL do not fit: nothing is copied, `info` is filled and
 * `info->length` says how much is needed, so that a NULL buffer of size 0 asks about the token
 * alone; EINVAL for another `text` or `info->size`. Wait-free after the thread's first call, whatever
 * the sender does; a clock is read only for `info`. */
TOKENRELAY_API int tokenrelay_copy(tokenrelay_receiver* receiver, tokenrelay_text text,
                                   char* buffer, size_t size, tokenrelay_info* info);

/* Of the newest token; 0 before the first. Never less than before. One atomic load. */
TOKENRELAY_API uint64_t tokenrelay_generation(const tokenrelay_receiver* receiver);

/* Waits until the newest token is valid and of a generation above `after` (0: any). ETIMEDOUT after
 * `timeout_ns` (negative: never), ECANCELED once stopped. Signals do not end it. Blocks. */
TOKENRELAY_API int tokenrelay_wait(tokenrelay_receiver* receiver, int64_t timeout_ns,
                                   uint64_t after);

/* Calls `callback(user, info)` for each new token, and soon for the current one, on a thread of
 * the receiver's and before the sender is answered: one call at a time, `info` valid during it,
 * `info->length` that of the authorization. tokenrelay_copy() inside it copies that very token. It
 * must not throw, and must not block: over 1 ms for a new token is counted. Signals are blocked there,
 * but for faults: unblock them in a process that it starts. NULL where there is no memory. May block. */
typedef void (*tokenrelay_callback)(void* user, const tokenrelay_info* info);
TOKENRELAY_API tokenrelay_subscription* tokenrelay_subscribe(tokenrelay_receiver* receiver,
                                                             tokenrelay_callback callback,
                                                             void* user);

/* Ends a subscription and frees it (NULL: nothing to do), before or after its receiver's end. When it
 * returns the callback does not run and never will, except when called from inside a callback. May
 * block while one runs. */
TOKENRELAY_API void tokenrelay_cancel(tokenrelay_subscription* subscription);

/* "The API refused the token of this generation": asks the senders for a newer one. Does nothing for
 * one that is no longer the newest or came without a serial. Lock-free; one write(2). */
TOKENRELAY_API void tokenrelay_request_refresh(tokenrelay_receiver* receiver, uint64_t generation);

/* An eventfd(2) that is readable after each new token, for a loop of the program's own: read its 8
 * bytes, then copy the token. It stays the receiver's: do not close it. -1 if none can be made. May
 * block at the first call. */
TOKENRELAY_API int tokenrelay_event_fd(tokenrelay_receiver* receiver);

#ifdef __cplusplus
}
#endif

#endif
