// 200 static objects with destructors are the first to allocate: glibc's list
// of exit functions grows by calloc, with its lock held.
#include <cstdio>
#include <cstdlib>
#include <cstring>

static int alive;

template <int N> struct Static {
    char *text;

    Static() : text(new char[N + 1])
    {
        std::memset(text, N & 127, N + 1);
        alive++;
    }

    ~Static()
    {
        for (int i = 0; i <= N; i++)
            if (text[i] != (N & 127))
                std::_Exit(1);
        delete[] text;
        // The last one: main has ended, the objects went in reverse order.
        if (--alive == 0)
            std::printf("all gone\n");
    }
};

template <int N> struct Series : Series<N - 1> {
    static Static<N> object;

    static void touch()
    {
        (void)&object;
        if constexpr (N > 1)
            Series<N - 1>::touch();
    }
};
template <> struct Series<0> {
};
template <int N> Static<N> Series<N>::object;

int main()
{
    Series<200>::touch();
    std::printf("%d alive\n", alive);
}
