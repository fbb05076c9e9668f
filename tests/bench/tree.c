/*
 * tree: binary trees of depth 20, built, counted and torn down, while smaller
 * ones come and go beside them: many small blocks of one size.
 */
#include "bench.h"

struct node {
    struct node *left, *right;
};

static long depth = 20;

static const struct bench_option options[] = {
    {"depth", BENCH_WHOLE, &depth, 1, 26, "of the largest tree"},
    {NULL, BENCH_FLAG, NULL, 0, 0, NULL}};

static long rounds;

static struct node *tree_new(long levels)
{
    struct node *n = malloc(sizeof *n);
    if (!n)
        bench_die(1, "no memory for a node");
    n->left = levels ? tree_new(levels - 1) : NULL;
    n->right = levels ? tree_new(levels - 1) : NULL;
    return n;
}

static long tree_free(struct node *n)
{
    long nodes = 1;
    if (n->left)
        nodes += tree_free(n->left) + tree_free(n->right);
    free(n);
    return nodes;
}

static void tree_check(long nodes, long levels)
{
    if (nodes != (1L << (levels + 1)) - 1)
        bench_die(1, "a tree of depth %ld had %ld nodes", levels, nodes);
}

static void body(long index)
{
    struct node *large = tree_new(depth);
    long i, levels;
    (void)index;
    for (i = 0; i < rounds; i++)
        for (levels = 4; levels < depth; levels += 4)
            tree_check(tree_free(tree_new(levels)), levels);
    tree_check(tree_free(large), depth);
}

int main(int argc, char **argv)
{
    uint64_t started;
    double nodes;
    long levels;
    bench_options(argc, argv, "tree", "Binary trees.", options);
    if (bench_scale < 0.1) /* a test of the workload, not a measurement */
        depth = depth > 14 ? 14 : depth;
    rounds = bench_scaled(250, 1);
    started = bench_now_ns();
    bench_run(bench_threads, body);
    nodes = (double)((1L << (depth + 1)) - 1);
    for (levels = 4; levels < depth; levels += 4)
        nodes += (double)rounds * (double)((1L << (levels + 1)) - 1);
    bench_report(nodes * (double)bench_threads, started);
    return 0;
}
