/*
 * replay.c - runs tapes from files through a fuzz target without libFuzzer:
 * replay FILE...
 */
#include <stdint.h>
#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *tape, size_t bytes);

int main(int argc, char **argv)
{
    static uint8_t tape[1 << 20];

    if (argc < 2) {
        fprintf(stderr, "usage: %s FILE...\n", argv[0]);
        return 64;
    }
    for (int i = 1; i < argc; i++) {
        FILE *file = fopen(argv[i], "rb");
        size_t bytes;

        if (!file) {
            perror(argv[i]);
            return 1;
        }
        bytes = fread(tape, 1, sizeof tape, file);
        fclose(file);
        fprintf(stderr, "%s: %zu bytes\n", argv[i], bytes);
        LLVMFuzzerTestOneInput(tape, bytes);
    }
    printf("%d tapes replayed\n", argc - 1);
    return 0;
}
