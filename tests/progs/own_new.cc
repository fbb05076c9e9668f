// BUILD: -fsized-deallocation
// A program that replaces the basic forms of operator new and delete, plain and
// aligned, and puts a header before each block, gets them called by all other
// forms, and by libraries.
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

void *operator new(std::size_t size, std::align_val_t alignment)
{
    auto line = static_cast<std::size_t>(alignment);
    auto *block = static_cast<char *>(
        std::aligned_alloc(line, (size + 2 * line - 1) / line * line));

    if (!block)
        throw std::bad_alloc();
    news++;
    *reinterpret_cast<std::size_t *>(block + line - 16) = magic;
    return block + line;
}

void operator delete(void *p, std::align_val_t alignment) noexcept
{
    auto *block = static_cast<char *>(p);

    if (!p)
        return;
    if (*reinterpret_cast<std::size_t *>(block - 16) != magic) {
        std::puts("an aligned block without our header");
        std::_Exit(1);
    }
    deletes++;
    std::free(block - static_cast<std::size_t>(alignment));
}

struct alignas(64) Line {
    char bytes[64];
};

struct Plain {
    char bytes[40];
};

struct Object : Plain {
    virtual ~Object() = default;
};

// Blocks of those sizes at hand, which a form could take instead.
static void fill_bins()
{
    for (std::size_t size = 1; size < 1000; size += 16)
        std::free(std::malloc(size));
}

int main()
{
    fill_bins();
    {
        std::string text(1000, 'x'); // allocated inside libstdc++.so
        text.append(5000, 'y');
        std::unique_ptr<Plain[]> array(new Plain[100]);
        std::unique_ptr<Plain> sized(new Plain);
        std::unique_ptr<Object> virtually(new Object);
        std::unique_ptr<Plain> nothrow(new (std::nothrow) Plain);
        std::unique_ptr<Plain[]> both(new (std::nothrow) Plain[3]);
        std::unique_ptr<Line> line(new Line);
        std::unique_ptr<Line[]> lines(new (std::nothrow) Line[3]);
        std::unique_ptr<Line> quiet(new (std::nothrow) Line);
        ::operator delete(::operator new(7), std::nothrow);
        ::operator delete[](::operator new[](7), std::nothrow);
    }
    if (news == deletes && news >= 12)
        std::puts("ok");
    else
        std::printf("%d news, %d deletes of ours\n", news, deletes);
}
