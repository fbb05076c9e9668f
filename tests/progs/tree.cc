// A global tree of a million nodes is freed after main, by a destructor.
#include <cstdio>
#include <map>
#include <string>

static std::map<int, std::string> tree;

int main()
{
    for (int i = 0; i < 1000000; i++)
        tree.emplace(int(i * 7919L % 1000003),
                     std::string(size_t(i % 40), 'x'));
    std::printf("%zu nodes\n", tree.size());
}
