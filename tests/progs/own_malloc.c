// BUILD: -rdynamic
// A program that brings its own malloc, of the four main functions only; the
// libraries use them too, as the executable's symbols win.  reallocarray is
// not among them: libc's takes the program's realloc.
#define _GNU_SOURCE
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Alignas(16) char arena[64 << 20];
static size_t used;
static int freed_of_ours, freed_of_others;

void *malloc(size_t size)
{
    size_t *p;

    if (size > sizeof arena - used - 32)
        return NULL;
    p = (size_t *)(void *)(arena + used);
    used += (size + 31) / 16 * 16;
    p[0] = size;
    return p + 2;
}

void free(void *p)
{
    if (p && (uintptr_t)p - (uintptr_t)arena < sizeof arena)
        freed_of_ours++;
    else if (p)
        freed_of_others++;
}

void *calloc(size_t count, size_t size)
{
    return malloc(count * size); // the arena is zero, and used once
}

void *realloc(void *p, size_t size)
{
    void *q = malloc(size);
    size_t old = p ? ((size_t *)p)[-2] : 0;

    if (p)
        memcpy(q, p, old < size ? old : size);
    return q;
}

// Whether a block that reallocarray() resizes stays the program's.
static int is_array_ours(void)
{
    char *p = malloc(100);

    strcpy(p, "an array");
    p = reallocarray(p, 10, 1000);
    if (!p || strcmp(p, "an array") != 0)
        return 0;
    free(p);
    p = reallocarray(NULL, 10, 10);
    return p && (uintptr_t)p - (uintptr_t)arena < sizeof arena;
}

int main(void)
{
    if (!is_array_ours()) {
        puts("an array went elsewhere");
        return 1;
    }
    for (int i = 0; i < 1000; i++) {
        char *text = strdup("libc's strdup calls the program's malloc");
        FILE *f = fopen("/dev/null", "w");

        fprintf(f, "%s", text);
        fclose(f);
        free(text);
    }
    printf("%s, %d of others\n", freed_of_ours >= 2000 ? "ours" : "not ours",
           freed_of_others);
    return 0;
}
