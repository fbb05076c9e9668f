// glibc can be told to free all it holds at the end, also what it took before
// the program began.
#include <locale.h>
#include <netdb.h>
#include <pthread.h>
#include <time.h>
#include "expect.h"

extern void __libc_freeres(void);

int main(void)
{
    setlocale(LC_ALL, "C.UTF-8");
    setenv("TZ", "Europe/Paris", 1);
    tzset();
    (void)getservbyname("http", "tcp");
    EXPECT(fopen("/dev/null", "r"), "no /dev/null");
    free(block(100));
    ok();
    __libc_freeres();
    _exit(0);
}
