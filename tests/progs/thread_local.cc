// thread_local objects, made before and after a thread's first malloc, whose
// destructors allocate, free, and make other thread_local objects.
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

struct Late {
    std::string text = std::string(300, 'l');

    ~Late()
    {
        if (text != std::string(300, 'l'))
            std::_Exit(1);
    }
};

static void touch_late()
{
    thread_local Late late;

    late.text.reserve(2000);
}

struct Holder {
    std::vector<std::string> texts;

    ~Holder()
    {
        std::vector<std::string> copies(texts);

        for (auto &text : texts)
            text += std::string(100, 'x');
        if (copies.size() != texts.size() || texts[0].size() < 100)
            std::_Exit(1);
        touch_late();
    }
};

static thread_local Holder holder;

static void work(int n)
{
    for (int i = 0; i < 20; i++)
        holder.texts.push_back(std::string(size_t(n * i), 'h'));
}

int main()
{
    for (int round = 0; round < 100; round++) {
        std::vector<std::thread> threads;

        for (int i = 0; i < 8; i++)
            threads.emplace_back(work, i * 10);
        for (auto &thread : threads)
            thread.join();
    }
    work(7);
    std::puts("ok");
}
