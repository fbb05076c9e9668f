// Prints where a small block lies: "[START-END] NAME" of its mapping, and the
// end of the reservation around it (neighbouring mappings of no rights).
#include "expect.h"

int main(void)
{
    void *p = block(100);
    FILE *f = fopen("/proc/self/maps", "r");
    size_t start, end, last = 0;
    char line[512], name[256], rights[8];
    int found = 0;

    EXPECT(f, "no /proc/self/maps");
    while (fgets(line, sizeof line, f)) {
        *name = 0;
        if (sscanf(line, "%zx-%zx %7s %*s %*s %*s %255[^\n]", &start, &end,
                   rights, name) < 3)
            continue;
        if (found && start == last && !strncmp(rights, "---p", 4))
            last = end;
        else if (found)
            break;
        if (start <= (uintptr_t)p && (uintptr_t)p < end) {
            printf("name %s\n", name);
            found = 1;
            last = end;
        }
    }
    printf("end %zx\n", last);
    printf("canonical %s\n", last <= (size_t)1 << 47 ? "yes" : "no");
    fclose(f);
    free(p);
    return 0;
}
