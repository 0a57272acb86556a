#include <pthread.h>
#include <stddef.h>

#include "bench.h"

int main(int argc, char **argv)
{
    pthread_t agent;
    if (argc != 2)
        return 2;
    pthread_create(&agent, NULL, bench_agent, NULL);
    bench_can(argv[1]);
}
