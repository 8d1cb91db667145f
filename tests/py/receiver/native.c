// A native callback for test_native.py: counts its calls and wakes whoever waits.
#include <semaphore.h>
#include <stdint.h>
#include <string.h>

static sem_t called;
static uint64_t last_generation;
static char last_authorization[64];
static void* last_context;

__attribute__((constructor)) static void make(void) { sem_init(&called, 0, 0); }

void on_token(const char* authorization, size_t size, int64_t expires_at, uint64_t generation,
              void* context) {
    (void)expires_at;
    if (size >= sizeof last_authorization) size = sizeof last_authorization - 1;
    memcpy(last_authorization, authorization, size);
    last_authorization[size] = 0;
    last_generation = generation;
    last_context = context;
    sem_post(&called);
}

// Waits for `count` calls; the caller may hold the GIL.
void await_calls(int count) {
    for (int i = 0; i < count; ++i) sem_wait(&called);
}

uint64_t generation(void) { return last_generation; }
const char* authorization(void) { return last_authorization; }
void* context(void) { return last_context; }
