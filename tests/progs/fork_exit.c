// A child that ends by exit, so that both processes end with destructors.
#include <sys/wait.h>
#include "expect.h"

int main(void)
{
    void *p = block(1700);
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        free(p);
        for (int i = 0; i < 100; i++)
            p = block(1700);
        exit(0);
    }
    EXPECT(waitpid(pid, &status, 0) == pid && status == 0,
           "the child ended with status %#x", status);
    return ok();
}
