/*
 * resident.h - which pages have memory, and whether they can be given it.
 */
#ifndef RESIDENT_H
#define RESIDENT_H

#include "unit.h"

#include "sk_os.h"

#include <sys/mman.h>

/* Pages that have memory. */
__attribute__((unused)) static size_t resident_in(void *start, size_t bytes)
{
    size_t pages = bytes / sk_os_page_bytes();
    unsigned char in_core[1024];
    size_t resident = 0;

    assert_true(pages <= sizeof in_core);
    assert_int_equal(mincore(start, bytes, in_core), 0);
    for (size_t i = 0; i < pages; i++)
        resident += in_core[i] & 1;
    return resident;
}

__attribute__((unused)) static bool has_populate(void)
{
    static char pages[2 * 65536];
    size_t page = sk_os_page_bytes();

    return madvise((void *)(((uintptr_t)pages + page - 1) & -page), page, 23) ==
           0; /* MADV_POPULATE_WRITE is Linux 5.14 */
}

#endif
