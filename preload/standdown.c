/*
 * standdown.c - when the heaps must leave a process alone.
 *
 * Asked once, by the start.  The most reported crashes of preloaded
 * allocators come from a second one in the process (failures.md 12, 14, 17,
 * 61, 62); there we forward everything and say why.
 */
#include "preload.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <string.h>

/* Present in a process whose sanitizer must own malloc. */
#define WEAK __attribute__((weak))
extern void __asan_init(void) WEAK;
extern void __tsan_init(void) WEAK;
extern void __msan_init(void) WEAK;
extern void __hwasan_init(void) WEAK;
extern void *__libc_malloc(size_t) WEAK;

/* Valgrind's tools that replace malloc preload vgpreload_<tool>; the ones
 * that do not (callgrind) preload vgpreload_core alone. */
static bool is_under_memcheck(char **entries)
{
    for (; entries && *entries; entries++) {
        const char *at = *entries;

        if (strncmp(at, "LD_PRELOAD=", 11) != 0)
            continue;
        while ((at = strstr(at, "vgpreload_"))) {
            at += 10;
            if (strncmp(at, "core", 4) != 0)
                return true;
        }
    }
    return false;
}

/* --- another allocator behind us ------------------------------------------ */

/* Calls of jemalloc, tcmalloc, mimalloc and TBB that would be handed a unit
 * of ours by a program that took it with malloc. */
static const char *const foreign_calls[] = {
    "sdallocx", "dallocx", "rallocx",  "xallocx",    "sallocx",
    "tc_free",  "mi_free", "je_free",  "tc_realloc", "mi_realloc",
    "je_sdallocx", "scalable_free",    "scalable_realloc",
};

struct symbols {
    const ElfW(Sym) * table;
    const char *names;
    size_t undefined; /* symbols at the start of the table */
};

/* Undefined names come first: DT_GNU_HASH says where the defined ones
 * start. */
static bool read_symbols(const struct dl_phdr_info *object,
                         struct symbols *symbols)
{
    const ElfW(Dyn) *entry = NULL;

    for (int i = 0; i < object->dlpi_phnum; i++)
        if (object->dlpi_phdr[i].p_type == PT_DYNAMIC)
            entry = (const ElfW(Dyn) *)(object->dlpi_addr +
                                        object->dlpi_phdr[i].p_vaddr);
    *symbols = (struct symbols){0};
    for (; entry && entry->d_tag != DT_NULL; entry++) {
        /* ld.so has made these absolute, but in the vdso, which is small
         * and names no allocator. */
        if (entry->d_un.d_ptr < object->dlpi_addr)
            continue;
        if (entry->d_tag == DT_SYMTAB)
            symbols->table = (const ElfW(Sym) *)entry->d_un.d_ptr;
        else if (entry->d_tag == DT_STRTAB)
            symbols->names = (const char *)entry->d_un.d_ptr;
        else if (entry->d_tag == DT_GNU_HASH)
            symbols->undefined = ((const uint32_t *)entry->d_un.d_ptr)[1];
    }
    return symbols->table && symbols->names;
}

static bool is_foreign_call(const char *name)
{
    for (size_t i = 0; i < sizeof foreign_calls / sizeof *foreign_calls; i++)
        if (strcmp(name, foreign_calls[i]) == 0)
            return true;
    return false;
}

static int look_for_foreign_calls(struct dl_phdr_info *object, size_t bytes,
                                  void *unused)
{
    struct symbols symbols;

    (void)bytes;
    (void)unused;
    if (!read_symbols(object, &symbols))
        return 0;
    for (size_t i = 0; i < symbols.undefined; i++)
        if (symbols.table[i].st_shndx == SHN_UNDEF &&
            is_foreign_call(symbols.names + symbols.table[i].st_name))
            return 1;
    return 0;
}

static void *object_of(void *function)
{
    Dl_info info;

    return function && dladdr(function, &info) ? info.dli_fbase : NULL;
}

static bool is_real_from_one_object(void)
{
    void *object = object_of((void *)skp_real.malloc);

    return object_of((void *)skp_real.free) == object &&
           object_of((void *)skp_real.calloc) == object &&
           object_of((void *)skp_real.realloc) == object;
}

/* Another allocator behind us is what large requests go to, like libc's
 * otherwise; unless the program also talks to it directly. */
static const char *reason_of_other_allocator(void)
{
    if (__libc_malloc && skp_real.malloc == __libc_malloc)
        return NULL;
    if (!is_real_from_one_object())
        return "the next malloc and free belong to different libraries";
    if (dl_iterate_phdr(look_for_foreign_calls, NULL))
        return "the program calls another allocator by its own names";
    return NULL;
}

/* A program that takes malloc's address has an undefined symbol with a value,
 * its jump slot: that is no malloc of its own. */
static bool is_jump_slot(void *function)
{
    const ElfW(Sym) *symbol = NULL;
    Dl_info info;

    return dladdr1(function, &info, (void **)&symbol, RTLD_DL_SYMENT) &&
           symbol && symbol->st_shndx == SHN_UNDEF;
}

/* An object in front of us that says by this name that it hands every call on
 * to the next malloc: skab-clock.so. */
static bool is_forwarding(void *function)
{
    void *mark = dlsym(RTLD_DEFAULT, "skpreload_is_next");

    return mark && object_of(mark) == object_of(function);
}

static bool has_own_malloc(void)
{
    void *first = dlsym(RTLD_DEFAULT, "malloc");

    return first != (void *)skp_own_malloc && !is_jump_slot(first) &&
           !is_forwarding(first);
}

bool skp_has_sanitizer(void)
{
    return __asan_init || __tsan_init || __msan_init || __hwasan_init;
}

const char *skp_reason_to_pass(char **entries)
{
    if (is_under_memcheck(entries))
        return "a valgrind tool replaces malloc in this process";
    if (has_own_malloc())
        return "the program brings its own malloc";
    if (!skp_real.malloc || !skp_real.free || !skp_real.realloc)
        return "the next malloc was not found";
    return reason_of_other_allocator();
}
