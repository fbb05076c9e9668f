/*
 * containers: the tree of tree.c by new and delete, and what C++ programs do
 * all day: std::map of std::string to std::vector, grown, searched, thinned.
 */
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "bench.h"

namespace
{

struct node {
    std::unique_ptr<node> left, right;
};

std::unique_ptr<node> tree_new(int levels)
{
    auto n = std::make_unique<node>();
    if (levels) {
        n->left = tree_new(levels - 1);
        n->right = tree_new(levels - 1);
    }
    return n;
}

long tree_count(const node *n)
{
    return n ? 1 + tree_count(n->left.get()) + tree_count(n->right.get()) : 0;
}

long rounds;

void trees(int levels)
{
    auto root = tree_new(levels);
    if (tree_count(root.get()) != (1L << (levels + 1)) - 1)
        bench_die(1, "a tree of depth %d lost nodes", levels);
}

using table = std::map<std::string, std::vector<uint32_t>>;

/* Short names fit into std::string itself, long ones do not. */
std::string name_of(uint32_t number)
{
    std::string name = "key-" + std::to_string(number);
    return number % 2 ? name : name + "-with-a-tail-that-needs-malloc";
}

void table_grow(table &all, bench_rng &rng, long steps)
{
    for (long i = 0; i < steps; i++) {
        uint32_t number = bench_below(&rng, 4000);
        all[name_of(number)].push_back(number);
        if (bench_below(&rng, 4) == 0)
            all.erase(name_of(bench_below(&rng, 4000)));
    }
}

void table_check(const table &all)
{
    for (const auto &row : all)
        for (uint32_t number : row.second)
            if (name_of(number) != row.first)
                bench_die(1, "%s holds %u", row.first.c_str(), number);
}

void body(long index)
{
    bench_rng rng = bench_rng_of(static_cast<uint64_t>(index));
    for (long i = 0; i < rounds; i++) {
        table all;
        trees(12);
        table_grow(all, rng, 20000);
        table_check(all);
    }
}

} // namespace

int main(int argc, char **argv)
{
    bench_options(argc, argv, "containers",
                  "new, delete, std::map, std::string, std::vector.", nullptr);
    rounds = bench_scaled(200, 1);
    uint64_t started = bench_now_ns();
    bench_run(bench_threads, body);
    bench_report(static_cast<double>(bench_threads * rounds), started);
    return 0;
}
