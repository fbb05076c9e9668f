/*
 * sk_config_near.c - which name was meant by one that is not known.
 *
 * Layer: with sk_config.
 */
#include "sk_config.h"

#include <string.h>

unsigned sk_config_distance(const char *a, size_t a_bytes, const char *b)
{
    size_t b_bytes = strlen(b);
    unsigned row[40];

    if (a_bytes > 60 || b_bytes > 38)
        return UINT32_MAX;
    for (size_t j = 0; j <= b_bytes; j++)
        row[j] = (unsigned)j;
    for (size_t i = 1; i <= a_bytes; i++) {
        unsigned diagonal = row[0];

        row[0] = (unsigned)i;
        for (size_t j = 1; j <= b_bytes; j++) {
            unsigned swap = diagonal + (a[i - 1] != b[j - 1]);

            diagonal = row[j];
            if (row[j] > row[j - 1])
                row[j] = row[j - 1];
            row[j]++;
            if (swap < row[j])
                row[j] = swap;
        }
    }
    return row[b_bytes];
}

const char *sk_config_nearest(const char *name, size_t bytes, const void *table,
                              size_t element_bytes, size_t count)
{
    const char *best = NULL;
    unsigned least = UINT32_MAX;

    for (size_t i = 0; i < count; i++) {
        const char *known = *(const char *const *)((const char *)table +
                                                   i * element_bytes);
        unsigned distance = sk_config_distance(name, bytes, known);

        if (!best || distance < least) {
            least = distance;
            best = known;
        }
    }
    return best;
}
