// A new_handler that frees a reserve makes new succeed after all.  To run
// under an address limit.
#include <cstdio>
#include <cstdlib>
#include <new>

static char *reserve;
static int handled;

static void free_reserve()
{
    handled++;
    if (!reserve)
        throw std::bad_alloc();
    delete[] reserve;
    reserve = nullptr;
}

int main()
{
    // Small units, so that the heaps are the ones to run out.
    static char *volatile last;
    int n = 0;

    reserve = new char[8 << 20];
    std::set_new_handler(free_reserve);
    try {
        for (; n < 100000000; n++) {
            last = static_cast<char *>(::operator new(900));
            *last = 1;
        }
    } catch (const std::bad_alloc &) {
        std::printf("handled %d, %s\n", handled,
                    n > 20000 ? "after many" : "after few");
        return 0;
    }
    std::printf("no limit\n");
    return 1;
}
