// BUILD: -fsized-deallocation
// operator new and delete, in all forms: new_handler and bad_alloc are
// libstdc++'s own, sizes are ignored, alignment is kept, and each form of
// delete frees what each form of new gave.
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <malloc.h>
#include <new>
#include <string>
#include <vector>

#define EXPECT(condition)                                                    \
    do {                                                                     \
        if (!(condition)) {                                                  \
            std::fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__,          \
                         #condition);                                        \
            std::_Exit(1);                                                   \
        }                                                                    \
    } while (0)

static const std::align_val_t wide{256};

static void every_form(std::size_t size)
{
    void *plain[] = {::operator new(size), ::operator new[](size),
                     ::operator new(size, std::nothrow),
                     ::operator new[](size, std::nothrow)};
    void *aligned[] = {::operator new(size, wide),
                       ::operator new[](size, wide),
                       ::operator new(size, wide, std::nothrow),
                       ::operator new[](size, wide, std::nothrow)};

    for (void *p : plain) {
        EXPECT(p && std::uintptr_t(p) % 16 == 0);
        std::memset(p, 1, size);
    }
    for (void *p : aligned) {
        EXPECT(p && std::uintptr_t(p) % 256 == 0);
        std::memset(p, 1, size);
    }
    ::operator delete(plain[0]);
    ::operator delete[](plain[1]);
    ::operator delete(plain[2], std::nothrow);
    ::operator delete[](plain[3], std::nothrow);
    ::operator delete(aligned[0], wide);
    ::operator delete[](aligned[1], wide);
    ::operator delete(aligned[2], wide, std::nothrow);
    ::operator delete[](aligned[3], wide, std::nothrow);
}

// Keeps the compiler, which would object, from seeing who made a block.
static void *opaque(void *p)
{
    void *volatile hidden = p;

    return hidden;
}

// Programs tell delete wrong sizes, and mix the forms.
static void wrong_sizes()
{
    for (std::size_t size : {1, 24, 1000, 30000, 50000}) {
        ::operator delete(::operator new(size), size + 4096);
        ::operator delete[](::operator new[](size), std::size_t(1));
        ::operator delete(::operator new(size, wide), std::size_t(9), wide);
        ::operator delete[](::operator new[](size, wide), size * 2, wide);
        ::operator delete(opaque(::operator new[](size)), std::size_t(0));
        std::free(opaque(::operator new(size)));
        ::operator delete(opaque(std::malloc(size)));
        ::operator delete(opaque(std::calloc(1, size)), std::size_t(7));
    }
    ::operator delete(nullptr);
    ::operator delete(nullptr, std::size_t(5));
    ::operator delete[](nullptr, wide);
}

struct Base {
    char bytes[16];
    virtual ~Base() = default;
};
struct Derived : Base {
    char more[3000];
};

static int handled;

struct Ours : std::bad_alloc {
};

static void gives_up()
{
    if (++handled == 3)
        std::set_new_handler(nullptr);
}

static void throws_ours()
{
    throw Ours();
}

static volatile std::size_t huge = PTRDIFF_MAX;

template <class Call> static bool throws_bad_alloc(Call call)
{
    try {
        call();
    } catch (const Ours &) {
        return false;
    } catch (const std::bad_alloc &) {
        return true;
    }
    return false;
}

static void failures()
{
    EXPECT(throws_bad_alloc([] { return ::operator new(huge); }));
    EXPECT(throws_bad_alloc([] { return ::operator new[](huge); }));
    EXPECT(throws_bad_alloc([] { return ::operator new(huge, wide); }));
    EXPECT(!::operator new(huge, std::nothrow));
    EXPECT(!::operator new[](huge, wide, std::nothrow));
    EXPECT(throws_bad_alloc([] { return std::string(huge / 2, 'x').size(); }));
    std::set_new_handler(gives_up);
    EXPECT(throws_bad_alloc([] { return ::operator new(huge); }));
    EXPECT(handled == 3);
    std::set_new_handler(throws_ours);
    try {
        EXPECT(!opaque(::operator new(huge)));
    } catch (const Ours &) {
        handled = -1;
    }
    EXPECT(handled == -1);
    EXPECT(!::operator new(huge, std::nothrow));
    std::set_new_handler(nullptr);
}

int main()
{
    for (std::size_t size : {0, 1, 16, 17, 255, 1000, 1024, 4096, 32768, 32769,
                             100000})
        every_form(size);
    wrong_sizes();
    std::vector<Base *> objects;
    for (int i = 0; i < 1000; i++)
        objects.push_back(i % 2 ? new Base : new Derived);
    for (Base *object : objects)
        delete object;
    failures();
    std::puts("ok");
}
