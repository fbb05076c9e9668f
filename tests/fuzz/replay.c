/*
 * replay.c - runs a fuzz target without libFuzzer: tapes from files, or random
 * ones for a time.
 *
 *   replay FILE...
 *   replay --seconds N SEED
 */
#include "fuzz.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { RANDOM_BYTES = 1024 };

static uint8_t tape[1 << 20];

static int replay(const char *path)
{
    FILE *file = fopen(path, "rb");
    size_t bytes;

    if (!file) {
        perror(path);
        return 1;
    }
    bytes = fread(tape, 1, sizeof tape, file);
    fclose(file);
    fprintf(stderr, "%s: %zu bytes\n", path, bytes);
    LLVMFuzzerTestOneInput(tape, bytes);
    return 0;
}

static time_t seconds_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

/* The same seed gives the same tapes; how many is the machine's affair. */
static void run_random(long seconds, uint64_t seed)
{
    time_t end = seconds_now() + seconds;
    unsigned long tapes = 0;

    for (; seconds_now() < end; tapes++) {
        for (size_t i = 0; i < RANDOM_BYTES; i++) {
            seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
            tape[i] = (uint8_t)(seed >> 56);
        }
        LLVMFuzzerTestOneInput(tape, RANDOM_BYTES);
    }
    printf("%lu random tapes run\n", tapes);
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "--seconds") == 0) {
        run_random(atol(argv[2]), strtoull(argv[3], NULL, 10));
        return 0;
    }
    if (argc < 2) {
        fprintf(stderr, "usage: %s FILE... | --seconds N SEED\n", argv[0]);
        return 64;
    }
    for (int i = 1; i < argc; i++)
        if (replay(argv[i]) != 0)
            return 1;
    printf("%d tapes replayed\n", argc - 1);
    return 0;
}
