// A C++ plugin of a C program: what operator new does when there is no memory.
#include <cstddef>
#include <new>
#include <vector>

static const std::size_t much = std::size_t{1} << 46;
static int handled;

static void give_up()
{
    if (++handled == 3)
        throw std::bad_alloc();
}

template <typename Body> static bool throws(Body body)
{
    try {
        body();
    } catch (const std::bad_alloc &) {
        return true;
    }
    return false;
}

// 0, or the number of the line that is not so.
extern "C" int plugin_fails()
{
    if (!throws([] { std::vector<char>().reserve(much); }))
        return __LINE__;
    if (!throws([] { ::operator delete[](::operator new[](much)); }))
        return __LINE__;
    if (::operator new(much, std::nothrow))
        return __LINE__;
    std::set_new_handler(give_up);
    if (!throws([] { ::operator delete(::operator new(much)); }) ||
        handled != 3)
        return __LINE__;
    handled = 0;
    if (!throws([] {
            ::operator delete(::operator new(much, std::align_val_t(64)),
                              std::align_val_t(64));
        }) ||
        handled != 3)
        return __LINE__;
    std::set_new_handler(nullptr);
    return 0;
}
