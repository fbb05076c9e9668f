/*
 * sk_heap_inline.h - one more reference to a unit, without a call.
 *
 * Layer: part of sk_heap.h, which includes it.  What is here is compiled into
 * programs, so it is part of the ABI of libskheap.so.1 and stays as it is:
 * the word in front of a unit, and one function for all that is more than a
 * change of the count, the messages included.
 *
 *   |8 bytes: the library's|word     |the program's bytes ...
 *                                     '- unit
 *   word, from bit 63 down:
 *     33 bits  minus the number of references; 0: the unit is free
 *     17 bits  SK_HEAP_WORD_MAGIC
 *     14 bits  the library's
 *
 * A word is looked at only in the range of addresses where the library has
 * said that it has units; programs and shared objects each ask for it when they
 * meet an address outside of what they know.
 *
 * unref is a call: to tell here whether a reference is the last would cost who
 * holds the only one 9 instructions.
 *
 * -DSK_HEAP_NO_INLINE: ref is one, too.
 */
#ifndef SK_HEAP_INLINE_H
#define SK_HEAP_INLINE_H

#define SK_HEAP_WORD_ONE        (UINT64_C(1) << 31)
#define SK_HEAP_WORD_MAGIC      (UINT64_C(0x15ad3) << 14)
#define SK_HEAP_WORD_MAGIC_MASK (UINT64_C(0x1ffff) << 14)
#define SK_HEAP_COUNT_MOST      UINT32_MAX

/* Only the library writes it. */
struct sk_heap_range {
    uintptr_t start, bytes;
};

SK_HEAP_API void *sk_heap_unit_ref_slow(void *unit,
                                        struct sk_heap_range *range);

#ifndef SK_HEAP_NO_INLINE

/* One for each program and shared object. */
__attribute__((weak, visibility("hidden"))) struct sk_heap_range sk_heap_known;

#define SK_HEAP_INLINE                                                         \
    extern __inline__ __attribute__((__gnu_inline__, __artificial__))

SK_HEAP_INLINE uint64_t *sk_heap_unit_word(void *unit)
{
    /* `bytes` is written last and never falls. */
    uintptr_t bytes =
        __atomic_load_n(&sk_heap_known.bytes, __ATOMIC_ACQUIRE);
    uintptr_t start =
        __atomic_load_n(&sk_heap_known.start, __ATOMIC_RELAXED);

    if (__builtin_expect((uintptr_t)unit - start >= bytes, 0))
        return NULL;
    return (uint64_t *)unit - 1;
}

SK_HEAP_INLINE void *sk_heap_unit_ref(void *unit)
{
    uint64_t *word = sk_heap_unit_word(unit);

    if (__builtin_expect(word != NULL, 1)) {
        uint64_t was =
            __atomic_fetch_sub(word, SK_HEAP_WORD_ONE, __ATOMIC_RELAXED);
        uint64_t count = -(uint64_t)((int64_t)was >> 31);

        if (__builtin_expect((was & SK_HEAP_WORD_MAGIC_MASK) ==
                                     SK_HEAP_WORD_MAGIC &&
                                 count - 1 < SK_HEAP_COUNT_MOST - 1,
                             1))
            return unit;
        /* As it was, for the message. */
        __atomic_fetch_add(word, SK_HEAP_WORD_ONE, __ATOMIC_RELAXED);
    }
    return sk_heap_unit_ref_slow(unit, &sk_heap_known);
}

#endif

#endif
