/* The only program of the image localhost/podgate-static: a container without a shell and without account files.
 *
 *   /app [sleep]      waits until SIGTERM, then exits with 0
 *   /app echo WORD... prints the words
 *   /app cat FILE     prints a file
 *   /app exit N       exits with N
 */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void leave(int signal)
{
    (void)signal;
    _exit(0);
}

static void print(const char *text, size_t length)
{
    while (length > 0) {
        ssize_t written = write(STDOUT_FILENO, text, length);
        if (written < 0)
            _exit(1);
        text += written;
        length -= (size_t)written;
    }
}

static int echo(char **words)
{
    for (; *words; words++) {
        print(*words, strlen(*words));
        if (words[1])
            print(" ", 1);
    }
    print("\n", 1);
    return 0;
}

static int cat(const char *path)
{
    char buffer[4096];
    ssize_t length;
    int file = open(path, O_RDONLY);

    while ((length = read(file, buffer, sizeof buffer)) > 0)
        print(buffer, (size_t)length);
    return length < 0;
}

static void wait_for_sigterm(void)
{
    /* Process 1 of a container ignores every signal that it has no handler for. */
    signal(SIGTERM, leave);
    for (;;)
        pause();
}

int main(int count, char **words)
{
    const char *action = count > 1 ? words[1] : "sleep";

    if (strcmp(action, "sleep") == 0)
        wait_for_sigterm();
    if (strcmp(action, "echo") == 0)
        return echo(words + 2);
    if (strcmp(action, "cat") == 0 && count == 3)
        return cat(words[2]);
    if (strcmp(action, "exit") == 0 && count == 3)
        return atoi(words[2]);
    return 64;
}
