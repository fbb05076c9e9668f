// BUILD: -fsized-deallocation
// A program that replaces the two basic forms of operator new and delete, and
// puts a header before each block, gets them called by all other forms, and
// by libraries.
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <new>
#include <string>

static int news, deletes;
static const std::size_t magic = 0x1234567;

void *operator new(std::size_t size)
{
    auto *header = static_cast<std::size_t *>(std::malloc(size + 16));

    if (!header)
        throw std::bad_alloc();
    news++;
    header[0] = magic;
    return header + 2;
}

// The sized form is left to the library on purpose: it must call this one.
#ifndef __clang__
#pragma GCC diagnostic ignored "-Wsized-deallocation"
#endif
void operator delete(void *p) noexcept
{
    auto *header = static_cast<std::size_t *>(p);

    if (!p)
        return;
    if (header[-2] != magic) {
        std::puts("a block without our header");
        std::_Exit(1);
    }
    deletes++;
    std::free(header - 2);
}

struct Plain {
    char bytes[40];
};

struct Object : Plain {
    virtual ~Object() = default;
};

int main()
{
    {
        std::string text(1000, 'x'); // allocated inside libstdc++.so
        text.append(5000, 'y');
        std::unique_ptr<Plain[]> array(new Plain[100]);
        std::unique_ptr<Plain> sized(new Plain);
        std::unique_ptr<Object> virtually(new Object);
        std::unique_ptr<Plain> nothrow(new (std::nothrow) Plain);
        std::unique_ptr<Plain[]> both(new (std::nothrow) Plain[3]);
        ::operator delete(::operator new(7), std::nothrow);
        ::operator delete[](::operator new[](7), std::nothrow);
    }
    if (news == deletes && news >= 9)
        std::puts("ok");
    else
        std::printf("%d news, %d deletes of ours\n", news, deletes);
}
