// A plugin as servers load them: it frees strings its host duplicated, resizes
// buffers its host took, and hands out blocks of its own.
#include <stdlib.h>
#include <string.h>

void plugin_free(void *p);
void *plugin_grow(void *p, size_t size);
char *plugin_copy(const char *text);

void plugin_free(void *p)
{
    free(p);
}

void *plugin_grow(void *p, size_t size)
{
    return realloc(p, size);
}

char *plugin_copy(const char *text)
{
    return strdup(text);
}
