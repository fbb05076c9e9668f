/*
 * inspect.c - questions about the heap: usable size, trim, mallinfo, ...
 *
 * All of them answer for both worlds, our heaps and libc's.
 */
#include "preload.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

SKP_EXPORT size_t malloc_usable_size(void *p)
{
    if (!p)
        return 0;
    if (sk_region_has(p))
        return skp_usable(p);
    if (skp_boot_has(p))
        return skp_boot_usable(p);
    return skp_start() ? skp_real.malloc_usable_size(p) : 0;
}

SKP_EXPORT int malloc_trim(size_t pad)
{
    bool given = false;

    if (!skp_start())
        return 0;
    if (skp_is_on)
        given = sk_state_trim();
    if (skp_is_on && sk_grown_trim())
        given = true;
    return skp_real.malloc_trim(pad) | given;
}

#if __GLIBC_PREREQ(2, 33)
SKP_EXPORT struct mallinfo2 mallinfo2(void)
{
    struct mallinfo2 info = {0};
    struct sk_stats_bytes bytes;

    skp_start();
    if (skp_real.mallinfo2)
        info = skp_real.mallinfo2();
    if (skp_is_on) {
        bytes = sk_stats_read_bytes();
        info.arena += bytes.chunks;
        info.uordblks += bytes.in_use;
        info.fordblks += bytes.chunks - bytes.in_use;
    }
    return info;
}
#endif

/* The fields are int and overflow, as glibc's do. */
SKP_EXPORT struct mallinfo mallinfo(void)
{
    struct mallinfo info = {0};
    struct sk_stats_bytes bytes;

    skp_start();
    if (skp_real.mallinfo)
        info = skp_real.mallinfo();
    if (skp_is_on) {
        bytes = sk_stats_read_bytes();
        info.arena += (int)bytes.chunks;
        info.uordblks += (int)bytes.in_use;
        info.fordblks += (int)(bytes.chunks - bytes.in_use);
    }
    return info;
}

SKP_EXPORT void malloc_stats(void)
{
    if (!skp_start())
        return;
    skp_real.malloc_stats();
    if (skp_is_on)
        sk_stats_print(2);
}

SKP_EXPORT int mallopt(int option, int value)
{
    return skp_start() ? skp_real.mallopt(option, value) : 0;
}

/* --- malloc_info: libc's XML with one more element ------------------------ */

/* stdio, found when needed: the library itself imports none of it. */
struct stdio {
    FILE *(*open_memstream)(char **, size_t *);
    size_t (*fwrite)(const void *, size_t, size_t, FILE *);
    int (*fclose)(FILE *);
};

static bool find_stdio(struct stdio *stdio)
{
    *(void **)&stdio->open_memstream = dlsym(RTLD_DEFAULT, "open_memstream");
    *(void **)&stdio->fwrite = dlsym(RTLD_DEFAULT, "fwrite");
    *(void **)&stdio->fclose = dlsym(RTLD_DEFAULT, "fclose");
    return stdio->open_memstream && stdio->fwrite && stdio->fclose;
}

static size_t describe_heaps(char *text, size_t room)
{
    struct sk_text into = {text, 0, room};
    struct sk_stats_bytes bytes;

    bytes = sk_stats_read_bytes();
    sk_text_add(&into,
                "<skpreload version=\"" SK_VERSION "\">\n"
                "<system type=\"current\" size=\"%u\"/>\n"
                "<inuse type=\"current\" size=\"%u\"/>\n"
                "</skpreload>\n",
                bytes.chunks, bytes.in_use);
    return into.used;
}

static int write_with_heaps(const struct stdio *stdio, const char *xml,
                            size_t bytes, FILE *stream)
{
    static const char end[] = "</malloc>";
    const char *cut = bytes ? strstr(xml, end) : NULL;
    size_t before = cut ? (size_t)(cut - xml) : bytes;
    char heaps[400];

    stdio->fwrite(xml, 1, before, stream);
    if (cut) {
        stdio->fwrite(heaps, 1, describe_heaps(heaps, sizeof heaps), stream);
        stdio->fwrite(cut, 1, bytes - before, stream);
    }
    return 0;
}

SKP_EXPORT int malloc_info(int options, FILE *stream)
{
    struct stdio stdio = {0};
    char *xml = NULL;
    size_t bytes = 0;
    FILE *memory;
    int result;

    if (!skp_start())
        return -1;
    if (!skp_is_on || options != 0 || !find_stdio(&stdio) ||
        !(memory = stdio.open_memstream(&xml, &bytes)))
        return skp_real.malloc_info(options, stream);
    result = skp_real.malloc_info(options, memory);
    stdio.fclose(memory);
    if (result == 0 && xml)
        result = write_with_heaps(&stdio, xml, bytes, stream);
    free(xml);
    return result;
}
